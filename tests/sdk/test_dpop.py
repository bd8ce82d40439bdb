"""A bound token is worth nothing without a fresh proof for this very request."""

import base64
import hashlib
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from tenantry_sdk import BadProof
from tenantry_sdk.dpop import PROOF_LIVES_S, PROOF_MAX_BYTES, Proofs
from tests.stand.clock import ManualClock
from tests.stand.verifiers import SdkClock

URL = "https://api.example.com/documents"
TOKEN = "a.b.c"


class Sender:
    """A client with a key of its own, which it proves with a library that is not ours."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.key = ECKey.generate_key("P-256")
        self._made = 0

    def proof(self, header: dict[str, Any] | None = None, **changed: Any) -> str:
        """A proof for the request of these tests, with changes; a claim of `None` is left out."""
        self._made += 1
        digest = base64.urlsafe_b64encode(hashlib.sha256(TOKEN.encode()).digest()).rstrip(b"=").decode()
        claims = {"jti": f"j{self._made}", "htm": "GET", "htu": URL, "iat": self._clock.now_ms() // 1000, "ath": digest}
        claims = {name: value for name, value in (claims | changed).items() if value is not None}
        head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.as_dict(private=False)} | (header or {})
        registry = jws.JWSRegistry(algorithms=["ES256", "HS256"], strict_check_header=False)
        return jws.serialize_compact(head, json.dumps(claims), self.key, registry=registry)


@pytest.fixture
def sender(clock: ManualClock) -> Sender:
    """A client."""
    return Sender(clock)


@pytest.fixture
def proofs(clock: ManualClock) -> Proofs:
    """What verifies."""
    return Proofs(SdkClock(clock))


def test_a_proof_gives_the_thumbprint_of_its_key_once(sender: Sender, proofs: Proofs) -> None:
    proof = sender.proof()
    assert proofs.verify(proof, "GET", URL, TOKEN) == sender.key.thumbprint()
    with pytest.raises(BadProof):
        proofs.verify(proof, "GET", URL, TOKEN)
    proofs.verify(sender.proof(), "GET", URL, TOKEN)


@pytest.mark.parametrize(
    "url", ["https://API.example.com:443/documents", f"{URL}?page=2", f"{URL}#top", "HTTPS://api.example.com/documents"]
)
def test_what_does_not_count_of_an_address_does_not_matter(sender: Sender, proofs: Proofs, url: str) -> None:
    proofs.verify(sender.proof(htu=url), "GET", URL, TOKEN)
    proofs.verify(sender.proof(), "GET", url, TOKEN)


@pytest.mark.parametrize(
    "changed",
    [
        {"htm": "POST"},
        {"htm": "get"},
        {"htu": "https://api.example.com/other"},
        {"htu": "https://other.example.com/documents"},
        {"htu": "http://api.example.com/documents"},
        {"htu": "https://api.example.com:8443/documents"},
        {"htu": "https://api.example.com/documents/"},
        {"htu": "https://api.example.com:x/documents"},
        {"ath": "x" * 43},
        {"ath": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"iat": None},
        {"iat": "now"},
    ],
)
def test_oauth_21_a_proof_for_something_else_is_refused(
    sender: Sender, proofs: Proofs, changed: dict[str, Any]
) -> None:
    """OAUTH-21: wrong `htm`, `htu`, missing or wrong `ath`."""
    proofs.verify(sender.proof(), "GET", URL, TOKEN)
    with pytest.raises(BadProof):
        proofs.verify(sender.proof(**changed), "GET", URL, TOKEN)


def test_oauth_21_a_proof_lives_a_minute_either_way(sender: Sender, proofs: Proofs, clock: ManualClock) -> None:
    """OAUTH-21: `iat` before and after."""
    now = clock.now_ms() / 1000
    for off in (-PROOF_LIVES_S, PROOF_LIVES_S):
        proofs.verify(sender.proof(iat=now + off), "GET", URL, TOKEN)
    for off in (-PROOF_LIVES_S - 0.1, PROOF_LIVES_S + 0.1, -3_600, 3_600):
        with pytest.raises(BadProof):
            proofs.verify(sender.proof(iat=now + off), "GET", URL, TOKEN)


def test_a_proof_is_remembered_for_as_long_as_it_could_come_again(
    sender: Sender, proofs: Proofs, clock: ManualClock
) -> None:
    early = sender.proof(iat=clock.now_ms() / 1000 + PROOF_LIVES_S)
    proofs.verify(early, "GET", URL, TOKEN)
    clock.advance(2 * PROOF_LIVES_S * 1000)
    with pytest.raises(BadProof):
        proofs.verify(early, "GET", URL, TOKEN)


def test_oauth_21_a_header_that_is_no_proofs_is_refused(sender: Sender, proofs: Proofs) -> None:
    """OAUTH-21: a private key inside `jwk`, another key, another type, HS256."""
    public = sender.key.as_dict(private=False)
    headers: list[dict[str, Any]] = [
        {"jwk": sender.key.as_dict(private=True)},
        {"jwk": ECKey.generate_key("P-256").as_dict(private=False)},
        {"jwk": public | {"crv": "P-384"}},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": public | {"use": "enc"}},
        {"jwk": public | {"x": public["y"]}},
        {"typ": "jwt"},
        {"typ": "at+jwt"},
        {"kid": "1"},
    ]
    proofs.verify(sender.proof(), "GET", URL, TOKEN)
    for header in headers:
        with pytest.raises(BadProof):
            proofs.verify(sender.proof(header), "GET", URL, TOKEN)
    head, claims, signature = sender.proof().split(".")
    for text in (f"{head}.{claims}.", f"{head}.{claims}", "", "x" * PROOF_MAX_BYTES * 2, f"{head}.{claims}.{'A' * 86}"):
        with pytest.raises(BadProof):
            proofs.verify(text, "GET", URL, TOKEN)
    none = base64.urlsafe_b64encode(json.dumps({"typ": "dpop+jwt", "alg": "none", "jwk": public}).encode())
    with pytest.raises(BadProof):
        proofs.verify(f"{none.rstrip(b'=').decode()}.{claims}.{signature}", "GET", URL, TOKEN)
