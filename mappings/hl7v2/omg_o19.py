"""OMG^O19: clinical orders, imaging among them. Read as ORM^O01.

Source: HL7 v2.5.1 chapter 4.4.4.
"""

from __future__ import annotations

from mappings.hl7v2.orm_o01 import entries

__all__ = ["entries"]
