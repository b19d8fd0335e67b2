"""ADT_A45: visits go over to another patient or account (A45).

Read as all structures with MRG are.
Source: HL7 v2.5.1 chapter 3.3.45.
"""

from __future__ import annotations

from mappings.hl7v2.mrg import entries

__all__ = ["entries"]
