"""ADT_A18: merge patient information (A18), as versions before 2.3 say it.

Read as all structures with MRG are.
Source: HL7 v2.5.1 chapter 3.3.18.
"""

from __future__ import annotations

from mappings.hl7v2.mrg import entries

__all__ = ["entries"]
