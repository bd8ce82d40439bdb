"""The scenes of Atlas: a product, its customers, who may do what, and how access ends. Real servers, asked over HTTP."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec

from tenantry.audit.export import EVENTS
from tenantry.cli.demo.atlas_servers import Caller, Said, asked, given, ran
from tenantry.cli.demo.atlas_tree import drawn
from tenantry.cli.demo.atlas_world import FILE, World
from tenantry.cli.demo.play import Advance, Proved, Twin, expect
from tenantry.cli.demo.scenes import PROMISE_MS, SEQUENCED_MS
from tenantry.cli.demo.stage import NODES, Stage
from tenantry.core.errors import ProofFailed
from tenantry.keys.signing import Jwk
from tenantry.sessions.receipts import open_receipt

PLAN = "document:plan"
CEILING = {"allow": [{"type": "store", "relation": "can_check"}, {"type": "document", "relation": "can_read"}]}


async def product(stage: Stage, _: Advance) -> Proved:
    """Three servers, and a product from one YAML file, by the operator's command."""
    stage.atlas = world = World(stage)
    await world.start(stage.running)
    status, done = await world.apply(FILE)
    expect(status == 0, f"the file cannot be applied: {done}")
    world.application = done["applications"]["Atlas"]
    await world.hire()
    misspelled = stage.folder / "misspelled.yaml"
    misspelled.write_text(FILE.read_text().replace("redirect_uris:", "redirect_urls:"))
    (again, changed), (wrong, why) = await asyncio.gather(world.apply(FILE), world.apply(misspelled))
    expect(again == 0 and changed["steps"] == [], f"a second run changes something: {changed}")
    nobody = await asked(world.at, "GET", "/v1/applications")
    steps = ", ".join(f"{step['kind']} {step['name']}" for step in done["steps"])
    return Proved(
        f"{NODES} servers on PostgreSQL; applied: {steps}; a second run changed nothing",
        [
            Twin("a file with a key that there is not", wrong != 0 and why["error"] == "invalid"),
            _refused("somebody without a credential", nobody, "unauthenticated"),
        ],
    )


async def customers(stage: Stage, _: Advance) -> Proved:
    """Acme and Globex, each with everybody in it."""
    world = stage.atlas
    world.acme, world.globex = await asyncio.gather(
        world.customer("Acme", "Alice", "Bob", "Dan"), world.customer("Globex", "Gina", "Hugo")
    )
    acme = world.acme
    for customer, person in ((acme, "Bob"), (world.globex, "Hugo")):
        path = f"/v1/groups/{customer.group}/members/{customer.people[person]}"
        given(await customer.admin.ask(world.at, "PUT", path))
        customer.agent = await world.agent_of(customer, "Scribe", next(iter(customer.people.values())), CEILING)
    agent = acme.robot
    given(await acme.inside.ask(world.at, "PUT", f"/v1/stores/{acme.store}/roles/checker/holders/{agent.id}"))
    given(await agent.sign_in(world.at))
    thief = Caller(agent.issuer, acme.admin.id, agent.key)
    secret = await acme.admin.ask(world.at, "POST", f"/v1/workloads/{agent.id}/secrets", {})
    bare = await agent.bare(
        world.at, "POST", f"/v1/stores/{acme.store}/check", _question(acme.people["Bob"], "can_read")
    )
    return Proved(
        f"2 organizations: {len(acme.people) + len(world.globex.people)} people, 2 groups, 2 services and 2 agents, all by HTTP",
        [
            _refused("a service that shows another's key", await thief.sign_in(world.at), "invalid_client"),
            _refused("a secret for an agent, which has keys only", secret, "not_found"),
            _refused("the agent's token without its key", bare, "invalid_token"),
            _refused("a customer's admin that begins an organization", await _begin(world, acme.admin), "not_found"),
        ],
    )


