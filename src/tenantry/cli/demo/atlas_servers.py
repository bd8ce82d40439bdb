"""Servers in processes of their own, and whoever asks them over HTTP: a client with a key that it registered, or nobody."""

import asyncio
import base64
import hashlib
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from joserfc import jwk, jws

from tenantry.access.service import REVISION
from tenantry.app.config import Config, to_toml
from tenantry.cli.demo.play import expect
from tenantry.core.clock import SystemClock

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TIMEOUT_S = 10.0


class Said(msgspec.Struct, frozen=True):
    """An answer over HTTP."""

    status: int
    body: Any
    revision: int = 0
    """Of a decision or a write of tuples: what it was given or done at."""

    @property
    def ok(self) -> bool:
        """Whether it is a yes."""
        return self.status < 300

    @property
    def code(self) -> str:
        """Of a refusal: what kind it is."""
        return str(self.body.get("code") or self.body.get("error")) if isinstance(self.body, dict) else ""


@asynccontextmanager
async def server(config: Config, folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """`tenantry serve`, told to end after the block; gives a client of the address that it says it listens on."""
    path = folder / "tenantry.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    with (folder / "serve.log").open("wb") as log:
        process = await command("serve", "--config", str(path), "--json", stderr=log.fileno())
    try:
        assert process.stdout is not None
        said = await process.stdout.readline()
        expect(bool(said), f"a server ended before it listened: {(folder / 'serve.log').read_text()}")
        address = msgspec.json.decode(said)["listening"][0]
        async with httpx2.AsyncClient(base_url=address, timeout=TIMEOUT_S) as client:
            yield client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def command(*words: str, stderr: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    """A command of Tenantry in a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tenantry.cli",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C at the terminal is for whoever made it
        env={**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)},
    )


async def ran(*words: str) -> tuple[int, dict[str, Any]]:
    """What a command ended with, and what it said in JSON."""
    process = await command(*words, "--json")
    out, error = await process.communicate()
    said = (out or error).strip().splitlines()
    return process.returncode or 0, msgspec.json.decode(said[-1]) if said else {}


class Caller:
    """Asks as a client that proves itself by its own key (RFC 7523). A `bound` one binds its tokens to the key (RFC 9449)."""

    def __init__(self, issuer: str, client_id: str, key: jwk.ECKey, *, bound: bool = False) -> None:
        self.id = client_id
        self.key = key
        self.issuer = issuer
        self._bound = bound
        self._clock = SystemClock()
        self._token = ""
        self._within: dict[str, str] = {}
        """Headers that say which organization its calls are about, where that is not its own."""

    def within(self, **headers: str) -> "Caller":
        """The same by the same token elsewhere: `Tenantry_Entry` names an entry, `Tenantry_Organization` the owner of a store."""
        there = Caller(self.issuer, self.id, self.key, bound=self._bound)
        there._token = self._token
        there._within = {name.replace("_", "-"): value for name, value in headers.items()}
        return there

    @property
    def entry(self) -> str:
        """The entry by which it is in an organization, as the header names it."""
        return self._within["Tenantry-Entry"]

    @property
    def public(self) -> dict[str, Any]:
        """The public half of its key, as it is registered."""
        return dict(self.key.as_dict(private=False))

    async def sign_in(self, at: httpx2.AsyncClient) -> Said:
        """Ask for a token for the server's own interface, and keep it."""
        said = await self._ask_for_token(at, "")
        if said.code == "use_dpop_nonce":
            said = await self._ask_for_token(at, said.body["nonce"])
        if said.ok:
            self._token = said.body["access_token"]
        return said

    async def ask(self, at: httpx2.AsyncClient, method: str, path: str, body: object = None) -> Said:
        """One request with the token, and a proof of the key where it is bound."""
        headers = {"Authorization": f"{'DPoP' if self._bound else 'Bearer'} {self._token}", **self._within}
        if self._bound:
            hashed = base64.urlsafe_b64encode(hashlib.sha256(self._token.encode()).digest()).rstrip(b"=").decode()
            headers["DPoP"] = self._proof(method, path.partition("?")[0], ath=hashed)
        return await asked(at, method, path, body, headers)

    async def bare(self, at: httpx2.AsyncClient, method: str, path: str, body: object = None) -> Said:
        """The same by somebody who has stolen the token and not the key."""
        return await asked(at, method, path, body, {"Authorization": f"Bearer {self._token}", **self._within})

    async def _ask_for_token(self, at: httpx2.AsyncClient, nonce: str) -> Said:
        form = {
            "grant_type": "client_credentials",
            "resource": self.issuer,
            "client_assertion_type": ASSERTION,
            "client_assertion": self._assertion(),
        }
        more = {"nonce": nonce} if nonce else {}
        headers = {"DPoP": self._proof("POST", "/oauth/token", **more)} if self._bound else {}
        answer = await at.post("/oauth/token", data=form, headers=headers)
        given = answer.headers.get("DPoP-Nonce")
        body = answer.json()
        return Said(answer.status_code, {**body, "nonce": given} if given else body)

    def _assertion(self) -> str:
        now_s = self._clock.now_ms() // 1000
        claims = {"iss": self.id, "sub": self.id, "aud": self.issuer, "iat": now_s, "exp": now_s + 60}
        header = {"typ": "client-authentication+jwt", "kid": self.key.thumbprint()}
        return self._signed(header, claims)

    def _proof(self, method: str, path: str, **more: str) -> str:
        claims = {"htm": method, "htu": f"{self.issuer}{path}", "iat": self._clock.now_ms() // 1000, **more}
        return self._signed({"typ": "dpop+jwt", "jwk": self.public}, claims)

    def _signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        once = {**claims, "jti": secrets.token_urlsafe(16)}
        return jws.serialize_compact({"alg": "ES256", **header}, msgspec.json.encode(once), self.key)


async def asked(
    at: httpx2.AsyncClient, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> Said:
    """One request."""
    content = b"" if body is None else msgspec.json.encode(body)
    media = {} if body is None else {"Content-Type": "application/json"}
    answer = await at.request(method, path, content=content, headers={**(headers or {}), **media})
    said = msgspec.json.decode(answer.content) if answer.content else None
    return Said(answer.status_code, said, int(answer.headers.get(REVISION, 0)))


def given(said: Said) -> Any:
    """The body of an answer that must be a yes.

    Raises:
        NotAsPromised: it is a refusal.
    """
    expect(said.ok, f"a server refused what it should do: {said.status} {said.body}")
    return said.body
