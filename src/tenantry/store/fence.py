"""The second fence: PostgreSQL roles, grants and forced row security, derived from the tables' declarations.

Every tenant table gets row security that is forced on its owner too, with one policy: a row is seen, and may be written, if
its organization is among those set for the transaction. No setting, or an empty one, is no organization. Roles: the migrator
owns, `app` serves requests, `follower` reads changelog, leaves, heads and cuts, `worker` runs duties.
"""

from collections.abc import Iterable

from psycopg import AsyncConnection

from tenantry.core.errors import Unsafe
from tenantry.store.schema import Kind, Schema, Table

SCHEMA = "tenantry"

GUARD = """
CREATE OR REPLACE FUNCTION tenantry_guard(written bigint, step bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  IF written = 0 THEN RAISE EXCEPTION USING ERRCODE = 'TY001', MESSAGE = step::text; END IF;
  RETURN written;
END $$
"""

_ORGS = "(SELECT string_to_array(current_setting('tenantry.org', true), ','))::text[]"
"""The organizations of the transaction; as a subquery it is worked out once a statement, not once a row."""
_APP = {
    Kind.STATE: "SELECT, INSERT, UPDATE, DELETE",
    Kind.EPHEMERAL: "SELECT, INSERT, UPDATE, DELETE",
    Kind.DERIVED: "SELECT",
    Kind.JOURNAL: "SELECT",
}
_WORKER = {
    Kind.STATE: "",
    Kind.EPHEMERAL: "SELECT, DELETE",
    Kind.DERIVED: "SELECT, INSERT, UPDATE, DELETE",
    Kind.JOURNAL: "SELECT",
}


def statements(schemas: Iterable[Schema], app: str, follower: str, worker: str) -> list[str]:
    """What brings grants, policies and read functions to what is declared; running it again changes nothing."""
    made = [
        f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {app}, {follower}, {worker}",
        GUARD,
    ]
    for schema in schemas:
        for table in schema.tables:
            made += _table(table, app, follower, worker)
        made += [function.definition for function in schema.functions]
        made += [read.function.definition for read in schema.reads]
    return made


def _table(table: Table, app: str, follower: str, worker: str) -> list[str]:
    name = f"{SCHEMA}.{table.name}"
    made = [f"REVOKE ALL ON {name} FROM PUBLIC, {app}, {follower}, {worker}"]
    rights = {
        app: table.app if table.app is not None else _APP[table.kind],
        worker: table.worker if table.worker is not None else _WORKER[table.kind],
    }
    made += [f"GRANT {right} ON {name} TO {role}" for role, right in rights.items() if right]
    if table.follower_reads:
        made.append(f"GRANT SELECT ON {name} TO {follower}")
    if table.deployment_wide:
        return made
    made += [f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY", f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"]
    inside = f"org = ANY ({_ORGS})"
    made += _policy(name, "tenant", f"FOR ALL TO {app}, {worker} USING ({inside}) WITH CHECK ({inside})")
    if table.follower_reads:
        made += _policy(name, "follower", f"FOR SELECT TO {follower} USING (true)")
    if table.worker_sees_all:
        made += _policy(name, "worker", f"FOR SELECT TO {worker} USING (true)")
    return made


def _policy(table: str, name: str, rule: str) -> list[str]:
    return [f"DROP POLICY IF EXISTS {name} ON {table}", f"CREATE POLICY {name} ON {table} {rule}"]


_COULD_BYPASS = """
SELECT r.rolname::text || CASE WHEN r.rolsuper THEN ' (superuser)' WHEN r.rolbypassrls THEN ' (BYPASSRLS)' ELSE ' (owns tables)' END
FROM pg_roles r
WHERE pg_has_role(current_user, r.oid, 'MEMBER')
  AND (r.rolsuper OR r.rolbypassrls
       OR EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'tenantry' AND c.relowner = r.oid))
ORDER BY 1
"""

_UNFENCED = """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'tenantry' AND (
  (c.relkind IN ('r', 'p') AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org')
    AND NOT (c.relrowsecurity AND c.relforcerowsecurity))
  OR (c.relkind = 'v' AND NOT coalesce(c.reloptions::text, '') LIKE '%security_invoker=true%')
  OR c.relkind = 'm')
UNION ALL
SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'tenantry' AND p.prosecdef
UNION ALL
SELECT tablename || ' (policy ' || policyname || ')' FROM pg_policies
WHERE schemaname = 'tenantry' AND permissive = 'PERMISSIVE' AND policyname NOT IN ('tenant', 'follower', 'worker')
ORDER BY 1
"""


async def refuse_unsafe(connection: AsyncConnection, role: str) -> None:
    """Refuse a connection whose role could read past row security, or a schema with a hole in the fence.

    Raises:
        Unsafe: naming the role, or the tables, views and functions.
    """
    isolation = await (await connection.execute("SHOW transaction_isolation")).fetchone()
    if isolation is None or isolation[0] != "read committed":
        raise Unsafe(
            f"The {role} role does not run transactions as read committed: a revision is read after its lock, in a snapshot of its own.",
            hint=f"ALTER ROLE … SET default_transaction_isolation = 'read committed' for the {role} role.",
        )
    over = [row[0] for row in await (await connection.execute(_COULD_BYPASS)).fetchall()]
    if over:
        raise Unsafe(
            f"The {role} role of the database could bypass row security: {', '.join(over)}.",
            hint="Connect as a role that is no superuser, has no BYPASSRLS and owns no table; `tenantry init` makes them.",
        )
    holes = [row[0] for row in await (await connection.execute(_UNFENCED)).fetchall()]
    if holes:
        raise Unsafe(
            f"Without forced row security (tables), security_invoker (views), or with more rights than declared: {', '.join(holes)}.",
            hint="Declare the table in its room's schema and run `tenantry init` again, or drop it.",
        )
