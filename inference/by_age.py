"""A laboratory value as children and adults are compared: against the healthy of its age and sex.

Source: model-rules 3; the intervals are in `reference_intervals`.
"""

from __future__ import annotations

from inference import matching, quantities, reference_intervals
from inference.protocol import Input
from mappings.record import Entry, PatientRecord, When


def rests_on(record: PatientRecord) -> tuple[Entry, ...]:
    """What such a value depends on beside itself: birth date and sex."""
    found = (record.demographic(name) for name in ("birth_date", "sex"))
    return tuple(entry for entry in found if entry is not None and entry.source.origin != "own")


def z(wanted: Input, entry: Entry, record: PatientRecord) -> tuple[float | None, str]:
    """SD of the healthy of this age and sex above their median, or None and why there is none.

    Age is that of the sample; of a birth date that is known in part, the middle.
    """
    value = quantities.of_entry(wanted, entry)
    told = {e.key.removeprefix("patient/"): e for e in rests_on(record)}
    birth = told.get("birth_date")
    if value is None or entry.effective is None:
        return None, "received, but not as a dated number"
    if birth is None or not isinstance(birth.value, When):
        return None, "the age is not known, by which it is judged"
    least, greatest = matching.age_years(birth.value, entry.effective.earliest)
    sex = matching.sex(told["sex"]) if "sex" in told else None
    code = next(code for code in wanted.codes if entry.has_code(code))
    found = reference_intervals.z(code, value, wanted.unit, (least + greatest) / 2, sex)
    return found, "" if found is not None else "no reference interval for this age and sex"
