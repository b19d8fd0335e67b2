"""What the doctor says of the journal: the service's own, or left by one that died."""

from __future__ import annotations

from contextlib import closing

from whole_line import Line

from interop.ledger.journal import Journal
from workers.doctor import examine
from workers.settings import Settings


def told(settings: Settings) -> tuple[bool, str]:
    """The journal's line."""
    [found] = [finding for finding in examine(settings) if finding.part == "journal"]
    return found.ok, found.text


def test_the_journal_of_a_running_service_is_left_alone(line: Line):
    """Nobody opens it beside the service."""
    assert (True, "open by the service") == told(line.parts.settings)


def test_what_a_dead_service_left_is_said(line: Line):
    """Acknowledged messages wait: start the service."""
    folder = line.parts.settings.data_dir / "left"
    with closing(Journal(folder)) as journal:
        written = [(b"head", b"body")]
        journal.append(written)
    settings = Settings.from_environment(
        {"ONCORD_DATA_DIR": str(line.parts.settings.data_dir), "ONCORD_JOURNAL_DIR": str(folder),
         "ONCORD_SITE_FILE": str(line.parts.settings.site_file)}
    )  # fmt: skip
    ok, text = told(settings)
    assert (False, True) == (ok, "acknowledged wait" in text)
