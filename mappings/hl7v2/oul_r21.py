"""OUL^R21: laboratory automation results by order. Read as ORU^R01; containers are reported.

Source: HL7 v2.5.1 chapter 7.3.3.
"""

from __future__ import annotations

from mappings.hl7v2.oru_r01 import entries

__all__ = ["entries"]
