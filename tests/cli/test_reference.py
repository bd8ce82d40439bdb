"""The reference says what the declarations say."""

from pathlib import Path

from tenantry.cli import reference

PAGES = Path(__file__).parents[2] / "docs" / "reference"
AGAIN = "run `python -m tenantry.cli.reference docs/reference`"


def test_the_reference_of_the_commands_is_current() -> None:
    assert (PAGES / "cli.md").read_text() == reference.commands(), AGAIN


def test_the_reference_of_the_configuration_is_current() -> None:
    assert (PAGES / "configuration.md").read_text() == reference.configuration(), AGAIN


def test_the_reference_of_the_events_is_current() -> None:
    assert (PAGES / "events.md").read_text() == reference.events(), AGAIN


def test_every_setting_is_explained() -> None:
    rows = [line for line in reference.configuration().splitlines() if line.startswith("| `")]
    assert len(rows) == 17
    assert all(row.split("|")[4].strip() for row in rows)
