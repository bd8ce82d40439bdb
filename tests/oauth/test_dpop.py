"""DPoP proofs (RFC 9449), made by joserfc and by hand: what is taken, and that everything else is refused by name."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.oauth.dpop import AHEAD_MS, PROOF_LIVES_MS, InvalidProof, Proof, normalised, prove
from tests.oauth.keys import KINDS, TOKEN_URL, KeyPair, ath, encoded, parts_signed_by

NOW_MS = 1_795_000_000_000


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return KeyPair.generate()


def proved(proof: str, *, now_ms: int = NOW_MS, url: str = TOKEN_URL, access_token: str = "") -> Proof:
    """What the token endpoint makes of it."""
    return prove(proof, method="POST", url=url, now_ms=now_ms, access_token=access_token)


def refused(proof: str, **asked: Any) -> None:
    """It proves nothing."""
    with pytest.raises(InvalidProof):
        proved(proof, **asked)


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_by_another_library_binds_to_the_thumbprint_of_its_key(kind: str) -> None:
    pair = KeyPair.generate(kind)
    assert proved(pair.proof(NOW_MS, nonce="n")).jkt == pair.thumbprint
    assert proved(pair.proof(NOW_MS, nonce="n")).nonce == "n"


def test_the_proof_of_the_standard_binds_to_the_thumbprint_that_the_standard_gives() -> None:
    header = (
        b'{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",'
        b'"y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}}'
    )
    claims = b'{"jti":"-BwC3ESc6acc2lTc","htm":"POST","htu":"https://server.example.com/token","iat":1562262616}'
    signature = "2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
    proof = f"{encoded(header)}.{encoded(claims)}.{signature}"  # RFC 9449, 4.1; its thumbprint: 6.1
    proved_ = proved(proof, url="https://server.example.com/token", now_ms=1_562_262_616_000)
    assert proved_.jkt == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_the_same_jti_of_two_keys_is_two_things_and_of_one_key_is_one(pair: KeyPair) -> None:
    first, again = (proved(pair.proof(NOW_MS, jti="x")).once.digest for _ in range(2))
    assert first == again
    assert first != proved(KeyPair.generate().proof(NOW_MS, jti="x")).once.digest


@pytest.mark.parametrize(
    "claims",
    [
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": None},
        {"htu": "http://id.example.com/oauth/token"},
        {"htu": "https://id.example.com:8443/oauth/token"},
        {"htu": "https://id.example.org/oauth/token"},
        {"htu": "https://id.example.com/oauth/token/"},
        {"htu": "https://id.example.com/OAuth/token"},
        {"htu": "https://ann@id.example.com/oauth/token"},
        {"htu": "https://id.example.com/oauth%2ftoken"},
        {"htu": "/oauth/token"},
        {"htu": ""},
        {"htu": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"jti": 1},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"nonce": 7},
    ],
)
def test_a_proof_for_another_request_or_without_a_claim_is_refused(pair: KeyPair, claims: dict[str, Any]) -> None:
    proved(pair.proof(NOW_MS))
    refused(pair.proof(NOW_MS, **claims))


@pytest.mark.parametrize(
    "htu",
    [
        "HTTPS://ID.EXAMPLE.COM/oauth/token",
        "https://id.example.com:443/oauth/token",
        "https://id.example.com:/oauth/token",
        "https://id.example.com/oauth/./x/../token",
        "https://id.example.com/oauth/%74oken",
        "https://id.example.com/oauth/token?a=b#c",
    ],
)
def test_an_address_is_compared_after_normalisation_and_without_query_or_fragment(pair: KeyPair, htu: str) -> None:
    proved(pair.proof(NOW_MS, htu=htu))


def test_an_address_that_is_none_matches_nothing_not_even_another_that_is_none(pair: KeyPair) -> None:
    refused(pair.proof(NOW_MS, htu="no address"), url="no address")
    assert normalised("https://id.example.com/" + "a" * 3_000) == ""


def test_a_proof_counts_to_the_second_of_its_window_and_not_beyond(pair: KeyPair) -> None:
    proof = pair.proof(NOW_MS)
    assert proved(proof, now_ms=NOW_MS + PROOF_LIVES_MS).once.until_ms == NOW_MS + PROOF_LIVES_MS
    proved(proof, now_ms=NOW_MS - AHEAD_MS)
    refused(proof, now_ms=NOW_MS + PROOF_LIVES_MS + 1)
    refused(proof, now_ms=NOW_MS - AHEAD_MS - 1)
    refused(proof, now_ms=NOW_MS + 3_600_000)
    refused(proof, now_ms=NOW_MS - 3_600_000)


def test_with_a_token_the_proof_names_its_hash(pair: KeyPair) -> None:
    proved(pair.proof(NOW_MS, ath=ath("token")), access_token="token")
    refused(pair.proof(NOW_MS, ath=ath("another")), access_token="token")
    refused(pair.proof(NOW_MS), access_token="token")


def test_another_keys_signature_is_refused(pair: KeyPair) -> None:
    refused(pair.proof(NOW_MS, header={"jwk": KeyPair.generate().public}))
    head, claims, signature = pair.proof(NOW_MS).split(".")
    proved(f"{head}.{claims}.{signature}")
    refused(f"{head}.{claims}.{encoded(bytes(64))}")
    refused(f"{head}.{claims}.")


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"typ": ""},
        {"jwk": None},
        {"jwk": {}},
        {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
        {"jwk": {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}},
        {"jwk": {"kty": "EC", "crv": "P-256", "x": encoded(bytes(32)), "y": encoded(bytes(32))}},
        {"jwk": {"kty": "EC", "crv": "P-256", "x": 1, "y": 2}},
        {"jwk": {"kty": "RSA", "n": encoded(b"\xff" * 128), "e": "AQAB"}},
        {"jwk": {"kty": "RSA", "n": encoded(b"\xff" * 1024), "e": "AQAB"}},
        {"jwk": {"kty": ["EC"], "crv": {}}},
    ],
)
def test_a_proof_of_another_type_or_without_a_key_of_a_known_kind_is_refused(
    pair: KeyPair, header: dict[str, Any]
) -> None:
    proved(pair.proof(NOW_MS))
    refused(pair.proof(NOW_MS, header=header))


def test_a_private_key_in_the_proof_is_refused() -> None:
    for kind in KINDS:
        pair = KeyPair.generate(kind)
        refused(pair.proof(NOW_MS, header={"jwk": dict(pair.key.as_dict(private=True))}))


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "HS256", "ES384", "PS256", "RS256", ""])
def test_oauth_08_a_proof_with_another_algorithm_than_its_keys_is_refused(pair: KeyPair, alg: str) -> None:
    """OAUTH-08: at a DPoP proof the kind of the key says the algorithm; `none` in any spelling and a MAC are no signatures."""
    public = encoded_jwk(pair)
    claims = b'{"jti":"a","htm":"POST","htu":"%s","iat":%d}' % (TOKEN_URL.encode(), NOW_MS // 1000)
    proved(parts_signed_by(pair, b'{"typ":"dpop+jwt","alg":"ES256","jwk":%s}' % public, claims))
    refused(parts_signed_by(pair, b'{"typ":"dpop+jwt","alg":"%s","jwk":%s}' % (alg.encode(), public), claims))
    refused(parts_signed_by(pair, b'{"typ":"dpop+jwt","jwk":%s}' % public, claims))


@pytest.mark.parametrize(
    "member",
    [
        '"crit":["x"]',
        '"crit":[]',
        '"b64":false',
        '"jku":"https://a.example"',
        '"x5u":"https://a.example"',
        '"x5c":[]',
        '"zip":"DEF"',
        '"alg":"ES256"',  # a second time
    ],
)
def test_oauth_09_a_proof_whose_header_asks_for_more_or_says_a_thing_twice_is_refused(
    pair: KeyPair, member: str
) -> None:
    """OAUTH-09: `crit`, `b64` and whatever else would change what is verified, in a DPoP proof."""
    claims = b'{"jti":"a","htm":"POST","htu":"%s","iat":%d}' % (TOKEN_URL.encode(), NOW_MS // 1000)
    begun = b'{"typ":"dpop+jwt","alg":"ES256","jwk":%s,' % encoded_jwk(pair)
    proved(parts_signed_by(pair, begun + b'"x":1}', claims))
    refused(parts_signed_by(pair, begun + member.encode() + b"}", claims))


def test_oauth_11_a_proof_beyond_bounds_is_refused_before_a_key_is_made_of_it(pair: KeyPair) -> None:
    """OAUTH-11: length, parts, nesting and numbers of a JWT are bounded."""
    claims = b'{"jti":"a","htm":"POST","htu":"%s","iat":%d%s}'
    begun = b'{"typ":"dpop+jwt","alg":"ES256","jwk":%s}' % encoded_jwk(pair)
    url, now = TOKEN_URL.encode(), NOW_MS // 1000
    proved(parts_signed_by(pair, begun, claims % (url, now, b"")))
    for more in (
        b',"x":' + b"[" * 50 + b"]" * 50,
        b',"x":' + b"9" * 5_000,
        b',"x":"' + b"x" * 9_000 + b'"',
        b',"x":NaN',
    ):
        refused(parts_signed_by(pair, begun, claims % (url, now, more)))
    refused("a" * 1_000_000)
    refused("." * 1_000_000)
    refused(pair.proof(NOW_MS) + ".")
    refused(pair.proof(NOW_MS, jti="x" * 1_000_000))


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(encoded)))
def test_no_text_is_more_than_refused(text: str) -> None:
    refused(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["typ", "alg", "jwk", "kid", "crit", "jti", "htm", "htu", "iat", "ath", "nonce", "x"])


@given(header=st.dictionaries(NAMES, JSON, max_size=4), claims=st.dictionaries(NAMES, JSON, max_size=6))
def test_a_signed_proof_with_any_header_and_claims_is_taken_or_refused_by_name(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    pair = PAIR
    full = {"typ": "dpop+jwt", "alg": "ES256", "jwk": pair.public, **header}
    said = {"jti": "a", "htm": "POST", "htu": TOKEN_URL, "iat": NOW_MS // 1000, **claims}
    with suppress(InvalidProof):
        proved(parts_signed_by(pair, written(full), written(said)))


def encoded_jwk(pair: KeyPair) -> bytes:
    """The public half as JSON."""
    return written(pair.public)


def written(value: object) -> bytes:
    """JSON as the standard library writes it, lone surrogates escaped."""
    return json.dumps(value).encode()


PAIR = KeyPair.generate()
