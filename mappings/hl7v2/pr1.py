"""PR1: operations and biopsies that travel with ADT, as procedures.

Source: HL7 v2.5.1 chapter 6.5.4; table 0206; HL7/v2-to-fhir segment map "PR1[Procedure]".
"""

from __future__ import annotations

from mappings import keys
from mappings.codes import LOCAL, system_uri
from mappings.hl7v2.er7 import Segment
from mappings.hl7v2.reading import Reading
from mappings.record import Code, Coded, Entry, When

_MAPPED = frozenset({1, 2, 3, 4, 5, 19, 20})


def read(reading: Reading, pr1: Segment, issued: When | None) -> list[Entry]:
    """One procedure, known by its own number, else by its code and time."""
    reading.leftovers(pr1, _MAPPED)
    concept = reading.concept(pr1.field(3))
    described = reading.text(pr1, 4)
    text = concept.text or described
    code, method = concept.code, reading.part(pr1, 2)
    if code is not None and code.system == f"{LOCAL}L" and method:
        code = Code(system_uri(method), code.code, code.display or text)
    name = code.code if code else text
    if not name:
        reading.note(f"PR1[{pr1.number}]", "procedure without code and text", "error")
        return []
    done = reading.when(pr1, 5)
    return [
        Entry(
            "procedure",
            keys.procedure(name, reading.order_number(pr1.field(19)), done),
            reading.patient,
            reading.source,
            pr1.path(3),
            "deleted" if reading.part(pr1, 20).upper() == "D" else "final",
            code,
            concept.alternates,
            Coded(concept.codings, text),
            done,
            issued,
            details={"description": described} if described not in ("", text) else {},
        )
    ]
