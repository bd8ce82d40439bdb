"""The second fence: PostgreSQL roles, grants and forced row security, derived from the tables' declarations.

Every tenant table gets row security that is forced on its owner too, with one policy: a row is seen, and may be written, if
its organization is among those set for the transaction. No setting, or an empty one, is no organization. Roles: the migrator
owns, `app` serves requests, `follower` reads changelog, leaves, heads and cuts, `worker` runs duties.
"""

from collections.abc import Iterable, Mapping

import msgspec
from psycopg import AsyncConnection, sql

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

_IN_SCOPE = "(org = ANY (( SELECT string_to_array(current_setting('tenantry.org'::text, true), ','::text) AS string_to_array)::text[]))"
"""A row of the transaction's organizations, which as a subquery are worked out once a statement, not once a row. Spelled as PostgreSQL
gives it back, so that what a policy says can be compared with what was declared."""
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


class Policy(msgspec.Struct, frozen=True):
    """A policy of row security, in the words of `pg_policies`."""

    name: str
    command: str
    roles: list[str]
    using: str
    check: str | None = None

    def statements(self, table: str) -> list[str]:
        """What makes the policy of this name on a table what it is here."""
        check = f" WITH CHECK ({self.check})" if self.check else ""
        rule = f"FOR {self.command} TO {_listed(*self.roles)} USING ({self.using}){check}"
        return [f"DROP POLICY IF EXISTS {self.name} ON {table}", f"CREATE POLICY {self.name} ON {table} {rule}"]


def _listed(*roles: str) -> str:
    """Roles as a statement names them: they are named after the database, whose name may hold anything."""
    return ", ".join(sql.Identifier(role).as_string() for role in roles)


def _policies(app: str, follower: str, worker: str) -> tuple[Policy, Policy, Policy]:
    """The only policies there are. A table has the first; the others are for what follower or worker reads of everybody."""
    return (
        Policy("tenant", "ALL", sorted((app, worker)), _IN_SCOPE, _IN_SCOPE),
        Policy("follower", "SELECT", [follower], "true"),
        Policy("worker", "SELECT", [worker], "true"),
    )


def statements(schemas: Iterable[Schema], app: str, follower: str, worker: str) -> list[str]:
    """What brings grants, policies and read functions to what is declared; running it again changes nothing."""
    made = [
        f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {_listed(app, follower, worker)}",
        f"GRANT SELECT ON {SCHEMA}.schema_versions TO {_listed(app, follower, worker)}",
        GUARD,
    ]
    schemas = list(schemas)
    everything = [statement for schema in schemas for statement in schema.statements]
    for schema in schemas:
        for table in schema.tables:
            made += _table(table, app, follower, worker)
        made += [statement.function.definition for statement in schema.statements if statement.function is not None]
        made += [read.function.definition for read in schema.reads]
        made += [function.definition for function in schema.functions(everything)]
    return made


def _table(table: Table, app: str, follower: str, worker: str) -> list[str]:
    name = f"{SCHEMA}.{table.name}"
    made = [f"REVOKE ALL ON {name} FROM PUBLIC, {_listed(app, follower, worker)}"]
    rights = {
        app: table.app if table.app is not None else _APP[table.kind],
        worker: table.worker if table.worker is not None else _WORKER[table.kind],
    }
    made += [f"GRANT {right} ON {name} TO {_listed(role)}" for role, right in rights.items() if right]
    if table.follower_reads:
        made.append(f"GRANT SELECT ON {name} TO {_listed(follower)}")
    if table.deployment_wide:
        return made
    made += [f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY", f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"]
    in_scope, followed, worked = _policies(app, follower, worker)
    made += in_scope.statements(name)
    if table.follower_reads:
        made += followed.statements(name)
    if table.worker_sees_all:
        made += worked.statements(name)
    return made


