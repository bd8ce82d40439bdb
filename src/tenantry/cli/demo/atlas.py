"""The scenes of Atlas: a product, its customers, who may do what, and how access ends. Real servers, asked over HTTP."""

import asyncio
from typing import Any

import msgspec

from tenantry.cli.demo.atlas_servers import Caller, Said, asked, given, ran
from tenantry.cli.demo.atlas_tree import drawn
from tenantry.cli.demo.atlas_world import World
from tenantry.cli.demo.play import Advance, Proved, Twin, expect
from tenantry.cli.demo.scenes import PROMISE_MS, SEQUENCED_MS
from tenantry.cli.demo.stage import NODES, Stage
from tenantry.core.errors import ProofFailed
from tenantry.keys.signing import Jwk
from tenantry.sessions.receipts import open_receipt

PLAN = "document:plan"
CEILING = {"allow": [{"type": "store", "relation": "can_check"}]}


async def product(stage: Stage, _: Advance) -> Proved:
    """Three servers, and a product from one YAML file."""
    stage.atlas = world = World(stage)
    await world.start(stage.running)
    declared = await world.declare()
    await world.hire()
    nobody = await asked(world.at, "GET", "/v1/applications")
    again = await world.operator.ask(world.at, "POST", "/v1/resources", _resource(await _resources(world)))
    unknown = await world.operator.ask(world.at, "POST", "/v1/services", {"name": "x", "admin": True})
    return Proved(
        f"{NODES} servers on PostgreSQL; application with model and roles, resource: {declared} things from atlas.yaml",
        [
            _refused("somebody without a credential", nobody, "unauthenticated"),
            _refused("a field that nobody declared", unknown, "invalid"),
            Twin("the same resource a second time", not again.ok),
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
    alone = acme.admin
    bare = await agent.bare(
        world.at, "POST", f"/v1/stores/{acme.store}/check", _question(acme.people["Bob"], "can_read")
    )
    return Proved(
        f"2 organizations: {len(acme.people) + len(world.globex.people)} people, 2 groups, 2 services and 2 agents, all by HTTP",
        [
            _refused("a service that shows another's key", await thief.sign_in(world.at), "invalid_client"),
            Twin("a secret for an agent, which has keys only", not secret.ok),
            Twin("the agent's token without its key", bare.status == 401),
            Twin("a customer's admin that begins an organization", not (await _begin(world, alone)).ok),
        ],
    )


async def decisions(stage: Stage, _: Advance) -> Proved:
    """Atlas asks who may do what in each customer's store."""
    world, acme = stage.atlas, stage.atlas.acme
    alice, bob, dan = (f"user:{acme.people[name]}" for name in ("Alice", "Bob", "Dan"))
    editors = f"group:{acme.group}#member"
    written = await world.write(
        acme,
        ("workspace:main", "workspace", PLAN),
        (alice, "owner", PLAN),
        (editors, "admin", "workspace:main"),
        (dan, "member", "workspace:main"),
    )
    given(written)
    yes = [("Alice", "can_edit"), ("Bob", "can_edit"), ("Dan", "can_read")]
    for name, relation in yes:
        expect(await _allowed(world, acme.people[name], relation), f"{name} has not {relation}")
    gina = world.globex.people["Gina"]
    no = [("Dan edits, who is a member", acme.people["Dan"]), ("Gina of Globex edits in Acme", gina)]
    twins = [Twin(name, not await _allowed(world, who, "can_edit")) for name, who in no]
    role = ("user:" + acme.people["Dan"], "reviewer", PLAN)
    expect(not await _allowed(world, acme.people["Dan"], "can_comment"), "Dan comments before he is a reviewer")
    given(await world.write(acme, role))
    expect(await _allowed(world, acme.people["Dan"], "can_comment"), "Dan is a reviewer and cannot comment")
    there = world.backend.within(Tenantry_Organization=acme.org)
    path = f"/stores/{acme.store.removeprefix('store_')}/write"
    wrote = await there.ask(world.at, "POST", path, {"writes": {"tuple_keys": [_tuple(gina, "owner")]}})
    twins.append(Twin("Atlas's backend writes, which may only ask", not wrote.ok))
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
        Twin("Globex asks why", not (await world.globex.admin.ask(world.at, "POST", path, body)).ok),
    ]
    return Proved(drawn(said["explanation"], names), twins)


async def agents(stage: Stage, _: Advance) -> Proved:
    """An agent acts under its ceiling, which holds whatever roles it was given."""
    world, acme = stage.atlas, stage.atlas.acme
    agent = acme.robot
    given(await acme.inside.ask(world.at, "PUT", f"/v1/stores/{acme.store}/roles/writer/holders/{agent.id}"))
    question = _question(acme.people["Alice"], "can_edit")
    asked_ = given(await agent.ask(world.at, "POST", f"/v1/stores/{acme.store}/check", question))
    expect(asked_["allowed"], "Alice cannot edit")
    path = f"/stores/{acme.store.removeprefix('store_')}/write"
    wrote = await agent.ask(world.at, "POST", path, {"writes": {"tuple_keys": [_tuple(acme.people["Dan"], "owner")]}})
    foreign = await agent.ask(world.at, "POST", f"/v1/stores/{world.globex.store}/check", question)
    said = wrote.body.get("message") or wrote.body.get("detail")
    expect("ceiling" in str(said), f"a denial that does not name the ceiling: {wrote.body}")
    return Proved(
        f"the agent asks, which its ceiling holds; it is a writer, too, but: {said}",
        [
            Twin("the agent writes, beyond its ceiling", not wrote.ok),
            Twin("the agent asks in Globex's store", not foreign.ok),
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
        Twin("Globex enters by the operator's entry", not (await entered.ask(world.at, "GET", "/v1/users")).ok)
    )
    return Proved(f"{len(tries)} attempts on Acme, each answered word for word as for an id that never was", twins)


async def ended(stage: Stage, _: Advance) -> Proved:
    """A service is cut on one server, refused on all within a second, and the receipt holds without us."""
    world, acme = stage.atlas, stage.atlas.acme
    leaver, stays = await world.service_of(acme.inside, "Leaver"), acme.admin
    given(await acme.inside.ask(world.at, "PUT", f"/v1/roles/admin/holders/{leaver.id}"))
    given(await leaver.sign_in(world.at))
    for at in world.ats:
        given(await leaver.ask(at, "GET", "/v1/users"))
    began = stage.clock.boottime()
    cut = given(await acme.inside.ask(world.ats[-1], "POST", f"/v1/branches/{leaver.id}/cut", {"reason": "left"}))

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
    document, keys = await _receipt(world, cut["receipt"])
    receipt = open_receipt(document, keys)
    expect(receipt.branch == leaver.id, "a receipt of something else")
    closed = sum(item.state == "closed" for item in receipt.items)
    slowest = max(ms for ms, _ in found)
    return Proved(
        f"refused by all {NODES} servers {slowest:.0f} ms after it was asked for; the neighbour is served on; "
        f"receipt verified offline: {closed} of {len(receipt.items)} closed",
        [
            *(Twin(f"the leaver at server {n}", said.status == 401) for n, (_, said) in enumerate(found, 1)),
            Twin("a token for the leaver, anew", not anew.ok),
            Twin("a receipt with a word changed", _forged(document, keys)),
        ],
    )


async def logged(stage: Stage, _: Advance) -> Proved:
    """Acme's log, taken out and verified by the commands, holds what happened."""
    world, acme = stage.atlas, stage.atlas.acme
    out, config = stage.folder / "atlas-acme", stage.folder / "atlas-1" / "tenantry.toml"

    async def whole() -> bool:
        status, said = await ran(
            "audit", "export", "--org", acme.org, "--out", str(out / str(len(tried))), "--config", str(config)
        )
        expect(status == 0, f"the export failed: {said}")
        tried.append(said)
        return said["newer"] == 0

    tried: list[dict[str, Any]] = []
    await stage.settled("a checkpoint covers every event", whole, SEQUENCED_MS)
    folder = out / str(len(tried) - 1)
    status, report = await ran("audit", "verify", str(folder))
    expect(status == 0, f"the log cannot be verified: {report}")
    events = (folder / "events.jsonl").read_bytes()
    for needed in (b"branch.cut", b"agent.", b"token.issued", world.operator.id.encode()):
        expect(needed in events, f"the log does not tell of {needed.decode()}")
    (folder / "events.jsonl").write_bytes(events.replace(b"branch.cut", b"branch.kept"))
    changed, _ = await ran("audit", "verify", str(folder))
    (folder / "events.jsonl").write_bytes(events)
    return Proved(
        f"{len(events.splitlines())} events of Acme: who entered, who came, what was given, what was cut",
        [Twin("a log in which the cut became something else", changed != 0)],
    )


async def _resources(world: World) -> dict[str, Any]:
    return given(await world.operator.ask(world.at, "GET", "/v1/resources"))["items"][0]


def _resource(held: dict[str, Any]) -> dict[str, Any]:
    return {name: held[name] for name in ("name", "indicator", "scopes", "follows_feed")}


async def _begin(world: World, caller: Caller) -> Said:
    owner = {"email": "eve@initech.example"}
    return await caller.ask(world.at, "POST", "/v1/organizations", {"name": "Initech", "owner": owner})


def _question(person: str, relation: str) -> dict[str, str]:
    return {"subject": f"user:{person}", "relation": relation, "object": PLAN}


def _tuple(person: str, relation: str) -> dict[str, str]:
    return {"user": f"user:{person}", "relation": relation, "object": PLAN}


async def _allowed(world: World, person: str, relation: str) -> bool:
    """What Atlas's backend is told of Acme's document."""
    backend = world.backend.within(Tenantry_Organization=world.acme.org)
    path = f"/v1/stores/{world.acme.store}/check"
    return given(await backend.ask(world.at, "POST", path, _question(person, relation)))["allowed"]


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
