"""ADT_A30: one person, patient or account merged (A30, A34 to A36) or numbered anew (A46 to A49).

Read as all structures with MRG are.
Source: HL7 v2.5.1 chapter 3.3.30.
"""

from __future__ import annotations

from mappings.hl7v2.mrg import entries

__all__ = ["entries"]
