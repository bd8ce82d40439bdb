"""Jobs: the principal of one execution of a background task. It carries who asked for it, and ends by its deadline.

Its run is its branch of the tree: below the initiator, or below the organization where nobody in particular asked.
"""

import msgspec

from tenantry.core.errors import Invalid
from tenantry.journal import Event, Reads, Target, WriteSet
from tenantry.organizations import doors, parties
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.part import PAGE_ARGS, Part, titled
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

JOBS = Table("jobs", Kind.STATE)
INITIATORS = (PartyKind.USER, PartyKind.AGENT, PartyKind.SERVICE)
LIFE_MAX_MS = 7 * 24 * 3_600_000


class Job(msgspec.Struct, frozen=True):
    """One execution of a background task. Without an initiator the organization itself is it; `ends_at_ms` is the deadline."""

    org: str
    id: str
    status: str
    name: str
    run_id: str
    initiator_id: str | None
    initiator_blueprint_id: str | None
    """The blueprint of an agent that asked for it."""
    made_at_ms: int
    ends_at_ms: int

    def path(self) -> tuple[str, ...]:
        """The branches that its credentials descend from."""
        above = (self.initiator_blueprint_id, self.initiator_id)
        return (self.org, *(one for one in above if one is not None), self.run_id)


ADD_JOB = Statement(
    "organizations_add_job",
    JOBS,
    "INSERT INTO jobs (org, id, name, run_id, initiator_id) VALUES (:org, :id, :name, :run_id, :initiator_id) ON CONFLICT DO NOTHING",
    {"id": str, "name": str, "run_id": str, "initiator_id": str},
)
_FROM = (
    "SELECT j.org, j.id, p.status, j.name, j.run_id, j.initiator_id, a.blueprint_id, p.made_at, p.ends_at FROM jobs j "
    "JOIN parties p ON p.org = j.org AND p.id = j.id LEFT JOIN agents a ON a.org = j.org AND a.id = j.initiator_id WHERE j.org = :org"
)
JOB = Read("organizations_job", Job, f"{_FROM} AND j.id = :id", {"id": str})
JOBS_PAGE = Read("organizations_jobs", Job, f"{_FROM} AND j.id > :after ORDER BY j.id LIMIT :most", PAGE_ARGS)

PART = Part(
    tables=(JOBS,),
    statements=(ADD_JOB,),
    reads=(JOB, JOBS_PAGE),
    ddl="""
CREATE TABLE jobs (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, run_id text NOT NULL, initiator_id text, PRIMARY KEY (org, id),
    FOREIGN KEY (org, id) REFERENCES parties (org, id), FOREIGN KEY (org, initiator_id) REFERENCES parties (org, id)) {strict};
""",
)


class JobAdded(Event, tag="job.added", frozen=True):
    """A background task began; without an initiator the organization itself asked for it."""

    job: Target
    run: Target
    name: str
    initiator: str | None
    ends_at_ms: int


def add(
    w: WriteSet, job_id: str, run_id: str, name: str, initiator_id: str | None, *, now_ms: int, ends_at_ms: int
) -> None:
    """Begin a background task.

    Raises:
        Invalid: its deadline is not within `LIFE_MAX_MS` from now.

    Raises, when the set is sent:
        NotFound: no such user, agent or service here. NotActive: it has lost access.
    """
    if not now_ms < ends_at_ms <= now_ms + LIFE_MAX_MS:
        raise Invalid("A job ends in the future, within 7 days.")
    if initiator_id is not None:
        parties.refer_active(w, initiator_id, *INITIATORS)
    parties.add(w, PartyKind.JOB, job_id, now_ms, ends_at_ms)
    doors.open_door(w, DoorKind.CLIENT, job_id, job_id)
    w.write(ADD_JOB, id=job_id, name=titled(name), run_id=run_id, initiator_id=initiator_id)
    w.record(JobAdded(job_id, run_id, name, initiator_id, ends_at_ms))


async def end(w: WriteSet, reads: Reads, job_id: str, reason: str = "") -> None:
    """End a job before its deadline, for good: its run is cut. Doing it again changes nothing."""
    job = await reads.one(JOB, id=job_id)
    await parties.deactivate(w, reads, PartyKind.JOB, job_id, reason)
    if job.status == parties.ACTIVE:
        w.cut(job.run_id)
        doors.close_doors(w, job_id)
