"""The table of kinds says what descends from what, and refuses everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.clock import SystemClock
from tenantry.core.ids import ALPHABET, PLATFORM, PREFIXES, IdSource
from tenantry.core.limits import PATH_MAX_IDS
from tenantry.core.principal import Lineage
from tenantry.sessions.kinds import OWN, Kinds
from tenantry.sessions.lineage import TNY_MAX_BYTES, Tny, decode, encode
from tenantry.sessions.tree import BY_NAME, KINDS, RUN_DEPTH, NoBranch, Side, check_path, kind_of, side_of

IDS = IdSource(SystemClock())
ORG = IDS.new("org")


def chain(*prefixes: str) -> tuple[str, ...]:
    """A path of fresh ids below one organization."""
    return (ORG, *(IDS.new(prefix) for prefix in prefixes))


def test_every_kind_has_a_number_and_an_id_of_its_own_and_known_parents() -> None:
    assert len({kind.number for kind in KINDS}) == len({kind.name for kind in KINDS}) == len(KINDS)
    assert len({(kind.prefix, kind.side) for kind in KINDS}) == len(KINDS)
    assert {kind.prefix for kind in KINDS} <= PREFIXES
    assert {parent for kind in KINDS for parent in kind.parents} <= BY_NAME.keys()


def test_numbers_never_change_because_tokens_carry_them() -> None:
    assert [kind.name for kind in sorted(KINDS, key=lambda kind: kind.number)][:13] == [
        *("organization", "blueprint", "agent", "user", "service", "mcp_server", "connection"),
        *("directory", "session", "grant", "run", "job", "key"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        chain(),
        chain("user", "session"),
        chain("user", "grant", "blueprint", "agent", "run", "run", "run"),
        chain("blueprint", "agent", "key"),
        chain("service", "run", "job"),
        chain("user", "grant", "family"),
        chain("entry"),
    ],
)
def test_a_path_of_the_tree_is_taken_and_refused_without_its_beginning(path: tuple[str, ...]) -> None:
    check_path(ORG, path)
    with pytest.raises(NoBranch):
        check_path(ORG, path[1:])
    with pytest.raises(NoBranch):
        check_path(IDS.new("org"), path)


@pytest.mark.parametrize(
    "path",
    [
        chain("session"),
        chain("user", "key"),
        chain("session", "user"),
        chain("org"),
        chain("user", "family"),
        chain("group"),
        (*chain("user"), "user_1"),
        chain("user", *["session", "run"], *["run"] * RUN_DEPTH),
    ],
)
def test_what_descends_from_nothing_above_it_is_refused(path: tuple[str, ...]) -> None:
    with pytest.raises(NoBranch):
        check_path(ORG, path)


def test_an_id_stands_in_a_path_once() -> None:
    path = chain("user", "session")
    with pytest.raises(NoBranch):
        check_path(ORG, (*path, path[1]))


def test_a_branch_of_the_platform_is_the_platforms_alone_to_name() -> None:
    account = IDS.new("account")
    assert side_of(PLATFORM, account) is Side.PLATFORM
    assert side_of(PLATFORM, IDS.new("user")) is Side.ORGANIZATION
    with pytest.raises(NoBranch):
        side_of(ORG, account)
    with pytest.raises(NoBranch):
        check_path(ORG, (ORG, account))


def test_the_registry_says_which_kinds_nobody_told_of() -> None:
    missing = Kinds(OWN).missing()
    assert {"user", "agent", "service", "key", "entry"} <= set(missing)
    assert not {"organization", "session", "grant", "run"} & set(missing)


ORDER = [kind for kind in KINDS if kind.side is Side.ORGANIZATION and kind.parents]


@st.composite
def lineages(draw: st.DrawFn) -> Lineage:
    """Paths that the tree knows, grown kind by kind."""
    path, kinds, runs = [ORG], {"organization"}, 0
    for _ in range(draw(st.integers(0, 9))):
        fitting = [
            kind for kind in ORDER if kinds & set(kind.parents) and not (kind.name == "run" and runs == RUN_DEPTH)
        ]
        kind = draw(st.sampled_from(fitting))
        tail = draw(st.sampled_from("01234567")) + draw(st.text(ALPHABET, min_size=25, max_size=25))
        if f"{kind.prefix}_{tail}" in path:
            continue
        path.append(f"{kind.prefix}_{tail}")
        kinds.add(kind.name)
        runs += kind.name == "run"
    platform = tuple(IDS.new(prefix) for prefix in draw(st.sets(st.sampled_from(["account", "app", "key", "user"]))))
    numbers = st.integers(0, 2**53 - 1)
    return Lineage(draw(numbers), tuple(path), draw(numbers), platform, draw(numbers))


@given(lineages())
def test_what_a_token_carries_is_read_back_as_it_was(lineage: Lineage) -> None:
    assert decode(ORG, encode(ORG, lineage)) == lineage


@given(lineages(), st.data())
def test_a_path_with_a_changed_byte_is_another_path_or_none(lineage: Lineage, data: st.DataObject) -> None:
    claim = encode(ORG, lineage)
    if not claim.path:
        return
    place = data.draw(st.integers(0, len(claim.path) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n"))
    changed = claim.path[:place] + other + claim.path[place + 1 :]
    try:
        read = decode(ORG, Tny(changed, claim.rev, claim.prev, claim.inc))
    except NoBranch:
        return
    assert (read == lineage) == (changed == claim.path)


@given(st.text(max_size=450))
def test_no_text_makes_the_reader_of_a_path_stumble(text: str) -> None:
    try:
        decode(ORG, Tny(text, 1, 1, 1))
    except NoBranch:
        return


def test_a_path_that_does_not_fit_is_refused_when_it_is_made() -> None:
    fits = chain("user", "grant", *["blueprint", "agent"] * 4, *["run"] * RUN_DEPTH)
    encode(ORG, Lineage(1, fits, 1_000_000, (IDS.new("app"), IDS.new("key")), 1_000_000))
    with pytest.raises(NoBranch, match=str(TNY_MAX_BYTES)):
        encode(ORG, Lineage(1, chain(*["agent"] * (PATH_MAX_IDS - 2)), 1, (), 1))


def test_the_kind_of_an_id_depends_on_whose_it_is() -> None:
    key = IDS.new("key")
    assert kind_of(key).name == "key"
    assert kind_of(key, Side.PLATFORM).name == "signing_key"
