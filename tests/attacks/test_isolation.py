"""No route tells another organization's id from one that never existed: each operation of the running document, each kind of id, each
place that takes one. A new operation is walked by itself.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from tenantry.core.ids import ulid
from tests.attacks.operations import Answer, Operation, ask, body, named, operations, replaced, twin, values
from tests.stand.assembled import Home, House

NO_IDS = ("admin_secret",)


async def test_ten_01_every_route_does_what_it_says_for_its_own(house: House, globex: Home) -> None:
    """TEN-01: what the walks below compare is not a refusal of everything: the same requests with one's own ids succeed."""
    failed: list[str] = []
    for operation in await operations(house):
        client = house.console if operation.platforms else None
        headers = {} if operation.platforms else globex.admin
        answer = await ask(
            house, operation, headers, values(operation, globex.have), body(operation, globex), client=client
        )
        if answer.status != operation.success:
            failed.append(f"{operation.name}: {answer.status} {answer.body}")
    assert not failed, "\n".join(failed)


async def test_ten_01_no_route_tells_anothers_id_from_one_that_never_was(
    house: House, acme: Home, globex: Home
) -> None:
    """TEN-01: in path, query, body and entry, of each kind that the place admits: the same answer, and nothing of it in Acme."""
    before, told, asked = await acme.ledger.holdings(), list[str](), 0
    async for pair in _walk(house, acme, globex):
        asked += 1
        if pair.foreign != pair.never:
            told.append(f"{pair.operation} {pair.place}: {pair.foreign.status} {pair.foreign.body} {pair.never.body}")
    assert not told, "\n".join(told)
    assert asked > 1_000
    assert (await acme.ledger.holdings()) == before


class Pair(msgspec.Struct, frozen=True):
    """The answers of one operation for an id of another organization's and for one that never was, in one place."""

    operation: str
    place: str
    foreign: Answer
    never: Answer


async def _walk(house: House, acme: Home, globex: Home) -> AsyncIterator[Pair]:
    """Each place of each operation, asked by Globex's administrator."""
    theirs = {name: value for name, value in acme.have.items() if name not in NO_IDS}
    known = {value: name for name, value in globex.have.items() if name in theirs}
    for operation in await operations(house):
        own, sent = values(operation, globex.have), body(operation, globex)

        async def answer(
            presented: str,
            *,
            operation: Operation = operation,
            path: Mapping[str, str] = own,
            given: Any = sent,
            query: Mapping[str, str] | None = None,
            entry: str = "",
        ) -> Answer:
            headers = {**globex.admin, "Tenantry-Entry": entry} if entry else globex.admin
            said = await ask(house, operation, headers, path, given, query)
            echoed = said.body.replace(ulid(presented), "<presented>")  # what was sent says nothing
            return Answer(said.status, echoed, said.headers)

        for place in operation.parameters:
            for value in (value for value in theirs.values() if operation.admits(place, value)):
                foreign, never = [await answer(one, path={**own, place: one}) for one in (value, twin(value))]
                yield Pair(operation.name, place, foreign, never)
        for place in operation.query:
            for value in (value for value in theirs.values() if operation.admits(place, value)):
                foreign, never = [await answer(one, query={place: one}) for one in (value, twin(value))]
                yield Pair(operation.name, place, foreign, never)
        for value in set(named(sent, known)):
            other = theirs[known[value]]
            foreign, never = [await answer(one, given=replaced(sent, value, one)) for one in (other, twin(other))]
            yield Pair(operation.name, f"body's {known[value]}", foreign, never)
        if operation.proves:
            entry = theirs["entry_id"]
            foreign, never = [await answer(one, entry=f"{acme.org}/{one}") for one in (entry, twin(entry))]
            yield Pair(operation.name, "Tenantry-Entry", foreign, never)


async def test_ten_12_a_cursor_of_another_organization_list_or_filter_is_refused(
    house: House, acme: Home, globex: Home
) -> None:
    """TEN-12: of every list with sealed cursors: another organization's, an edited one, and one of another list are all one refusal."""
    theirs, ours = await _cursors(acme), await _cursors(globex)
    assert len(ours) == 4
    for operation in await operations(house):
        cursors = {
            "edited": twin(ours["list_stores"][:-8]) + ours["list_stores"][-8:],
            "another list's": ours["list_stores"],
            **theirs,
        }
        for said, cursor in cursors.items():
            sent, query = body(operation, globex), None
            if "continuation_token" in operation.query:
                query = {"continuation_token": cursor}
            elif operation.name == "read":
                sent = {"continuation_token": cursor}
            if operation.name not in ours or (operation.name, said) == ("list_stores", "another list's"):
                continue
            path = values(operation, globex.have)
            answer = await ask(house, operation, globex.admin, path, sent, query)
            assert (answer.status, "invalid_continuation_token" in answer.body) == (400, True), (operation.name, said)
            good = {"continuation_token": ours[operation.name]}
            answer = await ask(house, operation, globex.admin, path, good if sent else None, good if query else None)
            assert answer.status == 200, answer.body
    assert {one.name for one in await operations(house) if "continuation_token" in one.query} == ours.keys() - {"read"}


async def _cursors(home: Home) -> dict[str, str]:
    """A cursor of each list that seals them."""
    store = home.have["store"]
    answers = {
        "list_stores": await home.made("GET", "/stores?page_size=1"),
        "read_authorization_models": await home.made("GET", f"/stores/{store}/authorization-models?page_size=1"),
        "read": await home.made("POST", f"/stores/{store}/read", {"page_size": 1}),
        "read_changes": await home.made("GET", f"/stores/{store}/changes?page_size=1"),
    }
    return {name: answer["continuation_token"] for name, answer in answers.items()}
