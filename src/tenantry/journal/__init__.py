"""THE way to write and THE way to follow: write sets, events, revisions, cuts, leaves; horizon, lease, duties, incarnation.

Start with `Journal.begin`. Nothing here knows what a user or a session is: it filters by the ids a credential descends from.
"""

from tenantry.journal.cuts import Cuts
from tenantry.journal.derive import Deriver, Deriving
from tenantry.journal.duties import Duties, Duty, NotOurs
from tenantry.journal.event import Event, Origin, Personal, Target, Text
from tenantry.journal.follow import Follower, Following, Recorder
from tenantry.journal.incarnation import Incarnation, check_in, confirm, foresee, found, join
from tenantry.journal.journal import Journal, Reads, retried
from tenantry.journal.lease import Lease
from tenantry.journal.mark import Destruction, DestructionList, Marking
from tenantry.journal.pulse import Pulse
from tenantry.journal.schema import Change, Head, LeafRow
from tenantry.journal.work import Work, Working
from tenantry.journal.writeset import WriteSet

__all__ = [
    "Change",
    "Cuts",
    "Deriver",
    "Deriving",
    "Destruction",
    "DestructionList",
    "Duties",
    "Duty",
    "Event",
    "Follower",
    "Following",
    "Head",
    "Incarnation",
    "Journal",
    "LeafRow",
    "Lease",
    "Marking",
    "NotOurs",
    "Origin",
    "Personal",
    "Pulse",
    "Reads",
    "Recorder",
    "Target",
    "Text",
    "Work",
    "Working",
    "WriteSet",
    "check_in",
    "confirm",
    "foresee",
    "found",
    "join",
    "retried",
]
