"""What an actor may at most do: the record, its JSON form, and which ceiling lies within which."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.access.ceiling import Allowance, Ceiling, within
from tenantry.access.limits import CEILING_MAX_ALLOWANCES, CEILING_MAX_OBJECTS
from tenantry.core.errors import Invalid, TooLarge

JSON = (
    b'{"allow":[{"type":"document","relation":"viewer"},{"type":"document","relation":"editor","objects":["1","a@b"]}]}'
)
CEILING = Ceiling((Allowance("document", "viewer"), Allowance("document", "editor", ("1", "a@b"))))

TYPES, RELATIONS, IDS = ("document", "folder"), ("viewer", "editor"), ("1", "2", "3")
allowances = st.builds(
    Allowance,
    st.sampled_from(TYPES),
    st.sampled_from(RELATIONS),
    st.one_of(st.just(msgspec.UNSET), st.lists(st.sampled_from(IDS), min_size=1, unique=True).map(tuple)),
)
ceilings = st.builds(Ceiling, st.lists(allowances, max_size=4).map(tuple))


def test_a_ceiling_allows_what_it_names_and_nothing_else() -> None:
    assert CEILING.allows("document", "viewer", "7")
    assert CEILING.allows("document", "editor", "1")
    assert not CEILING.allows("document", "editor", "2")
    assert not CEILING.allows("document", "owner", "1")
    assert not CEILING.allows("folder", "viewer", "1")
    assert not Ceiling(()).allows("document", "viewer", "1")


def test_a_ceiling_survives_its_json_form() -> None:
    assert msgspec.json.encode(CEILING) == JSON
    assert msgspec.json.decode(JSON, type=Ceiling) == CEILING


@given(ceilings, ceilings)
def test_a_ceiling_within_another_allows_nothing_that_the_other_does_not(child: Ceiling, parent: Ceiling) -> None:
    # An id that neither names stands for every such id.
    questions = list(product(TYPES, RELATIONS, (*IDS, "other")))
    assert within(child, parent) is all(parent.allows(*q) for q in questions if child.allows(*q))


@pytest.mark.parametrize(
    "body",
    [
        b'{"allow":[{"type":"document","relation":"viewer","objects":[]}]}',
        b'{"allow":[{"type":"document","relation":"viewer","objects":["*"]}]}',
        b'{"allow":[{"type":"document","relation":"viewer","objects":["document:1"]}]}',
        b'{"allow":[{"type":"document","relation":"viewer","objects":["1 2"]}]}',
        b'{"allow":[{"type":"*","relation":"viewer"}]}',
        b'{"allow":[{"type":"document","relation":"*"}]}',
        b'{"allow":[{"type":"document","relation":""}]}',
    ],
)
def test_what_reads_like_a_pattern_or_says_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        msgspec.json.decode(body, type=Ceiling)


@pytest.mark.parametrize(
    "body",
    [
        b'{"allow":[{"type":"document","relation":"viewer","deny":true}]}',
        b'{"allow":[{"type":"document","relation":"viewer","objects":null}]}',
        b'{"allow":[],"except":[]}',
        b"{}",
    ],
)
def test_a_member_that_a_ceiling_does_not_know_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Ceiling)


def test_a_ceiling_is_bounded() -> None:
    many = tuple(Allowance("document", f"r{n}") for n in range(CEILING_MAX_ALLOWANCES))
    ids = tuple(map(str, range(CEILING_MAX_OBJECTS)))
    assert Ceiling(many).allows("document", "r7", "1")
    assert Ceiling((Allowance("document", "viewer", ids),)).allows("document", "viewer", "7")
    with pytest.raises(TooLarge):
        Ceiling((*many, Allowance("document", "one_more")))
    with pytest.raises(TooLarge):
        Ceiling((Allowance("document", "viewer", ids), Allowance("document", "editor", ("1",))))
