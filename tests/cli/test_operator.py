"""The operator's commands against a server in a process of its own: by the socket on SQLite, by the enrolled key on PostgreSQL."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenantry.app.config import load
from tenantry.app.enrollment import FILE
from tenantry.cli.server import running
from tests.cli.conftest import Ran, Shell
from tests.cli.test_serve import serving

MANIFEST = """
tenantry: 1
owner: platform
applications:
  Atlas:
    kind: first_party
    redirect_uris: [https://atlas.example/back]
    model: |
      model
        schema 1.1
      type user
      type document
        relations
          define owner: [user]
          define viewer: [user] or owner
    roles:
      document:
        editor: [viewer]
resources:
  https://api.atlas.example/:
    name: Atlas API
    scopes: [read]
"""
MODEL = {
    "schema_version": "1.1",
    "type_definitions": [
        {"type": "user"},
        {
            "type": "doc",
            "relations": {"viewer": {"this": {}}},
            "metadata": {"relations": {"viewer": {"directly_related_user_types": [{"type": "user"}]}}},
        },
    ],
}


class Operated(msgspec.Struct, frozen=True, eq=False):
    """A deployment whose server runs."""

    shell: Shell
    env: dict[str, str]

    def __call__(self, *arguments: str | Path) -> Ran:
        """Run a command."""
        return self.shell(*arguments, env=self.env)

    def on_terminal(self, *arguments: str | Path) -> Ran:
        """The same with stdout on a terminal."""
        return self.shell.on_terminal(*arguments, env=self.env)

    def ask(self, method: str, path: str, body: object = None, *, organization: str = "") -> Any:
        """One request as the operator, within an organization."""
        config = load(self.shell.folder / "tenantry.toml", self.env)
        with running(config) as server, server.entered(organization, "set up") as inside:
            return msgspec.json.decode(inside.ask(method, path, msgspec.Raw, body))

    def organization(self) -> str:
        """A fresh organization."""
        made = self.ask("POST", "/v1/organizations", {"name": "Acme", "owner": {"email": "anne@acme.example"}})
        return made["organization"]["id"]

    def write(self, text: str) -> Path:
        """A file of a manifest."""
        path = self.shell.folder / "atlas.yaml"
        path.write_text(text)
        return path


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def operated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A running server on each database, which the tests of this file share."""
    shell = Shell(tmp_path_factory.mktemp("operated"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    env = {"TENANTRY_HTTP_LISTEN": address}
    where: tuple[str, ...] = ()
    if request.param == "postgres":
        cluster = request.getfixturevalue("cluster")
        cluster.create_database("operated")
        where = ("--postgres", cluster.conninfo("operated"))
    made = shell("init", "--issuer", f"http://{address}", "--development", *where)
    assert made.status == 0, made.err
    with serving(shell, env):
        yield Operated(shell, env)


def test_a_file_is_applied_once_and_a_second_run_changes_nothing(operated: Operated) -> None:
    file = operated.write(MANIFEST)
    done = operated("apply", file, "--yes")
    assert done.status == 0, done.err
    assert [(step["action"], step["kind"]) for step in done.answer["steps"]] == [
        ("add", "application"),
        ("add", "model"),
        ("add", "resource"),
    ]
    again = operated("apply", file)  # nothing to agree to
    assert (again.status, again.answer["steps"], again.answer["revision"]) == (0, [], done.answer["revision"])
    changed = operated("apply", operated.write(MANIFEST.replace("or owner", "")), "--yes")
    assert [step["details"] for step in changed.answer["steps"]] == [["~ document#viewer"]]
    assert operated("apply", operated.write(MANIFEST), "--yes").status == 0


def test_a_plan_that_nobody_agreed_to_is_not_made(operated: Operated) -> None:
    file = operated.write(MANIFEST.replace("Atlas:", "Unwanted:"))
    refused = operated("apply", file)
    assert refused.status == 1
    assert "--yes" in refused.err
    assert "Unwanted" not in json.dumps(operated.ask("GET", "/v1/applications"))


def test_a_person_is_shown_the_plan_and_the_tree_of_reasons(operated: Operated) -> None:
    file = operated.write(MANIFEST.replace("Atlas:", "Shown:").replace("api.atlas", "shown.atlas"))
    shown = operated.on_terminal("apply", file, "--yes")
    assert shown.status == 0, shown.err
    first = next(line for line in shown.out.splitlines() if "application" in line)
    assert "+" in first
    assert "Shown" in first
    assert "3 changes" in shown.out
    assert "Nothing to do" in operated.on_terminal("apply", file).out


def test_an_unknown_key_is_refused_with_its_place(operated: Operated) -> None:
    refused = operated("apply", operated.write(MANIFEST.replace("    kind:", "    knd: mcp\n    kind:")), "--yes")
    assert refused.status == 2
    assert "applications.Atlas" in refused.err
    assert "knd" in refused.err


def test_a_file_of_an_organization_is_applied_within_it_and_its_log_says_so(operated: Operated) -> None:
    org = operated.organization()
    done = operated("apply", operated.write(MANIFEST.replace("owner: platform", f"owner: {org}")), "--yes")
    assert (done.status, len(done.answer["steps"])) == (0, 3), done.err
    named = operated.ask("GET", "/v1/applications", organization=org)["items"]
    assert [one["org"] for one in named] == [org]
    unknown = operated("apply", operated.write(MANIFEST.replace("owner: platform", f"owner: {org[:-1]}!")), "--yes")
    assert unknown.status == 1


def test_stores_in_an_application_follow_its_newest_model_and_are_moved_once(operated: Operated) -> None:
    text = MANIFEST.replace("Atlas:", "Followed:").split("resources:")[0]
    first = operated("apply", operated.write(text), "--yes")
    assert first.status == 0, first.err
    application = first.answer["applications"]["Followed"]
    tenants = [operated.organization() for _ in range(2)]
    stores = {
        org: operated.ask("POST", f"/v1/applications/{application}/stores", {"name": "docs"}, organization=org)
        for org in tenants
    }
    file = operated.write(text.replace("or owner", ""))
    done = operated("apply", file, "--yes").answer
    assert (done["moved"], done["behind"]) == (2, 0)
    for org, made in stores.items():
        path = f"/v1/stores/{made['id']}/check"
        body = {"subject": "user:anne", "relation": "viewer", "object": "document:1"}
        assert operated.ask("POST", path, body, organization=org)["model"] > made["model"]
    assert operated("apply", file).answer["moved"] == 0


def test_check_says_whether_and_why_and_ends_with_it(operated: Operated) -> None:
    org = operated.organization()
    store = operated.ask("POST", "/stores", {"name": "docs"}, organization=org)["id"]
    operated.ask("POST", f"/stores/{store}/authorization-models", MODEL, organization=org)
    writes = {"tuple_keys": [{"user": "user:anne", "relation": "viewer", "object": "doc:1"}]}
    operated.ask("POST", f"/stores/{store}/write", {"writes": writes}, organization=org)
    asked = ("viewer", "doc:1", "--organization", org)
    allowed = operated("check", store, "user:anne", *asked)
    assert (allowed.status, allowed.answer["allowed"]) == (0, True), allowed.err
    denied = operated("check", f"store_{store}", "user:bob", *asked, "--explain")
    assert (denied.status, denied.answer["answer"]["allowed"]) == (1, False)
    (((missing,),),) = [denied.answer["explanation"]["missing"]]
    assert (missing["user"], missing["relation"], missing["object"]) == ("user:bob", "viewer", "doc:1")
    drawn = operated.on_terminal("check", store, "user:bob", *asked, "--explain")
    assert (drawn.status, "denied" in drawn.out) == (1, True)
    assert "would be allowed with" in drawn.out
    elsewhere = operated("check", store, "user:anne", "viewer", "doc:1")
    assert (elsewhere.status, elsewhere.out) == (1, "")


def test_gone_is_proved_once_it_was_ended_and_its_receipt_verifies_without_the_server(operated: Operated) -> None:
    org = operated.organization()
    service = operated.ask("POST", "/v1/services", {"name": "worker"}, organization=org)["id"]
    operated.ask("POST", f"/v1/workloads/{service}/secrets", {}, organization=org)
    alive = operated("access", "prove-gone", service, "--organization", org)
    assert (alive.status, alive.answer["gone"], alive.answer["live"]) == (4, False, 1), alive.err
    operated.ask("POST", f"/v1/services/{service}/deactivate", {"reason": "left"}, organization=org)
    gone = operated("access", "prove-gone", service, "--organization", org)
    assert (gone.status, gone.answer["gone"]) == (0, True), gone.out
    kept = operated.shell.folder / "gone.json"
    kept.write_text(gone.out)
    assert operated.shell("access", "receipt", kept).answer["branch"] == service
    forged = json.loads(gone.out)
    forged["receipt"][0]["items"][0]["at"] = "2020-01-01T00:00:00.000Z"
    kept.write_text(json.dumps(forged))
    assert operated.shell("access", "receipt", kept).status == 4


def test_a_server_that_does_not_run_is_said(deployed: Shell) -> None:
    refused = deployed("check", "store", "user:anne", "viewer", "doc:1")
    assert refused.status == 3
    assert "does not run" in refused.err


def test_on_postgresql_init_enrolls_a_key_once_that_only_its_user_can_read(
    tenantry: Shell, empty_database: Callable[[], str]
) -> None:
    url = empty_database()
    first = tenantry("init", "--issuer", "http://127.0.0.1:1", "--development", "--postgres", url)
    key = tenantry.folder / "state" / FILE
    assert "operator's key" in [made["what"] for made in first.answer["made"]]
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    assert tenantry("init").answer["made"] == []
    assert key.read_bytes() == before
    key.chmod(0o644)
    refused = tenantry("check", "store", "user:anne", "viewer", "doc:1")
    assert refused.status == 1
    assert "may be used by others" in refused.err
    assert os.fspath(key) in refused.err
