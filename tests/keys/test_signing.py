"""Signing keys: for one purpose, issuer and owner; published under their thumbprint; stored only sealed."""

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tenantry.core.errors import Misuse, ProofFailed
from tenantry.core.ids import PLATFORM
from tenantry.keys.aead import Damaged
from tenantry.keys.envelope import DataKey
from tenantry.keys.signing import (
    Algorithm,
    BadSignature,
    KeyRetired,
    PublicKey,
    Purpose,
    Schedule,
    SigningKey,
    Use,
    WrongUse,
)

ACME = "org_01JDNQ3W4RZ0H6V8XK5T2C7M9E"
TOKENS = Use(Purpose.ACCESS_TOKEN, "https://id.example", PLATFORM)
OTHER_USES = [
    Use(Purpose.RECEIPT, "https://id.example", PLATFORM),
    Use(Purpose.ACCESS_TOKEN, "https://id.example.org", PLATFORM),
    Use(Purpose.ACCESS_TOKEN, "https://id.example", ACME),
]
LIFE = Schedule(published_at_ms=1_000, active_at_ms=2_000, retire_at_ms=3_000, gone_at_ms=4_000)
MESSAGE = b"header.payload"


@pytest.fixture(scope="module", params=list(Algorithm))
def key(request: pytest.FixtureRequest) -> SigningKey:
    return SigningKey.generate("key_1", TOKENS, request.param, LIFE)


def test_what_a_key_signed_is_given_back_verified(key: SigningKey) -> None:
    assert key.public.verify(MESSAGE, key.sign(MESSAGE, TOKENS, 2_000), TOKENS, 2_000) == MESSAGE


def test_a_changed_message_or_signature_does_not_verify(key: SigningKey) -> None:
    signature = key.sign(MESSAGE, TOKENS, 2_000)
    for changed in (bytes([signature[0] ^ 1]) + signature[1:], signature[:-1], signature + b"\0", b""):
        with pytest.raises(BadSignature):
            key.public.verify(MESSAGE, changed, TOKENS, 2_000)
    with pytest.raises(BadSignature):
        key.public.verify(MESSAGE + b".", signature, TOKENS, 2_000)


@pytest.mark.parametrize("other", OTHER_USES)
def test_a_key_neither_signs_nor_verifies_for_another_purpose_issuer_or_owner(key: SigningKey, other: Use) -> None:
    signature = key.sign(MESSAGE, TOKENS, 2_000)
    with pytest.raises(WrongUse):
        key.sign(MESSAGE, other, 2_000)
    with pytest.raises(WrongUse):
        key.public.verify(MESSAGE, signature, other, 2_000)


@pytest.mark.parametrize("now_ms", [1_999, 3_000, 4_000])
def test_a_key_signs_from_its_first_to_before_its_last_millisecond(key: SigningKey, now_ms: int) -> None:
    key.sign(MESSAGE, TOKENS, 2_000)
    key.sign(MESSAGE, TOKENS, 2_999)
    with pytest.raises(KeyRetired):
        key.sign(MESSAGE, TOKENS, now_ms)


def test_a_key_verifies_until_it_is_gone(key: SigningKey) -> None:
    signature = key.sign(MESSAGE, TOKENS, 2_000)
    for now_ms in (1_999, 2_999, 3_999):
        key.public.verify(MESSAGE, signature, TOKENS, now_ms)
    with pytest.raises(KeyRetired):
        key.public.verify(MESSAGE, signature, TOKENS, 4_000)


def test_a_public_key_of_another_kind_is_refused(key: SigningKey) -> None:
    for algorithm in Algorithm:
        if algorithm is not key.public.algorithm:
            with pytest.raises(ProofFailed):
                msgspec.structs.replace(key.public, algorithm=algorithm).verify(MESSAGE, b"", TOKENS, 2_000)


