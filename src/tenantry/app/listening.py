"""Where a server listens: the address of the configuration, a second one for operators and, on SQLite, a socket beside the file.

Nobody but the server's own user can open that socket (0600), so the commands of an operator prove themselves by it.
"""

import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from tenantry.app.config import Config
from tenantry.app.edge import LOCAL
from tenantry.core.errors import Invalid, Unsafe

BACKLOG = 2_048
PORT_MAX = 65_535
FILES_WANTED = 8_192
"""Open files: connections, and what the node itself needs."""


class Listening(msgspec.Struct, frozen=True, eq=False):
    """Open sockets, their addresses as a person would write them, and the ports that are for operators alone."""

    sockets: list[socket.socket]
    names: list[str]
    inside: set[int | None]


def beside(database: Path) -> Path:
    """The socket of the server that holds a SQLite file."""
    return database.with_name(database.name + ".sock")


@contextmanager
def listening(config: Config) -> Iterator[Listening]:
    """Listen for the block. The caller holds the database.

    Raises:
        Invalid: an address cannot be had.
        Unsafe: something that is no socket lies where the socket belongs, or its path is too long for one.
    """
    _raise_files()
    at = Listening([], [], set())
    with ExitStack() as opened:
        for key, given in (("http.listen", config.http.listen), ("http.inside", config.http.inside)):
            if given:
                server = opened.enter_context(_tcp(key, given))
                port = server.getsockname()[1]
                if key == "http.inside":
                    at.inside.add(port)
                at.sockets.append(server)
                at.names.append(f"http://{given.rpartition(':')[0]}:{port}")
        if config.database.file:
            path = beside(Path(config.database.file).absolute())
            at.sockets.append(opened.enter_context(_local(path)))
            opened.callback(path.unlink, missing_ok=True)
            at.inside.add(LOCAL)
            at.names.append(str(path))
        yield at


def _tcp(key: str, given: str) -> socket.socket:
    host, _, port = given.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise Invalid(f"{key} is no address and port: {given}.", hint="Write it as 127.0.0.1:8080.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Invalid(
            f"Cannot listen on {given}: {error.strerror or error}.",
            hint=f"Another server may be there. Change {key}.",
        ) from error
    # Connections inherit it. Not every event loop sets it by itself, and then an answer waits 40 ms for its own head to be acknowledged.
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def _local(path: Path) -> socket.socket:
    """The socket, which nobody else could open even for a moment."""
    if os.path.lexists(path):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Unsafe(f"{path} is no socket.", hint="Move it away.")
        path.unlink()  # of a server that was killed: whoever holds the database is the only one
    server = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        raise Unsafe(f"Cannot listen on {path}: {error}.", hint="Its path may be too long for a socket.") from error
    finally:
        os.umask(before)
    return server


def _raise_files() -> None:
    """Ask for as many open files as this user may have, up to what a server wants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
