"""ADT_A43: an identifier or an account goes over to another patient (A43, A44).

Read as all structures with MRG are.
Source: HL7 v2.5.1 chapter 3.3.43.
"""

from __future__ import annotations

from mappings.hl7v2.mrg import entries

__all__ = ["entries"]