@pytest.mark.parametrize(
    ("algorithm", "private"),
    [
        (Algorithm.ES256, ec.generate_private_key(ec.SECP384R1())),
        (Algorithm.ES256, ec.generate_private_key(ec.SECP256K1())),
        (Algorithm.RS256, rsa.generate_private_key(65_537, 1024)),  # noqa: S505
    ],
)
def test_another_curve_or_a_short_modulus_is_refused(
    algorithm: Algorithm, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    with pytest.raises(ProofFailed, match="is none for"):
        PublicKey("key_1", TOKENS, algorithm, LIFE, spki(private.public_key())).jwk()


def test_an_es256_signature_is_64_bytes() -> None:
    key = SigningKey.generate("key_1", TOKENS, Algorithm.ES256, LIFE)
    assert {len(key.sign(MESSAGE, TOKENS, 2_000)) for _ in range(100)} == {64}


def test_the_published_form_has_no_private_member(key: SigningKey) -> None:
    members = msgspec.to_builtins(key.public.jwk())
    expected = {
        Algorithm.ES256: {"kty", "kid", "alg", "use", "crv", "x", "y"},
        Algorithm.RS256: {"kty", "kid", "alg", "use", "n", "e"},
        Algorithm.EDDSA: {"kty", "kid", "alg", "use", "crv", "x"},
    }
    assert set(members) == expected[key.public.algorithm]
    assert members["use"] == "sig"


def test_a_coordinate_with_leading_zeros_keeps_its_width() -> None:
    """RFC 7518, 6.2.1.2: the octet string has the full size of a coordinate."""
    scalar = next(n for n in range(1, 5_000) if public_number(n).x < 2**248)
    private = ec.derive_private_key(scalar, ec.SECP256R1())
    jwk = PublicKey("key_1", TOKENS, Algorithm.ES256, LIFE, spki(private.public_key())).jwk()
    assert len(str(jwk.x)) == len(str(jwk.y)) == 43


def test_the_kid_of_an_rsa_key_is_the_thumbprint_of_rfc_7638() -> None:
    """RFC 7638, 3.1: the example of the specification."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91"
        "CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    public = rsa.RSAPublicNumbers(65_537, int.from_bytes(decoded(modulus), "big")).public_key()
    assert PublicKey("key_1", TOKENS, Algorithm.RS256, LIFE, spki(public)).kid() == (
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    )


def test_the_kid_of_an_ed25519_key_is_the_thumbprint_of_rfc_8037() -> None:
    """RFC 8037, A.3: the example of the specification."""
    public = ed25519.Ed25519PublicKey.from_public_bytes(decoded("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
    assert PublicKey("key_1", TOKENS, Algorithm.EDDSA, LIFE, spki(public)).kid() == (
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    )


def test_a_sealed_key_opens_again_and_signs(key: SigningKey) -> None:
    data_key = DataKey.generate(PLATFORM, 3)
    again = SigningKey.open(key.public, key.seal(data_key), data_key)
    key.public.verify(MESSAGE, again.sign(MESSAGE, TOKENS, 2_000), TOKENS, 2_000)


def test_a_sealed_key_does_not_open_for_another_key_or_owner(key: SigningKey) -> None:
    data_key = DataKey.generate(PLATFORM, 3)
    sealed = key.seal(data_key)
    with pytest.raises(Damaged):
        SigningKey.open(msgspec.structs.replace(key.public, id="key_2"), sealed, data_key)
    with pytest.raises(Misuse):
        SigningKey.open(msgspec.structs.replace(key.public, use=OTHER_USES[2]), sealed, data_key)
    stranger = SigningKey.generate("key_1", TOKENS, key.public.algorithm, LIFE)
    with pytest.raises(Damaged, match="does not belong"):
        SigningKey.open(stranger.public, sealed, data_key)


@pytest.mark.parametrize("other", OTHER_USES[:2])
def test_a_sealed_key_does_not_open_for_another_purpose_issuer_or_algorithm(key: SigningKey, other: Use) -> None:
    data_key = DataKey.generate(PLATFORM, 3)
    sealed = key.seal(data_key)
    SigningKey.open(key.public, sealed, data_key)
    with pytest.raises(Damaged):
        SigningKey.open(msgspec.structs.replace(key.public, use=other), sealed, data_key)
    for algorithm in set(Algorithm) - {key.public.algorithm}:
        with pytest.raises(Damaged):
            SigningKey.open(msgspec.structs.replace(key.public, algorithm=algorithm), sealed, data_key)


def test_a_signing_key_does_not_print_its_private_part(key: SigningKey) -> None:
    assert repr(key) == f"SigningKey('key_1', '{key.public.algorithm.value}', '…')"


def spki(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_number(scalar: int) -> ec.EllipticCurvePublicNumbers:
    return ec.derive_private_key(scalar, ec.SECP256R1()).public_key().public_numbers()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
