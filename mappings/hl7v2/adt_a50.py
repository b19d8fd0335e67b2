"""ADT_A50: a visit gets another number (A50).

Read as all structures with MRG are.
Source: HL7 v2.5.1 chapter 3.3.50.
"""

from __future__ import annotations

from mappings.hl7v2.mrg import entries

__all__ = ["entries"]
