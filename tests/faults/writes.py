"""Every kind of write set that the ground floor makes, to be broken; as a program, it makes those it is told over a disk under test.

`python -m tests.faults.writes CONFIG ORG` reads the name of a write a line and answers with its refusal's code, or an empty line.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tenantry.app.config import load
from tenantry.audit import log
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.errors import TenantryError
from tenantry.core.principal import SYSTEM
from tenantry.keys.signing import Algorithm, Purpose, Use
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization

ES256 = Algorithm.ES256
ISSUER = "https://id.example.com"


class Write(msgspec.Struct, frozen=True):
    """A write, the table it is seen in, and what doing it again says: a refusal, or empty where it is done again."""

    do: Callable[[Organization], Awaitable[object]]
    table: str
    again: str = ""


async def prepare(acme: Organization) -> None:
    """What the writes need to be there."""
    async with acme.begin() as w:
        ledger.add_entry(w, "ledger_kept", "cash", 1, payer="Alice")
    await acme.node.keyring.signing(_use(acme, Purpose.RECEIPT), ES256)
    await acme.checkpointed()


def _use(acme: Organization, purpose: Purpose) -> Use:
    return Use(purpose, ISSUER, acme.id)


async def _add_entry(acme: Organization) -> None:
    async with acme.begin() as w:
        ledger.add_entry(w, "ledger_one", "cash", 5)


async def _with_platform(acme: Organization) -> None:
    async with acme.begin(with_platform=True) as w:
        ledger.add_member(w, "two logs")
        assert w.platform is not None
        w.platform.record(ledger.MemberAdded("two logs"))


async def _record_only(acme: Organization) -> None:
    async with acme.begin() as w:
        w.record(ledger.CredentialIssued("user_a", ["user_a"]))


async def _destroy(acme: Organization) -> None:
    async with acme.begin() as w:
        acme.node.keyring.destroy(w)


WRITES: dict[str, Write] = {
    "add an entry": Write(_add_entry, "ledger_entries", "already_entered"),
    "correct an entry": Write(
        lambda acme: acme.node.journal.run(acme.scope, SYSTEM, ledger.correct_entry, "ledger_kept", 1), "ledger_entries"
    ),
    "add a member": Write(lambda acme: acme.add_member("one"), "ledger_members"),
    "spend": Write(lambda acme: acme.spend("one"), "ledger_vouchers", "already_spent"),
    "cut": Write(lambda acme: acme.cut("one"), "cuts"),
    "record only": Write(_record_only, "leaves"),
    "record in two logs": Write(_with_platform, "ledger_members"),
    "make a signing key": Write(
        lambda acme: acme.node.keyring.public(_use(acme, Purpose.ACCESS_TOKEN), ES256), "signing_keys", "made"
    ),
    "rotate a signing key": Write(
        lambda acme: acme.node.keyring.rotate(_use(acme, Purpose.RECEIPT), ES256, SYSTEM),
        "signing_keys",
        "rotation_under_way",
    ),
    "rotate the data key": Write(lambda acme: acme.node.keyring.rotate_data_key(acme.id, SYSTEM), "data_keys"),
    "erase a person": Write(
        lambda acme: log.erase_person(acme.node.journal, acme.scope, SYSTEM, "ledger_kept"), "destructions"
    ),
    "destroy the keys": Write(_destroy, "data_keys"),
}


async def outcome(acme: Organization, name: str) -> str:
    """Make a write; gives its refusal's code, or an empty string."""
    try:
        await WRITES[name].do(acme)
    except TenantryError as error:
        return error.code
    return ""


async def _serve(path: Path, org: str) -> None:
    async with node_of(load(path)) as node:
        acme = Organization(node, scopes.of_job(org))
        sys.stdout.write("\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(await outcome(acme, line.strip()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2]))
