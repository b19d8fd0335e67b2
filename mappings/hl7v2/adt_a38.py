"""ADT_A38: cancelled pre-admission (A38), which takes the visit back.

Read as ADT_A01; the structures differ in segments that none of them maps.
Source: HL7 v2.5.1 chapter 3.3.38.
"""

from __future__ import annotations

from mappings.hl7v2.adt_a01 import entries

__all__ = ["entries"]
