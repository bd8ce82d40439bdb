"""What a database must promise to the journal. Two implementations: `sqlite` and `postgres`."""

from typing import Any, Protocol, TypeVar

import msgspec

from tenantry.store.program import Outcome, Program, Row
from tenantry.store.schema import Dialects, Read

T = TypeVar("T")


class Survey(msgspec.Struct, frozen=True, eq=False):
    """A registered read across organizations: followers, duties and the doctor. On PostgreSQL it runs as a role of its own.

    Arguments are positional (`?1` or `$1`), since each text is written for its database.
    """

    name: str
    sql: Dialects
    role: str = "follower"


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

    async def survey(self, survey: Survey, *args: Any) -> list[Row]:
        """Rows across organizations."""
        ...

    async def changed(self, timeout_s: float) -> None:
        """Wait until somebody committed, or `timeout_s` has passed. May return early, may miss a wake-up."""
        ...

    async def db_time_ms(self) -> int:
        """The database's clock, in milliseconds since 1970."""
        ...

    async def facts(self) -> dict[str, str]:
        """What `doctor` shows and `open_store` insists on: durability settings as read back, role, version."""
        ...

    async def close(self) -> None:
        """Finish what is under way, then let go of the database."""
        ...
