"""Cancer within a year of those who have none now (NCT06791473), with death competing.

The persons of `pan` without its headline, and what became of them: quarters of a year, each with a
hazard of cancer and of death. Everything was told before a gap; the last examination was as long
ago in those who fall ill as in those who do not. Source: models.md 1.1; model-rules 3 and 11.
"""

from __future__ import annotations

from dataclasses import replace

from inference.training.cohorts.onset import Onset
from inference.training.cohorts.outcome import Cause, Terms
from inference.training.cohorts.studies import pan
from inference.training.cohorts.studies.items import hospitals
from inference.training.cohorts.study import Profile

_READ = ("history", "labs", "note", "ct", "genes")
GAP_DAYS = 30
STUDY = replace(
    pan.STUDY,
    name="pan_1y",
    version="pan-1y-cohort/1",
    # Those who are left out had most of what hospitals differ by.
    sites=hospitals(0.8),
    outcome=Onset(
        competing=(
            Cause(
                "cancer",
                0.20,
                Terms(
                    weights=(
                        ("history", 0.45),
                        ("complaint", 1.2),
                        ("marker", 0.7),
                        ("inflammation", 0.4),
                        ("lesion", 0.95),
                        ("rim", 0.85),
                        ("germline", 0.6),
                    ),
                    interactions=(("lesion", "rim", 0.25), ("marker", "inflammation", 0.2)),
                    squares=(("marker", 0.15),),
                ),
            ),
            Cause("death", 0.03, Terms(weights=(("history", 0.6), ("inflammation", 0.3)))),
        ),
        natural=(0.005, 0.01, 0.02),
        # What was there already shows early; death has no such course.
        course=((0.5, 0.15, -0.2, -0.45), (0.0, 0.0, 0.0, 0.0)),
        horizon_months=12.0,
        dropout=0.06,
        follow_up_months=(6.0, 30.0),
    ),
    registry_events=replace(pan.STUDY.registry_events, codes=("C80.9", "R99")),
    profiles=(
        Profile("full", frozenset(_READ), -GAP_DAYS),
        Profile("without imaging", frozenset(_READ) - {"ct"}, -GAP_DAYS),
    ),
    free_of=pan.STUDY,
    gap_days=GAP_DAYS,
    wait_days=60,
)
