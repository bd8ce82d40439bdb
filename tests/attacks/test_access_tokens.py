"""Access tokens that were changed, forged or meant for something else, at each place that takes one: the server and the SDK.

Every forgery is signed by the issuer's real key where its row does not say otherwise, so that nothing but what was changed refuses it.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

import tenantry_sdk as sdk
from tenantry.core.ids import PLATFORM
from tenantry.keys.signing import Algorithm, Purpose, SigningKey, Use
from tenantry.sessions.tokens import TOKEN_MAX_BYTES, BadToken
from tests.stand.credentials import ISSUER, RESOURCE, holders, minted, opened, part, resigned
from tests.stand.databases import sqlite_database
from tests.stand.nodes import deployed
from tests.stand.organizations import Organization, open_organization
from tests.stand.verifiers import Place, place

Changes = dict[str, Any]


class Forge:
    """Makes tokens from a good one, and takes them at both places."""

    def __init__(self, here: Place, acme: Organization, key: SigningKey, good: str, verifier: sdk.Verifier) -> None:
        self.here = here
        self.acme = acme
        self.key = key
        self.good = good
        self.header, self.claims, self.signature = opened(good)
        self.verifier = verifier

    def sign(self, message: bytes) -> bytes:
        """The issuer's own signature, over anything."""
        return self.key.sign(message, self.key.public.use, self.here.woods.node.clock.now_ms())

    def changed(self, header: Changes | None = None, **claims: Any) -> str:
        """The good token with changes, signed anew; what is `None` is left out."""
        head = {name: value for name, value in (self.header | (header or {})).items() if value is not None}
        body = {name: value for name, value in (self.claims | claims).items() if value is not None}
        return resigned(head, body, self.sign)

    async def taken(self, token: str) -> None:
        """Take a token at both places.

        Raises:
            AssertionError: they do not agree.
        """
        await self.here.tokens.verify(token, audience=RESOURCE)
        await self.verifier.verify(token)

    async def refused(self, token: str) -> None:
        """Both places refuse this token for what it is, and go on taking the good one."""
        with pytest.raises(BadToken):
            await self.here.tokens.verify(token, audience=RESOURCE)
        with pytest.raises(sdk.BadToken):
            await self.verifier.verify(token)
        await self.taken(self.good)


@pytest.fixture
async def forge(tmp_path: Path) -> AsyncIterator[Forge]:
    """A good token of a user, and the key that signed it."""
    config = await deployed(sqlite_database(tmp_path), tmp_path / "state")
    async with place(config) as here, here.verifier() as verifier:
        await verifier.feed.ready()
        acme = await open_organization(here.woods.node)
        good = (await minted(here.tokens, acme.id, holders(acme.node, acme.id)["user"])).token
        key = await acme.node.keyring.signing(Use(Purpose.ACCESS_TOKEN, ISSUER, PLATFORM), Algorithm.ES256)
        forge = Forge(here, acme, key, good, verifier)
        await forge.taken(good)
        await forge.taken(forge.changed())
        yield forge


async def test_oauth_08_a_token_under_another_algorithm_is_refused(forge: Forge) -> None:
    """OAUTH-08: `none` in all spellings, HS256 keyed with our public key, r = s = 0, encrypted instead of signed."""
    for none in ("none", "None", "NONE", "nOnE", ""):
        await forge.refused(resigned(forge.header | {"alg": none}, forge.claims, lambda _: b""))
        await forge.refused(forge.changed({"alg": none}))
    public = load_der_public_key(forge.key.public.spki)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), forge.key.public.spki, part(forge.key.public.spki).encode()):
        header = forge.header | {"alg": "HS256"}
        await forge.refused(
            resigned(header, forge.claims, lambda message, key=secret: hmac.digest(key, message, hashlib.sha256))
        )
    for alg in ("HS256", "ES384", "RS256", "EdDSA", None, 1, ["ES256"]):
        await forge.refused(forge.changed({"alg": alg}))
    await forge.refused(resigned(forge.header, forge.claims, lambda _: bytes(64)))
    await forge.refused(".".join([part({"alg": "dir", "enc": "A128GCM"}), "", part(b"1"), part(b"2"), part(b"3")]))
    await forge.refused("." + forge.good.split(".", 1)[1])


