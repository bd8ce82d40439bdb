"""Assertions of clients (RFC 7523): the rules, at their boundary seconds."""

from typing import Any

import msgspec
import pytest

from tenantry.core.errors import ProofFailed
from tenantry.keys.jwk import foreign_key
from tenantry.oauth.assertion import AHEAD_MS, LIVES_MS, claimed, verify
from tenantry.oauth.once import Once
from tests.oauth.keys import ISSUER, KINDS, TOKEN_URL, KeyPair, parts_signed_by

NOW_MS = 1_795_000_000_000
NOW_S = NOW_MS // 1000
CLIENT = "01JDNQ3W4RZ0H6V8XK5T2C7M9E.agent_01JDNQ3W4RZ0H6V8XK5T2C7M9F"


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return KeyPair.generate()


def verified(pair: KeyPair, assertion: str, now_ms: int = NOW_MS) -> Once:
    """What the token endpoint makes of it, once it has found the registered key."""
    return verify(claimed(assertion), foreign_key(pair.public), issuer=ISSUER, now_ms=now_ms)


def signed(pair: KeyPair, header: dict[str, Any] | None = None, **claims: Any) -> str:
    return pair.assertion(CLIENT, "key_1", NOW_MS, header=header, **claims)


def refused(pair: KeyPair, assertion: str, now_ms: int = NOW_MS) -> None:
    """It proves nothing."""
    with pytest.raises(ProofFailed):
        verified(pair, assertion, now_ms)


@pytest.mark.parametrize("kind", KINDS)
def test_an_assertion_by_another_library_is_taken_until_it_expires(kind: str) -> None:
    pair = KeyPair.generate(kind)
    assert verified(pair, signed(pair)).until_ms == NOW_MS + 60_000
    assert (claimed(signed(pair)).client_id, claimed(signed(pair)).kid) == (CLIENT, "key_1")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": TOKEN_URL},
        {"aud": f"{ISSUER}/"},
        {"aud": ISSUER.upper()},
        {"aud": "https://id.example.com.evil.example"},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": [ISSUER, ISSUER]},
        {"aud": []},
        {"aud": None},
        {"iss": "another"},
        {"iss": None},
        {"iss": [CLIENT]},
        {"sub": "another"},
        {"sub": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"exp": None},
        {"exp": "soon"},
        {"exp": NOW_S + 365 * 86_400},
        {"exp": 10**40},
        {"iat": NOW_S + 3_600},
        {"nbf": NOW_S + 3_600},
    ],
)
def test_oauth_13_an_assertion_for_others_about_others_or_for_long_is_refused(
    pair: KeyPair, claims: dict[str, Any]
) -> None:
    """OAUTH-13: our issuer as sole value of `aud`, the client as `iss` and `sub`, minutes of life, and a `jti`."""
    verified(pair, signed(pair))
    refused(pair, signed(pair, **claims))


def test_the_issuer_as_the_only_element_of_an_array_is_the_sole_value(pair: KeyPair) -> None:
    verified(pair, signed(pair, aud=[ISSUER]))


def test_an_assertion_is_refused_from_its_exp_on_and_before_its_life_is_short_enough(pair: KeyPair) -> None:
    latest_s = (NOW_MS + LIVES_MS + AHEAD_MS) // 1000
    verified(pair, signed(pair, exp=latest_s))
    refused(pair, signed(pair, exp=latest_s + 1))
    verified(pair, signed(pair, exp=NOW_S + 1), NOW_MS + 999)
    refused(pair, signed(pair, exp=NOW_S + 1), NOW_MS + 1_000)


def test_a_client_whose_clock_is_a_little_ahead_is_taken(pair: KeyPair) -> None:
    ahead_s = (NOW_MS + AHEAD_MS) // 1000
    verified(pair, signed(pair, iat=ahead_s, nbf=ahead_s))
    refused(pair, signed(pair, iat=ahead_s + 1))
    refused(pair, signed(pair, nbf=ahead_s + 1))


@pytest.mark.parametrize("typ", ["JWT", None])
def test_an_assertion_without_a_type_of_its_own_is_taken(pair: KeyPair, typ: str | None) -> None:
    verified(pair, signed(pair, header={"typ": typ}))


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": "dpop+jwt"}, {"typ": "jwt "}, {"kid": None}])
def test_another_kind_of_jwt_is_no_assertion(pair: KeyPair, header: dict[str, Any]) -> None:
    verified(pair, signed(pair))
    refused(pair, signed(pair, header=header))


