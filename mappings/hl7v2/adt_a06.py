"""ADT_A06: an outpatient becomes an inpatient and back (A06, A07): the class of the visit changes.

Read as ADT_A01; the structures differ in segments that none of them maps.
Source: HL7 v2.5.1 chapters 3.3.6, 3.3.7.
"""

from __future__ import annotations

from mappings.hl7v2.adt_a01 import entries

__all__ = ["entries"]