async def test_oauth_08_a_changed_byte_of_any_part_is_refused(forge: Forge) -> None:
    """OAUTH-08: what was verified is what is read; no byte of header, claims or signature counts for nothing."""
    parts = forge.good.split(".")
    for number, text in enumerate(parts):
        for place_ in (0, len(text) // 2, len(text) - 1):
            other = "A" if text[place_] != "A" else "B"
            changed = [*parts]
            changed[number] = text[:place_] + other + text[place_ + 1 :]
            await forge.refused(".".join(changed))
        for padded in (text + "=", text + "\n", " " + text, text.replace("-", "+").replace("_", "/") + "=="):
            changed = [*parts]
            changed[number] = padded
            await forge.refused(".".join(changed))
    for form in (forge.good + ".", forge.good + ".x", ".".join(parts[:2]), forge.good.replace(".", ".."), ""):
        await forge.refused(form)


async def test_oauth_09_a_header_that_wants_something_understood_is_refused(forge: Forge) -> None:
    """OAUTH-09: `crit` naming what is unknown, absent or registered; `b64`."""
    crits: tuple[list[str], ...] = (["x"], ["exp"], ["alg"], ["b64"], [])
    for more in (*({"crit": crit} for crit in crits), {"crit": ["b64"], "b64": False}, {"b64": False}):
        await forge.refused(forge.changed(more))


async def test_oauth_10_an_issuer_is_compared_exactly(forge: Forge) -> None:
    """OAUTH-10: substring, superstring, slash, case, port, percent-encoding, array."""
    for issuer in (
        ISSUER[:-1],
        ISSUER + "/",
        ISSUER + "/acme",
        ISSUER.upper(),
        ISSUER.replace("https", "http"),
        ISSUER + ":443",
        ISSUER.replace(".", "%2e"),
        [ISSUER],
        None,
        "",
    ):
        await forge.refused(forge.changed(iss=issuer))


async def test_oauth_11_what_is_too_large_is_refused_before_it_is_looked_at(forge: Forge) -> None:
    """OAUTH-11: a header, claims or signature of a megabyte, a JWE bomb, nesting, 10,000 audiences."""
    big = "A" * (1 << 20)
    head, claims, signature = forge.good.split(".")
    began = time.process_time()
    for token in (
        f"{big}.{claims}.{signature}",
        f"{head}.{big}.{signature}",
        f"{head}.{claims}.{big}",
        forge.changed(aud=[RESOURCE] * 10_000),
        forge.changed(roles=["r" * 100] * 20),
        ".".join([part({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31 - 1, "zip": "DEF"}), *"abcd"]),
        "." * 5_000,
    ):
        await forge.refused(token)
    assert time.process_time() - began < 2
    nested: Any = "x"
    for _ in range(20):
        nested = [nested]
    await forge.refused(forge.changed(tny=nested))
    assert len(forge.good) <= TOKEN_MAX_BYTES


async def test_oauth_12_no_key_and_no_address_of_one_is_taken_from_a_header(forge: Forge) -> None:
    """OAUTH-12: `jku`, `x5u`, `jwk`, `x5c`; a `kid` that is a URL, a path, a quote, 10 KB; nothing is fetched."""
    jwk = {"kty": "EC", "crv": "P-256", "x": part(b"x" * 32), "y": part(b"y" * 32)}
    asked = len(forge.here.towards.asked)
    keys: tuple[Changes, ...] = (
        {"jku": f"{ISSUER}/jwks"},
        {"x5u": "https://a/"},
        {"jwk": jwk},
        {"x5c": ["a"]},
        {"x5t": "a"},
    )
    for more in keys:
        await forge.refused(forge.changed(more))
    for kid in ("https://evil.example/k", "../../etc/passwd", "' OR 1=1 --", "k" * 10_240, "", None, 7):
        await forge.refused(forge.changed({"kid": kid}))
    new = {path for path in forge.here.towards.asked[asked:] if not path.startswith("/v1/feed")}
    assert new <= {"/keys-of-a-test", "/.well-known/oauth-authorization-server"}


async def test_oauth_26_a_key_signs_for_one_purpose_one_issuer_and_one_owner(forge: Forge) -> None:
    """OAUTH-26: receipts' and checkpoints' keys, another organization's, another issuer's sign no access token."""
    keyring = forge.acme.node.keyring
    for use, algorithm in (
        (Use(Purpose.RECEIPT, ISSUER, PLATFORM), Algorithm.ES256),
        (Use(Purpose.AUDIT_CHECKPOINT, ISSUER, PLATFORM), Algorithm.EDDSA),
        (Use(Purpose.ACCESS_TOKEN, ISSUER, forge.acme.id), Algorithm.ES256),
        (Use(Purpose.ACCESS_TOKEN, "https://other.example", PLATFORM), Algorithm.ES256),
    ):
        key = await keyring.signing(use, algorithm)
        for kid in (key.public.kid(), forge.header["kid"]):
            header = forge.header | {"kid": kid}
            now_ms = forge.here.woods.node.clock.now_ms()
            await forge.refused(
                resigned(header, forge.claims, lambda m, key=key, use=use, now_ms=now_ms: key.sign(m, use, now_ms))
            )


async def test_a_token_of_another_kind_is_no_access_token(forge: Forge) -> None:
    kinds: tuple[Any, ...] = ("JWT", "at+JWT", "at+jwt ", "dpop+jwt", "tenantry-receipt+jws", "", None, ["at+jwt"])
    for kind in kinds:
        await forge.refused(forge.changed({"typ": kind}))
    await forge.taken(forge.changed({"typ": "application/at+jwt"}))


@pytest.mark.parametrize("missing", ["iss", "aud", "exp", "iat", "jti", "client_id", "sub", "org_id", "tny"])
async def test_each_claim_that_is_required_is_required(forge: Forge, missing: str) -> None:
    for value in (None, ["x"]):
        wrong: Changes = {missing: value}
        await forge.refused(forge.changed(None, **wrong))


async def test_an_audience_is_one_and_exactly_the_resource(forge: Forge) -> None:
    """More than one audience would let one resource use what it was given at another."""
    for audience in ([RESOURCE], [RESOURCE, "https://b/"], RESOURCE[:-1], RESOURCE + "x", RESOURCE.upper(), "", "*"):
        await forge.refused(forge.changed(aud=audience))


async def test_ten_04_a_path_of_one_organization_says_nothing_in_another(forge: Forge) -> None:
    """TEN-04: actor and subject share one organization; a token that names another is of that other, where nothing of its path is."""
    globex = await open_organization(forge.here.woods.node)
    theirs = opened((await minted(forge.here.tokens, globex.id, holders(globex.node, globex.id)["user"])).token)[1]
    for changes in ({"tny": theirs["tny"]}, {"sub": theirs["sub"]}):
        with pytest.raises(BadToken):
            await forge.here.tokens.verify(forge.changed(**changes), audience=RESOURCE)


async def test_a_lineage_that_was_changed_is_refused(forge: Forge) -> None:
    tny = forge.claims["tny"]
    packed = base64.urlsafe_b64decode(tny["path"] + "==")
    for path in (packed[:-17], packed[17:], packed + packed[:17], packed[:-1], bytes([99]) + packed[1:], b""):
        with pytest.raises(BadToken):
            await forge.here.tokens.verify(forge.changed(tny=tny | {"path": part(path)}), audience=RESOURCE)
    for number in ({"rev": -1}, {"rev": "1"}, {"inc": None}, {"prev": 1.5}):
        with pytest.raises(BadToken):
            await forge.here.tokens.verify(forge.changed(tny=tny | number), audience=RESOURCE)


async def test_a_token_that_lives_longer_than_its_class_is_refused(forge: Forge) -> None:
    issued = forge.claims["iat"]
    await forge.taken(forge.changed(exp=issued + 300))
    with pytest.raises(BadToken):
        await forge.here.tokens.verify(forge.changed(exp=issued + 301), audience=RESOURCE)
    await forge.refused(forge.changed(iat=issued + 60, exp=issued + 120))


async def test_oauth_29_a_scope_is_compared_whole(forge: Forge) -> None:
    """OAUTH-29: never a prefix, case or trim match."""
    verified = await forge.verifier.verify(forge.changed(scope="repo:/john docs"))
    verified.require("repo:/john", "docs")
    for scope in ("repo:/johnathan", "repo:/joh", "docs2", "DOCS", "docs ", "", "repo:/john docs"):
        with pytest.raises(sdk.MissingScope):
            verified.require(scope)