async def decisions(stage: Stage, _: Advance) -> Proved:
    """Atlas asks who may do what in each customer's store."""
    world, acme = stage.atlas, stage.atlas.acme
    alice, dan = (f"user:{acme.people[name]}" for name in ("Alice", "Dan"))
    editors = f"group:{acme.group}#member"
    written = await world.write(
        acme,
        ("workspace:main", "workspace", PLAN),
        (alice, "owner", PLAN),
        (editors, "admin", "workspace:main"),
        (dan, "member", "workspace:main"),
    )
    given(written)
    since = written.revision
    yes = [("Alice", "can_edit"), ("Bob", "can_edit"), ("Dan", "can_read")]
    for name, relation in yes:
        expect(await _allowed(world, acme.people[name], relation, since), f"{name} has not {relation}")
    gina = world.globex.people["Gina"]
    no = [("Dan edits, who is a member", acme.people["Dan"]), ("Gina of Globex edits in Acme", gina)]
    twins = [Twin(name, not await _allowed(world, who, "can_edit", since)) for name, who in no]
    role = ("user:" + acme.people["Dan"], "reviewer", PLAN)
    expect(not await _allowed(world, acme.people["Dan"], "can_comment", since), "Dan comments before he is a reviewer")
    since = (await world.write(acme, role)).revision
    expect(await _allowed(world, acme.people["Dan"], "can_comment", since), "Dan is a reviewer and cannot comment")
    there = world.backend.within(Tenantry_Organization=acme.org)
    path = f"/stores/{acme.store.removeprefix('store_')}/write"
    wrote = await there.ask(world.at, "POST", path, {"writes": {"tuple_keys": [_tuple(gina, "owner")]}})
    twins.append(_refused("Atlas's backend writes, which may only ask", wrote, "forbidden"))
    return Proved("Alice owns, Bob edits by his group, Dan reads, and comments once he is a reviewer", twins)


async def explained(stage: Stage, _: Advance) -> Proved:
    """A denial, with its reasons."""
    world, acme = stage.atlas, stage.atlas.acme
    path, body = f"/v1/stores/{acme.store}/explain", _question(acme.people["Dan"], "can_edit")
    said = given(await acme.admin.ask(world.at, "POST", path, body))
    expect(not said["answer"]["allowed"], "a denial that is none")
    expect(bool(said["explanation"]["missing"]), "a denial that does not say what is missing")
    names = {id_: name for name, id_ in acme.people.items()} | {acme.group: "Editors"}
    backend = world.backend.within(Tenantry_Organization=acme.org)
    twins = [
        _refused(
            "Atlas's backend, which may not read tuples, asks why",
            await backend.ask(world.at, "POST", path, body),
            "forbidden",
        ),
        _refused("Globex asks why", await world.globex.admin.ask(world.at, "POST", path, body), "forbidden"),
    ]
    return Proved(f"Dan can_edit {PLAN}: denied\n{drawn(said['explanation'], names)}", twins)


async def agents(stage: Stage, _: Advance) -> Proved:
    """An agent does what its person may and its ceiling holds; the denial names who said no."""
    world, acme = stage.atlas, stage.atlas.acme
    agent, path = acme.robot, f"/v1/stores/{acme.store}/check"
    given(await acme.inside.ask(world.at, "PUT", f"/v1/stores/{acme.store}/roles/writer/holders/{agent.id}"))
    alice, dan = ({"actors": [agent.id], **_question(acme.people[name], "can_edit")} for name in ("Alice", "Dan"))
    read = given(await agent.ask(world.at, "POST", path, {**alice, "relation": "can_read"}))
    expect(read["allowed"], f"Alice cannot read by her agent: {read}")
    edit = given(await agent.ask(world.at, "POST", path, alice))
    expect(agent.id in edit["because"], f"a denial that does not name the agent: {edit}")
    above = given(await agent.ask(world.at, "POST", path, dan))
    writing = {"writes": {"tuple_keys": [_tuple(acme.people["Dan"], "owner")]}}
    wrote = await agent.ask(world.at, "POST", f"/stores/{acme.store.removeprefix('store_')}/write", writing)
    foreign = await agent.ask(world.at, "POST", f"/v1/stores/{world.globex.store}/check", alice)
    return Proved(
        f"Alice reads by her agent; she may edit, it may not: {edit['because'].replace(agent.id, 'Scribe')}",
        [
            Twin("Alice edits by the agent", not edit["allowed"]),
            Twin("Dan edits by the agent, and neither may", not above["allowed"] and len(above["said"]) > 1),
            _refused("the agent writes tuples, as a writer beyond its ceiling", wrote, "forbidden"),
            _refused("the agent asks in Globex's store", foreign, "forbidden"),
        ],
    )


