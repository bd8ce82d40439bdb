"""Consistency by revision, over HTTP, on two nodes: whoever names the revision of a write reads that write, wherever it asks."""

import pytest

from tenantry.access.routes import routes
from tenantry.app.config import Config
from tenantry.core.principal import Principal
from tests.access.stand import Caller, access_on, caller, service_of, wire_keys
from tests.stand.http import served

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


async def test_what_was_written_on_one_node_is_answered_on_the_other_to_whoever_names_its_revision(
    fresh: Config, rounds: int
) -> None:
    async with (
        access_on(fresh) as here,
        access_on(fresh) as there,
        served(here.node, fresh, routes=routes(service_of(here))) as first,
        served(there.node, fresh, routes=routes(service_of(there))) as second,
    ):
        writer = await caller(here, first)
        second.enter(writer.token, Principal(writer.id, writer.organization.id, None))
        reader = Caller(writer.organization, second, writer.token, writer.id)
        path = await writer.store()
        for n in range(10 * rounds):
            tuple_ = f"document:{n}#viewer@user:anne"
            written = await writer.write(path, tuple_)
            assert await reader.allows(path, tuple_, Tenantry_At_Least=written.headers["Tenantry-Revision"])
            removed = await writer.write(path, without=(tuple_,))
            assert not await reader.allows(path, tuple_, Tenantry_At_Least=removed.headers["Tenantry-Revision"])


async def test_a_revision_that_was_never_given_is_refused_and_the_newest_is_answered(fresh: Config) -> None:
    async with access_on(fresh) as here, served(here.node, fresh, routes=routes(service_of(here))) as server:
        acme = await caller(here, server)
        path = await acme.store()
        rev = int((await acme.write(path, "document:1#viewer@user:anne")).headers["Tenantry-Revision"])
        (asked,) = wire_keys("document:1#viewer@user:anne")
        body = {"tuple_key": asked}
        answer = await acme.post(f"{path}/check", body, Tenantry_At_Least=str(rev))
        assert (answer.json()["allowed"], int(answer.headers["Tenantry-Revision"]) >= rev) == (True, True)
        ahead = await acme.post(f"{path}/check", body, Tenantry_At_Least=str(rev + 1_000))
        assert ahead.status_code == 400
