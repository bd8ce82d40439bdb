"""A node that may open no more files: what it is told is done whole or refused, and it recovers by itself."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.app.config import Config
from tenantry.core.errors import Unavailable, Unknown
from tests.faults.storage import until
from tests.stand.nodes import node_of
from tests.stand.organizations import open_organization


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process may open nothing until the end of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # what is open stays open
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgres", marks=pytest.mark.long)], indirect=True)
async def test_ops_21_without_file_descriptors_a_set_is_whole_or_refused_and_later_sets_go_through(
    fresh: Config,
) -> None:
    """OPS-21: no file can be opened, and on PostgreSQL every connection is broken: refused as Unavailable or Unknown, nothing half."""
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        if not fresh.database.file:
            given = {**conninfo_to_dict(fresh.database.migrator), "user": "postgres"}
            superuser = await psycopg.AsyncConnection.connect(make_conninfo("", **given), autocommit=True)
        else:
            superuser = None
        told: dict[str, Exception | None] = {}

        async def write(name: str) -> None:
            try:
                await (acme.add_member(name) if name.startswith("m") else acme.spend(name))
            except (Unavailable, Unknown) as error:
                told[name] = error
            else:
                told[name] = None

        with no_more_files():
            if superuser is not None:
                await superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tenantry_app' AND datname = current_database()"
                )
            await asyncio.gather(*(write(f"{kind} {n}") for n in range(20) for kind in "mv"))
        if superuser is not None:
            await superuser.close()
            assert any(isinstance(error, Unavailable) for error in told.values())
        else:
            assert set(told.values()) == {None}  # all that it needs is open

        async def works() -> bool:
            await write("m last")
            return told["m last"] is None

        await until(works, 10, "the node has descriptors again")
        held = await acme.holdings()
        there = {row.name for row in (*held.members, *held.vouchers)}
        assert {name for name, error in told.items() if error is None} <= there
        assert there <= {name for name, error in told.items() if not isinstance(error, Unavailable)}
        assert len(held.leaves) == 1 + len(there)
