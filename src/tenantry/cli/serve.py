"""`tenantry serve`: one node, answering over HTTP until it is told to end."""

import resource
import sys

import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape

from tenantry.app.config import Config, load
from tenantry.app.logs import Sink, logger
from tenantry.app.node import Node
from tenantry.app.rooms import open_rooms
from tenantry.app.serving import serve as serve_node
from tenantry.app.serving import signals
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer
from tenantry.core.clock import SystemClock


class Serving(msgspec.Struct, frozen=True):
    """Where the server answers from now on."""

    node: str
    issuer: str
    listening: list[str]
    development: bool


def serve(*, config: ConfigPath = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Serve, as one process, until SIGTERM or Ctrl-C; requests under way are finished first.

    It listens where `http.listen` says and, on SQLite, on a socket of mode 0600 beside the file. Says so on stdout, once requests
    are answered, and logs to stderr: JSON to a pipe or with `--json`, else for a person.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no memory, and so no key, on the disk
    uvloop.run(_serve(load(config), as_json=json))


async def _serve(config: Config, *, as_json: bool) -> None:
    sink = Sink(sys.stderr)
    log = logger(sink, SystemClock(), readable=sys.stderr.isatty() and not as_json)
    try:
        with signals() as ending:
            async with open_rooms(config) as rooms:
                node = rooms.node
                await serve_node(
                    node,
                    config,
                    sink,
                    log,
                    ending,
                    routes=rooms.routes(),
                    admit=rooms.callers.admit,
                    refused=rooms.callers.refused,
                    on_listening=lambda names: _say(node, config, names, as_json=as_json),
                )
        log.info("stopped", node=node.id)
    finally:
        sink.close()


def _say(node: Node, config: Config, names: list[str], *, as_json: bool) -> None:
    said = Serving(node.id, config.issuer, names, config.development)

    def draw(console: Console) -> None:
        mode = ", in development" if said.development else ""
        console.print(f"[bold]{escape(said.issuer)}[/] is served by {said.node}{mode}.", soft_wrap=True)
        for name in said.listening:
            console.print(f"  [green]listening[/]  {escape(name)}", soft_wrap=True)

    answer(said, draw, as_json=as_json)
