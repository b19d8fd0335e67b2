"""ORU^R01: unsolicited results, as entries of the patient record.

Laboratory, pathology, radiology and genomic OBX; orders live in `orm_o01` and `oml_o21`.
Source: HL7 v2.5.1 chapter 7.3.1; HL7/v2-to-fhir map "ORU_R01".
"""

from __future__ import annotations

from mappings.hl7v2 import pid, results
from mappings.hl7v2.reading import Reading
from mappings.record import Entry

_SILENT = frozenset({"MSH", "ORC"})


def entries(reading: Reading) -> list[Entry]:
    """The entries of one ORU^R01, patient fields first.

    Raises:
        NoPatientIdentifier: No PID with an identifier of a known authority.
    """
    made: list[Entry] = []
    grouping = results.Grouping()
    for segment in reading.message.segments:
        if segment.name == "PID":
            # A second patient in one message: what came before is filed first.
            made += results.read(reading, grouping.groups)
            grouping = results.Grouping()
            made += pid.read(reading, segment, reading.sent)
        elif not grouping.take(reading, segment) and segment.name not in _SILENT:
            reading.unmapped(segment)
    reading.named("PID")
    return made + results.read(reading, grouping.groups)