def test_oauth_12_a_key_that_the_assertion_brings_is_never_used(pair: KeyPair) -> None:
    """OAUTH-12: only a DPoP proof brings its key; an assertion names a registered one, and nothing is fetched."""
    thief = KeyPair.generate()
    verified(pair, signed(pair))
    refused(pair, signed(thief, header={"jwk": thief.public}))
    refused(pair, signed(pair, header={"jwk": pair.public}))
    for place in ({"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example/cert"}, {"x5c": ["MIIB"]}):
        refused(pair, signed(pair, header=place))


def test_oauth_08_another_algorithm_than_the_registered_keys_is_refused(pair: KeyPair) -> None:
    """OAUTH-08: the algorithm comes from the record of the key."""
    other = KeyPair.generate("RS256")
    verified(other, signed(other))
    refused(pair, signed(other))
    refused(pair, signed(KeyPair.generate()))


@pytest.mark.parametrize(
    "member", ['"crit":["x"]', '"crit":[]', '"b64":false', '"alg":"ES256"', '"zip":"DEF"', '"p2c":2147483647']
)
def test_oauth_09_a_header_that_asks_for_more_or_says_a_thing_twice_is_refused(pair: KeyPair, member: str) -> None:
    """OAUTH-09: `crit`, `b64` and whatever else would change what is verified, in a client's assertion."""
    begun = b'{"typ":"client-authentication+jwt","kid":"key_1","alg":"ES256",'
    verified(pair, parts_signed_by(pair, begun + b'"x":1}', CLAIMS))
    refused(pair, parts_signed_by(pair, begun + member.encode() + b"}", CLAIMS))


@pytest.mark.parametrize(
    "issuer",
    [
        *("https://id.example.co", "https://id.example.comm", "https://id.example.com/", "HTTPS://id.example.com"),
        *(
            "https://ID.example.com",
            "https://id.example.com:443",
            "https://id.example.com%2f",
            " https://id.example.com",
        ),
        "http://id.example.com",
    ],
)
def test_oauth_10_another_spelling_of_the_issuer_is_another_issuer(pair: KeyPair, issuer: str) -> None:
    """OAUTH-10: compared by its exact text, at the `aud` of a client's assertion."""
    verified(pair, signed(pair, aud=ISSUER))
    refused(pair, signed(pair, aud=issuer))
    refused(pair, signed(pair, aud=[issuer]))


def test_oauth_11_an_assertion_beyond_bounds_is_refused_before_a_key_is_looked_for(pair: KeyPair) -> None:
    """OAUTH-11: sizes, parts, nesting and numbers of a client's assertion; an encrypted one is none."""
    header, claims, signature = signed(pair).split(".")
    verified(pair, f"{header}.{claims}.{signature}")
    large = "A" * 1_000_000
    for jwt in (
        *(f"{large}.{claims}.{signature}", f"{header}.{large}.{signature}", f"{header}.{claims}.{large}"),
        *(f"{header}.{claims}", f"{header}.{claims}.{signature}.", f"{header}.{claims}.{signature}.{claims}.{claims}"),
        *(f"{header}=.{claims}.{signature}", f"{header}.{claims}.{signature}=", f" {header}.{claims}.{signature}", ""),
        parts_signed_by(pair, b'{"alg":"ES256","kid":"key_1"}', b"[" * 5_000),
        parts_signed_by(pair, b'{"alg":"ES256","kid":"key_1"}', CLAIMS[:-1] + b',"x":' + b"9" * 5_000 + b"}"),
        parts_signed_by(pair, b'{"alg":"ES256","kid":"key_1"}', b'{"aud":[' + b'"a",' * 1_500 + b'"a"]}'),
        parts_signed_by(pair, b'{"alg":"ES256","kid":["key_1"]}', CLAIMS),
        parts_signed_by(pair, b"[]", CLAIMS),
    ):
        with pytest.raises(ProofFailed):
            verified(pair, jwt)


CLAIMS = msgspec.json.encode({"iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "exp": NOW_S + 60, "jti": "x"})
