"""Envelopes: they open in their place under their key, and nowhere else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import Misuse
from tenantry.keys.aead import Damaged, bind
from tenantry.keys.envelope import Aad, DataKey, open_, seal, unwrap_data_key, version_of, wrap_data_key
from tenantry.keys.root import LocalRootKey

ACME = "org_01JDNQ3W4RZ0H6V8XK5T2C7M9E"
GLOBEX = "org_01JDNQ3W4RZ0H6V8XK5T2C7M9F"
PLACE = Aad("totp_seed", 1, ACME, "factors", "seed", "factor_1")
SECRET = b"a secret that nobody else shall read"

places = st.builds(
    Aad,
    purpose=st.text(max_size=8),
    key_version=st.integers(1, 2**32 - 1),
    org=st.text(max_size=8),
    table=st.text(max_size=8),
    column=st.text(max_size=8),
    row=st.text(max_size=8),
)


@pytest.fixture(scope="module")
def acme_key() -> DataKey:
    return DataKey.generate(ACME, 1)


def test_what_was_sealed_opens_in_its_place(acme_key: DataKey) -> None:
    assert open_(acme_key, seal(acme_key, SECRET, PLACE), PLACE) == SECRET


def test_sealing_twice_gives_two_texts(acme_key: DataKey) -> None:
    assert seal(acme_key, SECRET, PLACE) != seal(acme_key, SECRET, PLACE)


@pytest.mark.parametrize("field", ["purpose", "table", "column", "row"])
@given(other=st.text(max_size=12))
def test_a_value_moved_to_another_place_does_not_open(acme_key: DataKey, field: str, other: str) -> None:
    sealed = seal(acme_key, SECRET, PLACE)
    moved = msgspec.structs.replace(PLACE, **{field: other})
    if moved == PLACE:
        assert open_(acme_key, sealed, moved) == SECRET
    else:
        with pytest.raises(Damaged):
            open_(acme_key, sealed, moved)


@pytest.mark.parametrize(("org", "version"), [(GLOBEX, 1), (ACME, 2)])
def test_sup_15_a_value_of_another_organization_or_version_does_not_open(
    acme_key: DataKey, org: str, version: int
) -> None:
    """SUP-15: one tenant's key opens what is that tenant's alone."""
    sealed = seal(acme_key, SECRET, PLACE)
    same_bytes_elsewhere = DataKey(org, version, acme_key.reveal())
    place = msgspec.structs.replace(PLACE, org=org, key_version=version)
    with pytest.raises(Damaged):
        open_(same_bytes_elsewhere, sealed, place)
    with pytest.raises(Damaged):
        open_(same_bytes_elsewhere, sealed[:1] + version.to_bytes(4, "big") + sealed[5:], place)


def test_a_key_is_not_used_in_a_place_of_another_key(acme_key: DataKey) -> None:
    sealed = seal(acme_key, SECRET, PLACE)
    for place in (msgspec.structs.replace(PLACE, org=GLOBEX), msgspec.structs.replace(PLACE, key_version=2)):
        with pytest.raises(Misuse):
            seal(acme_key, SECRET, place)
        with pytest.raises(Misuse):
            open_(acme_key, sealed, place)


def test_every_flipped_bit_is_found(acme_key: DataKey) -> None:
    sealed = seal(acme_key, SECRET, PLACE)
    for position in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(Damaged):
            open_(acme_key, bytes(flipped), PLACE)


def test_every_truncation_and_an_appended_byte_is_found(acme_key: DataKey) -> None:
    sealed = seal(acme_key, SECRET, PLACE)
    for damaged in [sealed[:length] for length in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(Damaged):
            open_(acme_key, damaged, PLACE)


@given(one=places, other=places)
def test_two_places_never_have_one_encoding(one: Aad, other: Aad) -> None:
    assert (one.encoded() == other.encoded()) == (one == other)


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_two_lists_of_texts_never_bind_alike(one: list[str], other: list[str]) -> None:
    assert (bind(*one) == bind(*other)) == (one == other)


def test_the_header_names_the_version_of_the_data_key() -> None:
    key = DataKey.generate(ACME, 7)
    place = msgspec.structs.replace(PLACE, key_version=7)
    assert version_of(seal(key, SECRET, place)) == 7


def test_a_data_key_does_not_print_itself(acme_key: DataKey) -> None:
    assert acme_key.reveal().hex() not in f"{acme_key!r} {acme_key}"
    assert repr(acme_key.reveal()) not in f"{acme_key!r} {acme_key}"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_data_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Misuse):
        DataKey(ACME, 1, bytes(length))


async def test_a_wrapped_data_key_unwraps_for_its_organization_and_version_alone(acme_key: DataKey) -> None:
    root = LocalRootKey(bytes(range(32)))
    wrapped = await wrap_data_key(root, acme_key)
    assert acme_key.reveal() not in wrapped
    assert (await unwrap_data_key(root, wrapped, ACME, 1)).reveal() == acme_key.reveal()
    for org, version in ((GLOBEX, 1), (ACME, 2)):
        with pytest.raises(Damaged):
            await unwrap_data_key(root, wrapped, org, version)