_COULD_BYPASS = """
SELECT r.rolname::text || ' (' || why || ')'
FROM pg_roles r, LATERAL (VALUES
  (r.rolsuper, 'superuser'),
  (r.rolbypassrls, 'BYPASSRLS'),
  (r.rolcreaterole, 'CREATEROLE'),
  (r.rolreplication, 'REPLICATION'),
  (r.rolname ^@ 'pg_', 'predefined'),
  (r.rolname = ANY ($1::text[]) AND r.rolname <> session_user, 'another role of the server'),
  (EXISTS (SELECT FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid AND b.datname = current_database()
           WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'), 'owns objects of the database')
) reasons (applies, why)
WHERE applies AND (r.rolname = session_user OR pg_has_role(session_user, r.oid, 'MEMBER')
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user))
UNION ALL
SELECT session_user || ' (TEMPORARY on the database)' WHERE has_database_privilege(session_user, current_database(), 'TEMPORARY')
ORDER BY 1
"""
"""Every role that the connection's could act as, with each reason why it must not. A superuser could act as all, and is named alone."""

_UNFENCED = """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'tenantry' AND (
  (c.relkind IN ('r', 'p') AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org')
    AND NOT (c.relrowsecurity AND c.relforcerowsecurity))
  OR (c.relkind = 'v' AND NOT coalesce(c.reloptions::text, '') LIKE '%security_invoker=true%')
  OR c.relkind = 'm')
UNION ALL
SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'tenantry' AND p.prosecdef
ORDER BY 1
"""

_ALLOWED = """
SELECT tablename::text, policyname::text, cmd, roles::text[], qual, with_check
FROM pg_policies WHERE schemaname = 'tenantry' AND permissive = 'PERMISSIVE' ORDER BY 1, 2
"""


async def refuse_unsafe(connections: Mapping[str, AsyncConnection]) -> None:
    """Refuse roles that could read past row security, or a schema with a hole in the fence.

    `connections` has one of each: `app`, `follower`, `worker`. Not checked: which rights a role has on which table.

    Raises:
        Unsafe: naming the role, or the tables, views, functions and policies.
    """
    users = {role: connection.info.user for role, connection in connections.items()}
    if len(set(users.values())) < len(users):
        raise Unsafe(
            f"Some roles of the server are one role of the database: {', '.join(f'{r} is {u}' for r, u in users.items())}.",
            hint="Give each a role of its own: follower and worker see what no request may; `tenantry init` makes them.",
        )
    for role, connection in connections.items():
        await _refuse_role(role, connection, list(users.values()))
    holes = await _holes(connections["app"], _policies(**users))
    if holes:
        raise Unsafe(
            f"Without forced row security (tables), security_invoker (views), or with more rights than declared: {', '.join(holes)}.",
            hint="Declare the table in its room's schema and run `tenantry init` again, or drop it.",
        )


async def _refuse_role(role: str, connection: AsyncConnection, users: list[str]) -> None:
    isolation = await (await connection.execute("SHOW transaction_isolation")).fetchone()
    if isolation is None or isolation[0] != "read committed":
        raise Unsafe(
            f"The {role} role does not run transactions as read committed: a revision is read after its lock, in a snapshot of its own.",
            hint=f"ALTER ROLE … SET default_transaction_isolation = 'read committed' for the {role} role.",
        )
    over = [row[0] for row in await (await connection.execute(_COULD_BYPASS, (users,))).fetchall()]
    if over:
        raise Unsafe(
            f"The {role} role of the database could bypass row security: {', '.join(over)}.",
            hint="Connect as a role without these rights, owner and member of nothing; `tenantry init --postgres` makes them.",
        )


async def _holes(connection: AsyncConnection, declared: tuple[Policy, ...]) -> list[str]:
    unfenced = [row[0] for row in await (await connection.execute(_UNFENCED)).fetchall()]
    allowed = await (await connection.execute(_ALLOWED)).fetchall()
    return unfenced + [f"{table} (policy {rule[0]})" for table, *rule in allowed if Policy(*rule) not in declared]
