"""Hostile texts on their whole way: into an event, through a database, out with an export and into a spreadsheet."""

import hashlib
import json
from pathlib import Path

from tenantry.audit.verify import verify_export
from tenantry.cli.demo import ledger
from tests.stand.organizations import Organization

HOSTILE: dict[str, str] = {
    "line breaks": "a\r\nb\u2028c\u2029d\x85e",
    "terminal colour": "\x1b[31mred",
    "nul": "a\0b",
    "right to left override": "user\u202egnp.exe",
    "a lone surrogate": "a\ud800b",
    "a long text": "x" * 100_000,
}
CLEAN = ["a|b=c", "<134>1 forged", "=1+1", "CEF:0|a|b"]


async def test_aud_10_hostile_texts_are_one_line_each_through_a_database_and_an_export(
    acme: Organization, tmp_path: Path
) -> None:
    """AUD-10: what is stored and exported of each is one printable line, says that it was cut and of what, and verifies; what only
    looks like a record of another format is kept as it is."""
    texts = [*HOSTILE.values(), *CLEAN]
    for number, text in enumerate(texts):
        async with acme.begin() as w:
            ledger.add_entry(w, f"ledger_{number}", "cash", 1, note=text, payer=text)
    await acme.checkpointed()
    await acme.export(tmp_path / "out")
    assert verify_export(tmp_path / "out").size == 1 + len(texts)
    lines = (tmp_path / "out" / "events.jsonl").read_text("utf-8").split("\n")
    assert lines.pop() == ""
    assert len(lines) == 1 + len(texts)
    for line, text in zip(lines[1:], texts, strict=True):
        assert len(line.splitlines()) == 1
        assert line.isprintable()
        note = json.loads(line)["event"]["data"]["note"]
        if text in CLEAN:
            assert note == text
        else:
            assert note["sha256"] == hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            assert len(note["excerpt"]) < len(text) + 20
