"""How an organization begins, and how it ends.

It begins with its log, its first data key and its first owner, in one set. It ends in two steps. One set kills: everything in it dies, its
doors close, its data keys are destroyed, its people's records go. Then its log loses the personal data beside its leaves, bounded sets one
after the other: what a crash leaves is done by deleting it again. It is on the destruction list by then, by which a restored node does all
of it once more. The log itself stays, and every proof of it.
"""

from tenantry.audit.log import erase_again, erase_person
from tenantry.core import scopes
from tenantry.core.errors import Conflict, NotFound
from tenantry.core.principal import SYSTEM, Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Destruction, Journal, Reads, WriteSet
from tenantry.journal.schema import ERASE, LEAF_ROWS
from tenantry.keys.keyring import Keyring
from tenantry.organizations import doors, groups, invitations, organization, parties, roles, users
from tenantry.organizations.organization import DELETED, SET_ORGANIZATION, OrganizationDeleted
from tenantry.organizations.parties import PartyRemoved
from tenantry.organizations.users import Profile

ERASED_A_SET = 200


async def begin(w: WriteSet, keyring: Keyring, name: str, owner_id: str, owner: Profile, now_ms: int) -> None:
    """Begin an organization with its first owner. `w` is begun `with_platform`.

    Raises:
        Invalid: this cannot be its name.
        Upstream: the root key cannot be reached.
    """
    organization.create(w, name, now_ms)
    await keyring.found(w)
    users.add(w, owner_id, owner, now_ms)
    roles.give(w, roles.OWNER, owner_id)


async def kill(w: WriteSet, reads: Reads, keyring: Keyring, reason: str) -> None:
    """Delete the organization of `w`, which is begun `with_platform`. `erase` follows.

    Raises:
        OrganizationGone: it was deleted before.
    """
    known = await organization.kept(reads)
    keyring.destroy(w)
    w.write(SET_ORGANIZATION, Conflict, name=known.name, status=DELETED, version=known.version)
    w.write(doors.CLOSE_ALL_DOORS)
    w.write(users.DELETE_USERS)
    w.write(invitations.DELETE_INVITATIONS)
    w.cut(w.org)
    organization.told(w, OrganizationDeleted(w.org, reason))


async def erase(journal: Journal, scope: TenantScope, actor: Principal) -> None:
    """Erase the personal data beside every leaf of a deleted organization; doing it again does what is left."""
    reads, first = journal.reads(scope), 0
    while rows := await reads.all(LEAF_ROWS, first=first, most=ERASED_A_SET):
        held = [row.index for row in rows if row.personal is not None]
        if held:
            async with journal.begin(scope, actor) as w:
                for index in held:
                    w.write(ERASE, idx=index)
        first = rows[-1].index + 1


async def erase_user(journal: Journal, scope: TenantScope, actor: Principal, user_id: str) -> int:
    """Erase what the log holds of a removed user beside its leaves; gives how many leaves name it. Again, it erases what is left.

    Raises:
        NotFound: there never was such a user.
        Conflict: it has not been removed.
    """
    if (await journal.reads(scope).one(parties.PARTY, id=user_id)).status != parties.REMOVED:
        raise Conflict("Remove the user first.")
    return await erase_person(journal, scope, actor, user_id)


async def destroy_again(journal: Journal, keyring: Keyring, entry: Destruction) -> None:
    """Do once more what an entry of the destruction list says: a backup may have brought it back, or a crash left it half done."""
    scope = scopes.of_job(entry.org)
    try:
        await journal.head(scope)
    except NotFound:
        return
    reads = journal.reads(scope)
    if entry.subject != entry.org:
        await journal.run(scope, SYSTEM, _remove_again, entry.subject)
        await erase_again(journal, scope, SYSTEM, entry.subject)
        return
    if any(row.status != DELETED for row in await reads.all(organization.ORGANIZATION)):
        async with journal.begin(scope, SYSTEM, with_platform=True) as w:
            await kill(w, reads, keyring, "It is on the destruction list.")
    else:
        await keyring.shred_again(entry.org)
    await erase(journal, scope, SYSTEM)


async def _remove_again(w: WriteSet, reads: Reads, user_id: str) -> None:
    """A removed user that is back, an owner perhaps: nothing keeps it."""
    for known in await reads.all(parties.PARTY, id=user_id):
        parties.set_status(w, known, parties.REMOVED)
        w.cut(user_id)
        w.write(groups.LEAVE_GROUPS, member_id=user_id)
        w.write(users.DELETE_USER, id=user_id)
        w.record(PartyRemoved(user_id, known.kind))
