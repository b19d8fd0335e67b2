"""One synthetic patient of each study that has no trained pack: what is sent of them, in order.

The values are the cohorts' (`drawn`); how things travel is in the writers; `course` plays it and
reads it back. Source: models.md 1 and 4; the protocols in `inference/protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from workers.demo.acts import Course
from workers.demo.patients import breast, colon, liver, pan

COURSES: Mapping[str, Callable[[int, datetime], Course]] = {
    "liver_px": liver.liver_px,
    "hcc": liver.hcc,
    "crlm": colon.crlm,
    "breast": breast.breast,
    "pan": pan.pan,
}
