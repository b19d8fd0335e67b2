"""ORU^R30 to R32: results at the point of care, whose order is placed, known or searched for later.

Read as ORU^R01: the order is there in OBR, whoever places it.
Source: HL7 v2.5.1 chapter 7.3.8 to 7.3.10.
"""

from __future__ import annotations

from mappings.hl7v2.oru_r01 import entries

__all__ = ["entries"]
