"""`tenantry access prove-gone | receipt`: that an ended access is gone, and the signed statement of it."""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenantry.app.config import load
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer, counted
from tenantry.cli.server import Organization, Reason, Server, running
from tenantry.core.errors import Invalid, ProofFailed
from tenantry.core.text import display
from tenantry.keys.signing import Jwk
from tenantry.sessions.receipts import Item, Receipt, open_receipt
from tenantry.sessions.routes import GoneAnswer, Keys, Living, ReceiptPage

T = TypeVar("T", bound=msgspec.Struct)
PROOF_FAILED = 4
RECEIPT_WITHIN_S = 10.0
"""How long a receipt may take to be there: it follows a cut within a moment."""

FILE_MAX_BYTES = 64 << 20


class Proved(msgspec.Struct, frozen=True):
    """What became of a branch. It is gone where nothing lives and its receipt holds; `why` says what is missing to that.

    `receipt` holds every part of the last cut's receipt, verified with the server's published keys; `keys` are those.
    """

    branch: str
    org: str
    gone: bool
    why: str
    revision: int | None
    live: int
    shown: list[Living]
    receipt: list[Receipt]
    keys: list[Jwk]


class Verified(msgspec.Struct, frozen=True):
    """What a verified receipt states."""

    branch: str
    org: str
    revision: int
    at: str
    items: int
    partial: list[Item]
    unknown: list[Item]


def prove_gone(
    branch: Annotated[str, Parameter(help="What was ended, by its id: a user, agent, session, key, ...")],
    /,
    *,
    organization: Organization = "",
    reason: Reason = "tenantry access prove-gone",
    config: ConfigPath = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Prove that an access is gone: nothing lives below it, and a signed receipt says what was closed, when, and what is not yet.

    The exit status is 4 if something lives, if it was never ended, or if its receipt does not hold. Pipe the answer into a file to
    keep the receipt; `tenantry access receipt` verifies it without the server.
    """
    with running(load(config)) as server, server.entered(organization, reason) as inside:
        gone = inside.ask("GET", f"/v1/branches/{branch}/gone", GoneAnswer)
        keys = inside.ask("GET", "/v1/receipts/keys", Keys).keys
        parts = [] if gone.revision is None else _receipt(inside, branch, gone.revision)
    why = _missing(gone, parts, keys)
    done = Proved(gone.branch, gone.org, not why, why, gone.revision, gone.live, gone.shown, parts, keys)
    answer(done, lambda console: _draw(console, done), as_json=json)
    return 0 if done.gone else PROOF_FAILED


def receipt(
    file: Annotated[Path, Parameter(help="What `tenantry access prove-gone` answered.")],
    /,
    *,
    keys: Annotated[
        Path | None,
        Parameter(
            help="The published keys (`/v1/receipts/keys`), from a place you trust. Unless told, those in the file."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Verify a kept receipt: whole, unchanged and signed. Asks nothing of the deployment that made it.

    The exit status is 4 if it is not. With the keys of the file itself it proves only that the file fits together.
    """
    kept = _read(file, Proved)
    known = kept.keys if keys is None else _read(keys, Keys).keys
    items = _verified(kept.branch, kept.org, kept.revision, kept.receipt, known)
    first = kept.receipt[0]
    partial, unknown = ([item for item in items if item.state == state] for state in ("partial", "unknown"))
    done = Verified(first.branch, first.org, first.revision, first.at, len(items), partial, unknown)
    answer(done, lambda console: _draw_items(console, first, items), as_json=json)


def _receipt(server: Server, branch: str, revision: int) -> list[Receipt]:
    """Every part of the receipt of a cut; fewer if they are not there in time."""
    deadline = time.monotonic() + RECEIPT_WITHIN_S
    while True:
        parts, place = list[Receipt](), f"{revision}.0"
        while place:
            page = server.ask("GET", f"/v1/branches/{branch}/receipts?after={place}", ReceiptPage)
            parts += [part for part in page.items if part.revision == revision]
            place = page.next if page.items and page.items[-1].revision == revision else None
        if (parts and len(parts) == parts[0].parts) or time.monotonic() > deadline:
            return parts
        time.sleep(0.1)


def _missing(gone: GoneAnswer, parts: list[Receipt], keys: list[Jwk]) -> str:
    """What is missing to the proof; nothing, if it stands."""
    if gone.live:
        return f"{counted(gone.live, 'credential')} below it can still be used."
    if gone.revision is None:
        return "It was never ended itself; end it, or prove what it descends from."
    try:
        _verified(gone.branch, gone.org, gone.revision, parts, keys)
    except ProofFailed as error:
        return error.message
    return ""


def _verified(branch: str, org: str, revision: int | None, parts: list[Receipt], keys: list[Jwk]) -> list[Item]:
    """The items of a whole receipt of this cut.

    Raises:
        ProofFailed: a part is missing, is another cut's, or none of the keys signed it.
    """
    opened = [open_receipt(msgspec.json.encode(part), keys) for part in parts]
    if not opened or [part.part for part in opened] != list(range(1, opened[0].parts + 1)):
        raise ProofFailed("The receipt is not there, or not all of its parts are.")
    for part in opened:
        if (part.branch, part.org, part.revision, part.parts) != (branch, org, revision, len(opened)):
            raise ProofFailed("A part of the receipt is another cut's.")
    return [item for part in opened for item in part.items]


def _read(path: Path, kind: type[T]) -> T:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(FILE_MAX_BYTES), type=kind)
    except msgspec.DecodeError as error:
        raise Invalid(f"{path} holds no such thing: {error}.") from error


def _draw(console: Console, done: Proved) -> None:
    if not done.gone:
        console.print(
            Text.assemble(("not proved", "bold red"), f"  {display(done.branch)}: {done.why}"), soft_wrap=True
        )
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("lives", "id"):
            table.add_column(title)
        for one in done.shown:
            table.add_row(display(one.kind), display(one.id))
        if done.shown:
            console.print(table)
        return
    console.print(
        Text.assemble(("gone", "bold green"), f"  {display(done.branch)}: nothing lives below it"), soft_wrap=True
    )
    _draw_items(console, done.receipt[0], [item for part in done.receipt for item in part.items])


def _draw_items(console: Console, first: Receipt, items: list[Item]) -> None:
    console.print(
        f"[green]signed[/]  ended at {first.at}, revision {first.revision}; everywhere within {first.bound_ms} ms"
    )
    for kind, number in Counter(item.kind for item in items if item.state == "closed").items():
        console.print(f"[green]closed[/]  {number} {display(kind)}")
    for item in items:
        if item.state != "closed":
            until = f" until {item.until}" if item.until else ""
            said = f"  {display(item.id)}{until}. {display(item.reason)}"
            console.print(Text.assemble((item.state, "yellow"), said), soft_wrap=True)
