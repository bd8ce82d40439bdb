"""What was seen is counted, bounded, and shown to the organization it was seen of."""

import pytest

from tenantry.app.node import Node
from tenantry.protection import signals as room
from tenantry.protection.signals import OTHERS, SUBJECTS_MAX, SignalKind, Signals, signals
from tests.stand.organizations import Organization

ALL = {"kind": "", "before": "", "most": 1_000}


async def test_what_was_seen_is_written_as_counts_by_kind_and_subject(node: Node, acme: Organization) -> None:
    seen = Signals(node.journal, node.clock, node.ids)
    for _ in range(3):
        seen.note(acme.id, SignalKind.FORBIDDEN, "user_ann")
    seen.note(acme.id, SignalKind.UNKNOWN_ID, "user_ann")
    await seen.flush()
    rows = await signals(acme.reads, **ALL)
    assert {(row.kind, row.subject, row.count) for row in rows} == {
        ("forbidden", "user_ann", 3),
        ("unknown_id", "user_ann", 1),
    }
    assert [row.kind for row in await signals(acme.reads, "unknown_id", "", 10)] == ["unknown_id"]
    await seen.flush()
    assert len(await signals(acme.reads, **ALL)) == len(rows)


async def test_pro_12_a_million_signals_are_a_few_rows_and_no_other_organization_sees_less(
    node: Node, acme: Organization, globex: Organization
) -> None:
    """PRO-12: an attacker's flood is aggregated within bounds; what is real elsewhere is still seen."""
    seen = Signals(node.journal, node.clock, node.ids)
    for number in range(1_000_000):
        seen.note(acme.id, SignalKind.UNKNOWN_ID, f"user_{number % 5_000}")
    seen.note(globex.id, SignalKind.FORBIDDEN, "user_gus")
    await seen.flush()
    rows = await signals(acme.reads, **ALL)
    assert len(rows) == SUBJECTS_MAX + 1
    assert sum(row.count for row in rows) == 1_000_000
    assert OTHERS in {row.subject for row in rows}
    assert [row.subject for row in await signals(globex.reads, **ALL)] == ["user_gus"]


async def test_signals_are_forgotten_after_their_time(
    node: Node, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Signals(node.journal, node.clock, node.ids)
    seen.note(acme.id, SignalKind.FORBIDDEN, "user_ann")
    await seen.flush()
    monkeypatch.setattr(room, "KEPT_MS", -1_000)
    seen.note(acme.id, SignalKind.FORBIDDEN, "user_bob")
    await seen.flush()
    assert [row.subject for row in await signals(acme.reads, **ALL)] == ["user_bob"]


async def test_a_deleted_organization_keeps_nobody_elses_signals_from_being_written(
    node: Node, acme: Organization
) -> None:
    seen = Signals(node.journal, node.clock, node.ids)
    seen.note(node.ids.new("org"), SignalKind.FORBIDDEN, "user_x")
    seen.note(acme.id, SignalKind.FORBIDDEN, "user_ann")
    await seen.flush()
    assert [row.subject for row in await signals(acme.reads, **ALL)] == ["user_ann"]
