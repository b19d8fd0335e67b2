"""OUL^R23: results by specimen container. Read as OUL^R22; the container is reported as unmapped.

Source: HL7 v2.5.1 chapter 7.3.5.
"""

from __future__ import annotations

from mappings.hl7v2.oul_r22 import entries

__all__ = ["entries"]
