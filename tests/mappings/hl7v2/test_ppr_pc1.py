"""Problems: stated, changed and deleted by action code."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, obx, segment

from mappings.record import Entry


def prb(action: str = "AD", **fields: str) -> str:
    """A PRB of hepatocellular carcinoma."""
    given = {"f2": "20261125085500+0800", "f3": "109841003^肝细胞癌^SCT", "f4": "PB77^EMR"}
    return segment("PRB", f1=action, **{**given, **fields})


def condition(found: Any) -> Entry:
    """The one problem."""
    (entry,) = (e for e in found.entries if e.kind == "condition")
    return entry


@pytest.mark.parametrize(
    ("event", "action", "status"),
    [
        *(("PC1", action, "final") for action in ("AD", "CO", "LI", "UC", "UN", "UP", "")),
        ("PC2", "UP", "final"),
        ("PC3", "DE", "deleted"),
    ],
)
def test_the_action_code_says_whether_a_problem_stands(
    read: Any, event: str, action: str, status: str
) -> None:
    """Table 0287, row by row: problems are no snapshot."""
    found = read(f"PPR^{event}", PID, prb(action), f18="UNICODE UTF-8")
    assert status == condition(found).status


def test_a_deleted_problem_is_gone(read: Any, folded: Any) -> None:
    """PRB-2 orders the two."""
    added = read("PPR^PC1", PID, prb())
    deleted = read("PPR^PC3", PID, prb("DE", f2="20261126085500+0800"))
    assert () == folded(deleted, added).of_kind("condition")


def test_the_onset_is_when_the_problem_began(read: Any) -> None:
    """PRB-16, else PRB-7; a partial date stays partial."""
    began = condition(read("PPR^PC1", PID, prb(f7="20261124", f16="202610")))
    known = condition(read("PPR^PC1", PID, prb(f7="20261124")))
    assert ("2026-10", "2026-11-24") == (began.effective.isoformat(), known.effective.isoformat())


def test_a_problem_that_ended_is_resolved(read: Any) -> None:
    """PRB-9."""
    found = condition(read("PPR^PC2", PID, prb("UP", f9="20270101")))
    assert ("resolved", "2027-01-01") == (found.details["clinical"], found.details["abated"])


@pytest.mark.parametrize("sent", ["Provisional", "P^Differential^L"])
def test_a_problem_that_is_not_confirmed_is_preliminary(read: Any, sent: str) -> None:
    """PRB-13."""
    assert "preliminary" == condition(read("PPR^PC1", PID, prb(f13=sent))).status


def test_comments_and_observations_of_a_problem_are_kept(read: Any) -> None:
    """NTE with the problem, OBX as an observation."""
    found = read("PPR^PC1", PID, prb(), "NTE|1||BCLC A期", obx(), f18="UNICODE UTF-8")
    assert ["BCLC A期"] == condition(found).details["notes"]
    assert 1 == len([e for e in found.entries if e.kind == "observation"])
