"""What a database must promise to the journal. Two implementations: `sqlite` and `postgres`."""

from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeVar

import msgspec

from tenantry.core.limits import PAGE_ROWS
from tenantry.store.program import Outcome, Program, Row
from tenantry.store.schema import Compiled, Dialects, Read, compile_postgres, compile_sqlite, text_of

T = TypeVar("T")


class Survey(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A registered read across organizations: followers, duties and the doctor. On PostgreSQL it runs as a role of its own."""

    name: str
    sql: str | Dialects
    args: Mapping[str, type] = {}
    role: str = "follower"

    @cached_property
    def sqlite(self) -> Compiled:
        return compile_sqlite(text_of(self.sql, "sqlite"))

    @cached_property
    def postgres(self) -> Compiled:
        return compile_postgres(text_of(self.sql, "postgres"), self.args)


class Place(msgspec.Struct, frozen=True):
    """Where the data lies, as far as the database can tell one copy of it from another."""

    name: str
    """The file, or the database and its cluster."""

    timeline: str = ""
    """PostgreSQL's: another after every promotion of a standby and every recovery to a point in time."""

    synchronous: bool = False
    """Whether a promoted standby has all that was acknowledged."""

    @property
    def text(self) -> str:
        """Name and timeline in one."""
        return f"{self.name}/{self.timeline}"

    def another_timeline_of(self, text: str) -> bool:
        """Whether `text` is this place at another timeline."""
        name, _, timeline = text.rpartition("/")
        return name == self.name and timeline != self.timeline


class Engine(Protocol):
    """Durability: when `run` returns, the program is on disk. Atomicity: if it raises anything but `Unknown`, nothing of it is.

    All methods are called from one event loop; `run` may be called concurrently without bound other than `QUEUE_MAX_SETS`.
    """

    dialect: str

    async def run(self, program: Program) -> Outcome:
        """Run all steps or none.

        Raises:
            TenantryError: the refusal of the first step that wrote nothing though it had to.
            Throttled: the queue is full.
            Unavailable: the database is away, or three retries of a deadlock failed; nothing was written.
            StorageFull: no space; nothing was written.
            Unknown: the connection broke during the commit; read back before acting.
        """
        ...

    async def read(self, read: Read[T], org: str, args: dict[str, Any]) -> list[T]:
        """The rows of one organization, from the primary, as of now."""
        ...

    async def survey(self, survey: Survey, **args: Any) -> list[Row]:
        """Rows across organizations."""
        ...

    async def changed(self, timeout_s: float) -> None:
        """Wait until somebody committed, or `timeout_s` has passed. May return early, may miss a wake-up."""
        ...

    async def db_time_ms(self) -> int:
        """The database's clock, in milliseconds since 1970."""
        ...

    async def place(self) -> Place:
        """Where the data lies now."""
        ...

    async def facts(self) -> dict[str, str]:
        """What `doctor` shows and `open_store` insists on: durability settings as read back, role, version."""
        ...

    async def close(self) -> None:
        """Finish what is under way, then let go of the database."""
        ...


async def each_organization(engine: Engine, survey: Survey, **args: Any) -> AsyncIterator[str]:
    """The organizations that a survey of `:after` and `:most` gives page by page, in the order of their ids."""
    after = ""
    while rows := await engine.survey(survey, after=after, most=PAGE_ROWS, **args):
        for (org,) in rows:
            yield org
        after = rows[-1][0]
