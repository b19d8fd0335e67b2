"""ADT_A21: leave of absence and back (A21, A22), and what is taken back of a visit.

A23 and A27 take the visit back, A25 and A26 only a plan, A32 and A33 a tracking event. A29, which
deletes a person, is not mapped: nothing is unlearnt by a message.

Read as ADT_A01; the structures differ in segments that none of them maps.
Source: HL7 v2.5.1 chapters 3.3.21 to 3.3.27, 3.3.32, 3.3.33.
"""

from __future__ import annotations

from mappings.hl7v2.adt_a01 import entries

__all__ = ["entries"]