async def attempts(stage: Stage, _: Advance) -> Proved:
    """Globex's admin tries whatever is Acme's: each is answered as if it never was."""
    world, acme, admin = stage.atlas, stage.atlas.acme, stage.atlas.globex.admin
    person, service, agent, store = acme.people["Bob"], acme.admin.id, acme.robot.id, acme.store
    tries: list[tuple[str, str, str, object]] = [
        ("reads a person", "GET", "/v1/users/{}", person),
        ("deactivates a person", "POST", "/v1/users/{}/deactivate", person),
        ("reads a group", "GET", "/v1/groups/{}", acme.group),
        ("lists a group", "GET", "/v1/groups/{}/members", acme.group),
        ("reads a service", "GET", "/v1/services/{}", service),
        ("makes a secret", "POST", "/v1/workloads/{}/secrets", service),
        ("reads an agent", "GET", "/v1/agents/{}", agent),
        ("asks in the store", "POST", "/v1/stores/{}/check", store),
        ("cuts a person", "POST", "/v1/branches/{}/cut", person),
        ("reads receipts", "GET", "/v1/branches/{}/receipts", person),
    ]
    twins: list[Twin] = []
    for name, method, path, theirs in tries:
        unknown = stage.ids.new(str(theirs).partition("_")[0])
        body = None if method == "GET" else _question(person, "can_edit") if "check" in path else {}
        foreign = await admin.ask(world.at, method, path.format(theirs), body)
        never = await admin.ask(world.at, method, path.format(unknown), body)
        same = (foreign.status, _without(foreign, str(theirs))) == (never.status, _without(never, unknown))
        twins.append(Twin(f"Globex {name} of Acme's", not foreign.ok and same))
    entered = admin.within(Tenantry_Entry=acme.inside.entry)
    twins.append(
        _refused("Globex enters by the operator's entry", await entered.ask(world.at, "GET", "/v1/users"), "denied")
    )
    return Proved(f"{len(tries)} attempts on Acme, each answered word for word as for an id that never was", twins)


async def ended(stage: Stage, _: Advance) -> Proved:
    """A service is deactivated at one server, refused by all within a second, and the receipt holds without us."""
    world, acme = stage.atlas, stage.atlas.acme
    leaver, stays = await world.service_of(acme.inside, "Leaver"), acme.admin
    given(await acme.inside.ask(world.at, "PUT", f"/v1/roles/admin/holders/{leaver.id}"))
    given(await leaver.sign_in(world.at))
    for at in world.ats:
        given(await leaver.ask(at, "GET", "/v1/users"))
    began = stage.clock.boottime()
    given(await stays.ask(world.ats[-1], "POST", f"/v1/services/{leaver.id}/deactivate", {"reason": "left"}))

    async def refused_at(number: int) -> tuple[float, Said]:
        last: list[Said] = []

        async def refused() -> bool:
            last[:] = [await leaver.ask(world.ats[number], "GET", "/v1/users")]
            return last[0].status == 401

        await stage.settled("a cut is refused by every server", refused, PROMISE_MS)
        return (stage.clock.boottime() - began) * 1000, last[0]

    found = await asyncio.gather(*map(refused_at, range(NODES)))
    for at in world.ats:
        given(await stays.ask(at, "GET", "/v1/users"))
    anew = await leaver.sign_in(world.ats[0])
    document, keys = await _receipt(world, f"/v1/branches/{leaver.id}/receipts")
    receipt = open_receipt(document, keys)
    expect(receipt.branch == leaver.id, "a receipt of something else")
    closed = sum(item.state == "closed" for item in receipt.items)
    slowest = max(ms for ms, _ in found)
    return Proved(
        f"refused by all {NODES} servers {slowest:.0f} ms after it was asked for; the neighbour is served on; "
        f"receipt verified offline: {closed} of {len(receipt.items)} closed",
        [
            *(Twin(f"the leaver at server {n}", said.status == 401) for n, (_, said) in enumerate(found, 1)),
            _refused("a token for the leaver, anew", anew, "invalid_client"),
            Twin("a receipt with a word changed", _forged(document, keys)),
        ],
    )


