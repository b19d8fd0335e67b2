"""ADT_A09: departing and arriving (A09, A10), and the cancelled admission (A11).

The first two say nothing of the status, the last takes the visit back. A12 has this structure in
version 2.4.

Read as ADT_A01; the structures differ in segments that none of them maps.
Source: HL7 v2.5.1 chapters 3.3.9 to 3.3.11.
"""

from __future__ import annotations

from mappings.hl7v2.adt_a01 import entries

__all__ = ["entries"]
