"""ADT_A16: pending discharge (A16), which says nothing of the status: nobody has left yet.

Read as ADT_A01; the structures differ in segments that none of them maps.
Source: HL7 v2.5.1 chapter 3.3.16.
"""

from __future__ import annotations

from mappings.hl7v2.adt_a01 import entries

__all__ = ["entries"]