async def logged(stage: Stage, _: Advance) -> Proved:
    """Acme's log, taken out and verified by the commands, holds what happened."""
    world, acme = stage.atlas, stage.atlas.acme
    folders: list[Path] = []

    async def whole() -> bool:
        folders.append(stage.folder / f"atlas-acme-{len(folders)}")
        words = ("--org", acme.org, "--out", str(folders[-1]), "--config", str(world.config))
        status, said = await ran("audit", "export", *words)
        expect(status == 0, f"the export failed: {said}")
        return b"party.deactivated" in (folders[-1] / EVENTS).read_bytes()

    await stage.settled("a checkpoint covers the end of the leaver", whole, SEQUENCED_MS)
    events = (folders[-1] / EVENTS).read_bytes()
    for needed in (b"agent.", b"token.issued", world.operator.id.encode()):
        expect(needed in events, f"the log does not tell of {needed.decode()}")
    copy = stage.folder / "atlas-acme-changed"
    shutil.copytree(folders[-1], copy)
    (copy / EVENTS).write_bytes(events.replace(b"party.deactivated", b"party.reactivated"))
    (status, report), (changed, found) = await asyncio.gather(
        ran("audit", "verify", str(folders[-1])), ran("audit", "verify", str(copy))
    )
    expect(status == 0, f"the log cannot be verified: {report}")
    return Proved(
        f"{len(events.splitlines())} events of Acme: who entered, who came, what was given, who left",
        [Twin("a log in which the leaver was let in again", changed != 0 and bool(found.get("kind")))],
    )


async def _begin(world: World, caller: Caller) -> Said:
    owner = {"email": "eve@initech.example"}
    return await caller.ask(world.at, "POST", "/v1/organizations", {"name": "Initech", "owner": owner})


def _question(person: str, relation: str) -> dict[str, str]:
    return {"subject": f"user:{person}", "relation": relation, "object": PLAN}


def _tuple(person: str, relation: str) -> dict[str, str]:
    return {"user": f"user:{person}", "relation": relation, "object": PLAN}


async def _allowed(world: World, person: str, relation: str, since: int) -> bool:
    """What Atlas's backend is told of Acme's document, by what was written up to a revision at least."""
    backend = world.backend.within(Tenantry_Organization=world.acme.org)
    path = f"/v1/stores/{world.acme.store}/check"
    return given(await backend.ask(world.at, "POST", path, {"at_least": since, **_question(person, relation)}))[
        "allowed"
    ]


def _refused(name: str, said: Said, code: str) -> Twin:
    """A twin that must be refused with this code and no other."""
    return Twin(name, not said.ok and said.code == code)


def _without(said: Said, id_: str) -> str:
    """A refusal without the id that was asked for, in whichever form."""
    return msgspec.json.encode(said.body).decode().replace(id_, "").replace(id_.partition("_")[2], "")


async def _receipt(world: World, path: str) -> tuple[bytes, list[Jwk]]:
    """The receipt once it is there, and the keys that everybody may have."""
    auditor, found = world.acme.admin, list[Any]()

    async def made() -> bool:
        found[:] = given(await auditor.ask(world.at, "GET", path))["items"]
        return bool(found)

    await world.stage.settled("a receipt follows the cut", made, SEQUENCED_MS)
    keys = given(await asked(world.at, "GET", "/v1/receipts/keys"))["keys"]
    return msgspec.json.encode(found[0]), msgspec.convert(keys, list[Jwk])


def _forged(document: bytes, keys: list[Jwk]) -> bool:
    """Whether a receipt that says something else is found out."""
    try:
        open_receipt(document.replace(b'"partial"', b'"closed"', 1), keys)
    except ProofFailed:
        return True
    return False
