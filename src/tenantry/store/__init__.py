"""The engines (SQLite, PostgreSQL), the statement registry, roles and migrations; the only holder of a connection.

A room declares its tables, statements, reads and migrations as one `Schema`; `open_store` opens a database with all of them
and refuses a set-up that would void a promise. Nobody but `tenantry.journal` runs a program.
"""

from tenantry.store.engine import Engine, Survey, each_organization
from tenantry.store.open import Database, open_store, prepare
from tenantry.store.postgres import PostgresUrls
from tenantry.store.program import Many, Outcome, Program, Refusal, Row, Step
from tenantry.store.roles import Roles, make_roles, plan_roles
from tenantry.store.schema import Dialects, Function, Kind, Migration, Read, Schema, Statement, Table

__all__ = [
    "Database",
    "Dialects",
    "Engine",
    "Function",
    "Kind",
    "Many",
    "Migration",
    "Outcome",
    "PostgresUrls",
    "Program",
    "Read",
    "Refusal",
    "Roles",
    "Row",
    "Schema",
    "Statement",
    "Step",
    "Survey",
    "Table",
    "each_organization",
    "make_roles",
    "open_store",
    "plan_roles",
    "prepare",
]
