"""ADT_A39: merge of persons, patients, accounts and visits (A39 to A42), which may repeat.

Read as all structures with MRG are.
Source: HL7 v2.5.1 chapter 3.3.39.
"""

from __future__ import annotations

from mappings.hl7v2.mrg import entries

__all__ = ["entries"]
