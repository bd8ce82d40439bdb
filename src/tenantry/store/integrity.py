"""Whether a SQLite file is still what SQLite wrote, table by table, so that damage has a name."""

from tenantry.core.errors import Damaged
from tenantry.store.engine import Engine, Survey
from tenantry.store.schema import Dialects

TABLES = Survey(
    "tables",
    Dialects("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name", ""),
)
_QUICK_CHECK = Survey(
    "quick_check", Dialects("SELECT quick_check FROM pragma_quick_check(:name) LIMIT 1", ""), {"name": str}
)


async def damage_of(engine: Engine, table: str) -> str:
    """What is wrong with a table's pages (`PRAGMA quick_check`); empty if nothing is. Indexes are not held against rows."""
    try:
        said = str((await engine.survey(_QUICK_CHECK, name=table))[0][0])
    except Damaged as error:
        return error.message
    return "" if said == "ok" else said.replace("\n", " ")
