"""What `tenantry doctor` looks at. Every check reads; none checks in, takes a duty or writes, so looking never begins an incarnation.

A check returns its finding; a refusal that it meets on the way is the finding.
"""

from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from tenantry.app.config import Config
from tenantry.app.node import ROOMS
from tenantry.app.root import root_key
from tenantry.audit.checking import check
from tenantry.audit.proof import ProofFailed
from tenantry.audit.schema import UNSEQUENCED
from tenantry.cli.output import counted
from tenantry.core import scopes
from tenantry.core.clock import SystemClock, iso
from tenantry.core.errors import Damaged, TenantryError, Unavailable
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import CLOCK_SKEW_MS, PAGE_ROWS
from tenantry.journal import Journal, Pulse, foresee
from tenantry.journal.duties import SEQUENCING
from tenantry.journal.pulse import BACKLOG_MS
from tenantry.keys.envelope import unwrap_data_key
from tenantry.keys.schema import NEWEST_DATA_KEY
from tenantry.store import Engine, Survey, open_store, postgres
from tenantry.store.integrity import TABLES, damage_of
from tenantry.store.open import VERSIONS

SKEW_WARN_MS = 1_000


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: what was found and, unless it is well, what to do next."""

    name: str
    status: Status
    found: str
    next: str = ""


class _Look(msgspec.Struct, frozen=True):
    config: Config
    engine: Engine
    facts: dict[str, str]


async def examine(config: Config) -> list[Check]:
    """Every check, in the order in which a failure of one explains the next.

    Raises:
        Unavailable: the database cannot be reached.
    """
    try:
        # Durability is a finding of its own here; whatever else would void a promise still refuses.
        engine = await open_store(config.where(), ROOMS, SystemClock(), development=True, on_broken=lambda: None)
    except TenantryError as error:
        if type(error) is Unavailable:
            raise
        return [_refused("database", error)]
    checks: list[Check] = []
    try:
        look = _Look(config, engine, await engine.facts())
        for name, look_at in CHECKS:
            try:
                checks += [found async for found in look_at(look)]
            except TenantryError as error:
                checks.append(_refused(name, error))
    finally:
        await engine.close()
    return checks


async def _engine(look: _Look) -> AsyncIterator[Check]:
    facts = look.facts
    where = facts.get("file") or f"database {facts['database']} as {facts['role']}"
    yield Check("database", Status.OK, f"{facts['engine']}, {where}")
    if look.engine.dialect == "postgres":
        yield Check("roles", Status.OK, "app, follower and worker own nothing and bypass no row security")


async def _durability(look: _Look) -> AsyncIterator[Check]:
    settings = {name: value for name, value in look.facts.items() if name in DURABLE}
    said = ", ".join(f"{name} = {value}" for name, value in settings.items())
    weak = [name for name, value in settings.items() if value not in DURABLE[name]]
    if not weak:
        yield Check("durability", Status.OK, said)
    else:
        status = Status.WARN if look.config.development else Status.FAIL
        yield Check("durability", status, said, f"Turn on {', '.join(weak)}: an acknowledged write could be lost.")
    if look.engine.dialect == "postgres" and not look.facts["synchronous_standby_names"]:
        yield Check(
            "standby",
            Status.WARN,
            "no synchronous standby: what is committed lies on one machine",
            "Set synchronous_standby_names, or accept that losing the machine loses its newest commits.",
        )


DURABLE = {"journal_mode": ("wal",), "synchronous": ("2", "3"), **postgres.DURABLE}
"""The settings on which durability rests, and the values that give it."""


async def _clock(look: _Look) -> AsyncIterator[Check]:
    apart = abs(await look.engine.db_time_ms() - SystemClock().now_ms())
    status = Status.OK if apart < SKEW_WARN_MS else Status.WARN if apart <= CLOCK_SKEW_MS else Status.FAIL
    hint = (
        ""
        if status is Status.OK
        else f"Set the clocks right: more than {CLOCK_SKEW_MS} ms and a node stops saying yes."
    )
    yield Check("clock", status, f"{apart} ms from the database's", hint)


async def _schema(look: _Look) -> AsyncIterator[Check]:
    done = {(room, number) for room, number, _ in await look.engine.survey(VERSIONS)}
    newest = {room: max(number for other, number in done if other == room) for room, _ in sorted(done)}
    said = ", ".join(f"{room} {number}" for room, number in newest.items())
    beyond = done - {(schema.room, m.number) for schema in ROOMS for m in schema.migrations}
    known = {schema.room for schema in ROOMS}
    if newer := sorted(f"{room} {number}" for room, number in beyond if room in known):
        yield Check(
            "schema", Status.WARN, said, f"This version does not know {', '.join(newer)}: a newer one migrated."
        )
    else:
        yield Check("schema", Status.OK, said)


async def _incarnation(look: _Look) -> AsyncIterator[Check]:
    number, begun, reason, confirmed = (await look.engine.survey(INCARNATION))[0]
    said = f"number {number}, {reason} {iso(begun)}"
    coming = await foresee(look.engine, Path(look.config.state), look.config.issuer)
    if coming:
        hint = "Credentials issued before will be refused, and outbound deliveries wait for an operator."
        yield Check("incarnation", Status.WARN, f"{said}; the next start begins another ({coming})", hint)
    elif confirmed is None:
        hint = "If this is the database to go on with, and its original is out of service: `tenantry confirm`."
        yield Check("incarnation", Status.WARN, f"{said}; nothing is sent out until an operator confirms it", hint)
    else:
        yield Check("incarnation", Status.OK, said)


_INCARNATION = "SELECT number, at, reason, confirmed FROM incarnations ORDER BY number DESC LIMIT 1"
INCARNATION = Survey("doctor_incarnation", _INCARNATION, role="app")


async def _root_key(look: _Look) -> AsyncIterator[Check]:
    key = await root_key(look.config)
    rows = await look.engine.read(NEWEST_DATA_KEY, PLATFORM, {})
    if rows:
        await unwrap_data_key(key, rows[0].wrapped, PLATFORM, rows[0].version)
    said = "it opens what it sealed" if rows else "nothing is sealed yet"
    yield Check("root key", Status.OK, f"{key.id}, {said}")


async def _audit_log(look: _Look) -> AsyncIterator[Check]:
    now_ms = SystemClock().now_ms()
    newest_ms, until_ms = (await look.engine.survey(SEQUENCED, duty=SEQUENCING))[0]
    waiting = len(await look.engine.survey(UNSEQUENCED, after="", most=PAGE_ROWS))
    age = f"the newest checkpoint is {(now_ms - newest_ms) / 1000:.0f} s old" if newest_ms else "no checkpoint yet"
    if not waiting:
        yield Check("audit log", Status.OK, f"every log is under a checkpoint; {age}")
    elif until_ms is None:
        yield Check(
            "audit log", Status.OK, f"nothing was signed yet; logs that wait for their first checkpoint: {waiting}"
        )
    elif now_ms <= until_ms + BACKLOG_MS:
        yield Check("audit log", Status.OK, f"logs whose newest events wait for a checkpoint: {waiting}; {age}")
    else:
        on_file = look.engine.dialect == "sqlite"
        yield Check(
            "audit log",
            Status.WARN if on_file else Status.FAIL,
            f"logs that wait for a checkpoint: {waiting}, and no node is at it; {age}",
            "No node has this file open: the next one signs them." if on_file else _UNSIGNED,
        )


_UNSIGNED = "Bring the root key back to the nodes that run: they refuse changes until then. If none runs, the next one signs them."
_SEQUENCED = "SELECT (SELECT max(at) FROM audit_checkpoints), (SELECT until FROM duties WHERE name = :duty)"
SEQUENCED = Survey("doctor_sequenced", _SEQUENCED, {"duty": str}, role="worker")


async def _proofs(look: _Look) -> AsyncIterator[Check]:
    journal, events, logs, damaged = Journal(look.engine, SystemClock(), Pulse()), 0, 0, 0
    async for org in journal.organizations():
        logs += 1
        try:
            events += await check(journal.reads(scopes.of_job(org)))
        except (ProofFailed, Damaged) as error:
            damaged += 1
            hint = "Restore a backup; a server writes a damaged tree again from its leaves, never a leaf."
            yield Check(f"log of {org}", Status.FAIL, error.message, hint)
    if not damaged:
        yield Check(
            "log proofs", Status.OK, f"{counted(events, 'event')} in {counted(logs, 'log')}, each as it was signed"
        )


async def _integrity(look: _Look) -> AsyncIterator[Check]:
    if look.engine.dialect == "postgres":
        yield _checksums(look.facts["data_checksums"])
        return
    tables = [row[0] for row in await look.engine.survey(TABLES)]
    damaged = {table: said for table in tables if (said := await damage_of(look.engine, table))}
    for table, said in damaged.items():
        yield Check(f"table {table}", Status.FAIL, f"damaged: {said}", "Stop the server and restore a backup.")
    if not damaged:
        yield Check("integrity", Status.OK, f"{len(tables)} tables, each readable as it was written")


def _checksums(setting: str) -> Check:
    """PostgreSQL looks at a page when it reads it, if it has checksums; walking through all of them is left to its own tools."""
    if setting == "on":
        return Check("integrity", Status.OK, "data_checksums = on: PostgreSQL refuses a damaged page by itself")
    hint = "Stop PostgreSQL and run pg_checksums --enable: without, a damaged page may be answered from."
    return Check("integrity", Status.WARN, f"data_checksums = {setting}", hint)


CHECKS: tuple[tuple[str, Callable[[_Look], AsyncIterator[Check]]], ...] = (
    ("database", _engine),
    ("root key", _root_key),
    ("integrity", _integrity),
    ("durability", _durability),
    ("clock", _clock),
    ("schema", _schema),
    ("incarnation", _incarnation),
    ("audit log", _audit_log),
    ("log proofs", _proofs),
)


def _refused(name: str, error: TenantryError) -> Check:
    return Check(name, Status.FAIL, error.message, error.hint)
