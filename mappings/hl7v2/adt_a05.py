"""ADT_A05: pre-admit, pending admit and person updates (A05, A14, A28, A31).

Read as ADT_A01; the structures differ in segments that neither maps.
Source: HL7 v2.5.1 chapter 3.3.5.
"""

from __future__ import annotations

from mappings.hl7v2.adt_a01 import entries

__all__ = ["entries"]
