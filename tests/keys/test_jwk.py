"""Keys that others bring: the thumbprints of the standards, and that nothing but a public key of a known kind is taken."""

from typing import Any

import pytest
from joserfc import jwk

from tenantry.keys.jwk import BadKey, foreign_key
from tenantry.keys.signing import Algorithm

RSA = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W"
    "-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt"
    "-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
}
ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}


@pytest.mark.parametrize(
    ("given", "algorithm", "thumbprint"),
    [
        (RSA, Algorithm.RS256, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),  # RFC 7638, 3.1
        (ED25519, Algorithm.EDDSA, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),  # RFC 8037, A.3
        (P256, Algorithm.ES256, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),  # RFC 9449, 6.1
    ],
)
def test_the_thumbprint_is_the_standards_and_what_is_not_needed_changes_nothing(
    given: dict[str, str], algorithm: Algorithm, thumbprint: str
) -> None:
    key = foreign_key(given)
    assert (key.algorithm, key.thumbprint()) == (algorithm, thumbprint)
    more = {**given, "kid": "x", "use": "sig", "alg": algorithm.value, "key_ops": ["verify"], "unknown": {}}
    assert foreign_key(more) == key


@pytest.mark.parametrize("given", [RSA, ED25519, P256])
@pytest.mark.parametrize(
    "change",
    [
        {"d": "AA"},
        {"k": "AA"},
        {"use": "enc"},
        {"alg": "HS256"},
        {"alg": ["ES256"]},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kty": "oct"},
        {"kty": None},
        {"crv": "P-384"},
    ],
)
def test_a_private_key_or_one_for_something_else_is_refused(given: dict[str, Any], change: dict[str, Any]) -> None:
    foreign_key(given)
    with pytest.raises(BadKey):
        foreign_key({**given, **change})


@pytest.mark.parametrize("name", ["x", "y"])
@pytest.mark.parametrize(
    "value", ["", "AA", "A" * 43, "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBF", "=", 1, None, "AAAA" * 999]
)
def test_a_point_that_is_not_on_the_curve_or_has_another_length_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BadKey):
        foreign_key({**P256, name: value})


def test_an_rsa_key_is_neither_short_nor_long_and_has_the_usual_exponent() -> None:
    for change in ({"e": "Aw"}, {"e": "AQAC"}, {"n": RSA["n"][:170]}, {"n": RSA["n"] * 3}, {"n": ""}):
        with pytest.raises(BadKey):
            foreign_key({**RSA, **change})


def test_more_members_than_any_key_has_are_refused() -> None:
    with pytest.raises(BadKey):
        foreign_key({**P256, **{f"m{n}": "" for n in range(30)}})


def test_private_keys_of_another_library_are_refused_and_their_public_halves_taken() -> None:
    for pair in (jwk.ECKey.generate_key("P-256"), jwk.OKPKey.generate_key("Ed25519"), jwk.RSAKey.generate_key(2048)):
        assert foreign_key(pair.as_dict(private=False)).thumbprint() == pair.thumbprint()
        with pytest.raises(BadKey):
            foreign_key(pair.as_dict(private=True))
