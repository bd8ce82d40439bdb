"""Asking for decisions: in OpenFGA's words (`check`) or AuthZEN's (`decide`).

client = Client("https://id.example.com", credential=ClientKey(...), store="01J...")
await client.require(caller.subject, "can_edit", "document:plan")
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from tenantry_sdk.clock import Clock, SystemClock
from tenantry_sdk.errors import Denied, Refused
from tenantry_sdk.server import Credential, Server

STORE = "Tenantry-Store"
"""The header that names a store where AuthZEN fixes the path."""


@dataclass(frozen=True, slots=True)
class Tuple:
    """A relationship: `user` has `relation` to `object`, such as `user:anne`, `editor`, `document:plan`."""

    user: str
    relation: str
    object: str


class Client:
    """Asks one server. Share it; close it with `async with` or `close`."""

    def __init__(
        self,
        issuer: str,
        *,
        credential: Credential,
        store: str = "",
        clock: Clock | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self.server = Server(issuer, clock or SystemClock(), credential=credential, http=http)
        self._store = store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self.server.close()

    async def check(
        self,
        user: str,
        relation: str,
        object: str,  # noqa: A002 - the word of the model
        *,
        context: Mapping[str, Any] | None = None,
        contextual: Sequence[Tuple] = (),
        fresh: bool = False,
    ) -> bool:
        """Whether `user` has `relation` to `object`. `fresh`: as of this moment, not of what this node has heard of.

        Raises:
            Refused: the question has no answer: the store, type or relation is not there, or this program may not ask.
            Unreachable: the server does not answer. That is no yes.
        """
        body: dict[str, Any] = {"tuple_key": {"user": user, "relation": relation, "object": object}}
        if context:
            body["context"] = dict(context)
        if contextual:
            keys = [{"user": one.user, "relation": one.relation, "object": one.object} for one in contextual]
            body["contextual_tuples"] = {"tuple_keys": keys}
        if fresh:
            body["consistency"] = "HIGHER_CONSISTENCY"
        if not self._store:
            raise ValueError("A check needs a store.")
        return _yes(await self.server.post(f"/stores/{self._store}/check", body), "allowed")

    async def require(self, user: str, relation: str, object: str, **more: Any) -> None:  # noqa: A002
        """Refuse unless `check` says yes.

        Raises:
            Denied: it says no.
            Refused, Unreachable: see `check`.
        """
        if not await self.check(user, relation, object, **more):
            raise Denied(f"{user} has not {relation} to {object}.")

    async def decide(
        self,
        subject: tuple[str, str],
        action: str,
        resource: tuple[str, str],
        *,
        context: Mapping[str, Any] | None = None,
    ) -> bool:
        """Whether a subject (type, id) may do an action to a resource (type, id), in AuthZEN's words.

        Without a store the organization's only one answers.

        Raises:
            Refused, Unreachable: there is no answer. That is no yes.
        """
        body: dict[str, Any] = {
            "subject": {"type": subject[0], "id": subject[1]},
            "action": {"name": action},
            "resource": {"type": resource[0], "id": resource[1]},
        }
        if context:
            body["context"] = dict(context)
        named = {STORE: self._store} if self._store else {}
        return _yes(await self.server.post("/access/v1/evaluation", body, named), "decision")


def _yes(answer: Mapping[str, Any], name: str) -> bool:
    """A yes or no that was said: anything else is no answer."""
    said = answer.get(name)
    if not isinstance(said, bool):
        raise Refused(f"The answer holds no {name}.", 200)
    return said
