"""What a server says of itself to anybody: whether it lives, whether it is ready, its measures, its interface, its errors."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tenantry.app.dialects import face_of
from tenantry.app.health import Health
from tenantry.core.errors import NotFound, TenantryError, Unavailable
from tenantry.web import INSIDE, PUBLIC, Call, Limits, Raw, Route, route

URGENT = Limits(urgent=True)


class NotReady(Unavailable):
    """This node takes no requests now; another one may."""

    code = "not_ready"


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    live: bool = True


class Ready(msgspec.Struct, frozen=True):
    """The node takes requests."""

    ready: bool = True


class Meaning(msgspec.Struct, frozen=True):
    """What a code of an error means."""

    code: str
    status: int
    meaning: str


def probes(
    health: Callable[[], Health],
    stopping: Callable[[], bool],
    exposition: Callable[[], Raw],
    interface: Callable[[], dict[str, Any]],
) -> tuple[Route, ...]:
    """The routes that every server has."""

    @route("GET", "/health/live", PUBLIC, limits=URGENT)
    async def live(_: Call) -> Live:
        """Whether the process answers. Restart it if this fails; a database that is away is no reason to."""
        return Live()

    @route("GET", "/health/ready", PUBLIC, limits=URGENT)
    async def ready(_: Call) -> Ready:
        """Whether this node takes requests; 503 says why not.

        Not while it is stopping, writes find no space, the database is away, clocks differ, or nobody can sign the logs.
        """
        causes = ["it is stopping"] if stopping() else []
        causes += health().causes()
        if causes:
            raise NotReady(f"This node is not ready: {', '.join(causes)}.", hint="Ask another node.")
        return Ready()

    @route("GET", "/metrics", INSIDE, limits=URGENT)
    async def metrics(_: Call) -> Raw:
        """The measures of this node, for Prometheus."""
        return exposition()

    @route("GET", "/openapi.json", PUBLIC)
    async def openapi(_: Call) -> dict[str, Any]:
        """This interface, as OpenAPI 3.1."""
        return interface()

    @route("GET", "/problems/{code}", PUBLIC)
    async def problem(_: Call, code: str) -> Meaning:
        """What the code of an error means."""
        return meaning(code)

    return live, ready, metrics, openapi, problem


def meaning(code: str) -> Meaning:
    """What a code means, as the first kind of the tree that has it says.

    Raises:
        NotFound: no error has it.
    """
    for kind in _kinds(TenantryError):
        if kind.code == code:
            return Meaning(code, face_of(kind).status, (kind.__doc__ or "").partition("\n")[0])
    raise NotFound("No error has this code.")


def _kinds(kind: type[TenantryError]) -> Iterator[type[TenantryError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
