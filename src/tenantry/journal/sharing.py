"""The functions on PostgreSQL by which many sets share one transaction; `batching` calls them.

`share_…` of a statement drops what descends from a cut, writes the rest and keeps the numbers of those that succeeded in a setting of
the transaction; `share_leaves` then locks the heads of all organizations that record and numbers their leaves on from the last.
"""

import functools
from collections.abc import Iterable
from typing import Final

from tenantry.core.ids import PLATFORM
from tenantry.store import Function, Statement

DEAD, ALIVE, DONE = range(3)
"""What `share_…` gives for each set: a cut ended it, or its organization is not there; it lives but wrote nothing; it wrote."""

MEMBER: Final = {
    "n": "bigint[]",
    "org": "text[]",
    "path": "text[]",
    "path_rev": "bigint[]",
    "platform_path": "text[]",
    "platform_rev": "bigint[]",
    "incarnation": "bigint[]",
    "must": "bigint[]",
}
"""What `share_…` is told of every set, before the arguments of its statement: its number, its actor's lineage, whether it must write."""

_TYPES: dict[type, str] = {str: "text[]", int: "bigint[]", bytes: "bytea[]"}

LEAVES = Function(
    "share_leaves",
    """(p_orgs text[], p_n bigint[], p_k bigint[], p_org text[], p_body bytea[], p_salt bytea[], p_personal bytea[])
RETURNS bigint LANGUAGE plpgsql AS $body$
#variable_conflict use_column
BEGIN
PERFORM 1 FROM heads WHERE org = ANY (p_orgs) ORDER BY org FOR NO KEY UPDATE;
WITH leaf AS (
    SELECT l.*, row_number() OVER (PARTITION BY l.org ORDER BY l.n, l.k) AS place
    FROM unnest(p_n, p_k, p_org, p_body, p_salt, p_personal) AS l(n, k, org, body, salt, personal)
    WHERE l.n = ANY (string_to_array(current_setting('tenantry.done'), ',')::bigint[])),
last AS (
    SELECT o.org, coalesce((SELECT max(v.idx) FROM leaves v WHERE v.org = o.org), -1) AS idx FROM (SELECT DISTINCT org FROM leaf) o)
INSERT INTO leaves (org, idx, rev, xid, body, salt, personal)
SELECT leaf.org, last.idx + leaf.place, 0, pg_current_xact_id(), leaf.body, leaf.salt, leaf.personal FROM leaf JOIN last USING (org);
RETURN 0;
END $body$""",
)
LEAVES_TYPES = ("text[]", "bigint[]", "bigint[]", "text[]", "bytea[]", "bytea[]", "bytea[]")


def functions(statements: Iterable[Statement]) -> list[Function]:
    """What sets share a transaction by: the leaves, sets that only record, and each statement that many may run at once."""
    return [LEAVES, share(None), *(share(statement) for statement in statements if statement.many)]


def types(statement: Statement | None) -> tuple[str, ...]:
    """The types of the arguments of `share`, the organizations first."""
    own = statement.args.values() if statement is not None else ()
    return ("text", *MEMBER.values(), *(_TYPES[kind] for kind in own))


@functools.cache
def share(statement: Statement | None) -> Function:
    """The function that filters, writes and tells; for sets that only record, it filters and tells."""
    names = [*MEMBER, *(statement.args if statement is not None else ())]
    parameters = ", ".join(f"p_{name} {kind}" for name, kind in zip(["orgs", *names], types(statement), strict=True))
    keys = ", ".join(["org", *(statement.key if statement is not None else ())])
    if statement is None:
        done = "done AS (SELECT n FROM alive)"
    else:
        done = (
            f"written AS ({statement.many}),\ndone AS (SELECT alive.n FROM alive LEFT JOIN written w USING ({keys}) "  # noqa: S608
            "WHERE alive.must = 0 OR w.org IS NOT NULL)"
        )
    body = f"""({parameters}) RETURNS bigint[] LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE made bigint[];
BEGIN
PERFORM set_config('tenantry.org', p_orgs, true);
WITH args AS (SELECT * FROM unnest({", ".join(f"p_{name}" for name in names)}) AS a({", ".join(names)})),
alive AS (
    SELECT a.* FROM args a
    WHERE EXISTS (SELECT 1 FROM heads h WHERE h.org = a.org)
      AND a.incarnation IN (0, (SELECT max(number) FROM incarnations))
      AND NOT EXISTS (
        SELECT 1 FROM cuts c WHERE c.org = a.org AND c.id IN (SELECT jsonb_array_elements_text(a.path::jsonb)) AND c.rev > a.path_rev)
      AND NOT EXISTS (
        SELECT 1 FROM cuts c
        WHERE c.org = '{PLATFORM}' AND c.id IN (SELECT jsonb_array_elements_text(a.platform_path::jsonb)) AND c.rev > a.platform_rev)
    ORDER BY {keys}),
{done},
kept AS (
    SELECT set_config('tenantry.done', concat_ws(',', nullif(current_setting('tenantry.done', true), ''), string_agg(n::text, ',')), true)
    FROM done)
SELECT array_agg((alive.n IS NOT NULL)::int + (done.n IS NOT NULL)::int ORDER BY args.n) INTO made
FROM args LEFT JOIN alive USING (n) LEFT JOIN done USING (n) CROSS JOIN kept;
RETURN made;
END $body$"""  # noqa: S608
    return Function(f"share_{statement.name if statement is not None else 'nothing'}", body)
