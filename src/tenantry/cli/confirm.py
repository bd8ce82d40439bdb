"""`tenantry confirm`: an operator's word that a restored, copied or moved database is the one to go on with."""

import asyncio

import msgspec

from tenantry.app.config import Config, load
from tenantry.app.visit import visit
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer
from tenantry.journal import confirm as confirm_incarnation


class Confirmed(msgspec.Struct, frozen=True):
    """The incarnation that goes on."""

    incarnation: int


def confirm(*, config: ConfigPath = DEFAULT_CONFIG, json: AsJson = False) -> None:
    """Say that a restored, copied or moved database is the one to go on with: what waited to be sent out is sent.

    Make sure before that nobody serves its original. The platform's log keeps that it was confirmed; where nothing waits,
    this is refused. On SQLite the server must have started once, to begin the new incarnation, and be stopped.
    """
    done = asyncio.run(_confirm(load(config)))
    answer(done, lambda console: console.print(f"Incarnation {done.incarnation} is confirmed."), as_json=json)


async def _confirm(config: Config) -> Confirmed:
    async with visit(config) as guest:
        return Confirmed(await confirm_incarnation(guest.engine, guest.journal, guest.duties, guest.clock))
