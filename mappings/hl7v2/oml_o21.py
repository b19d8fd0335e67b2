"""OML^O21: laboratory orders, with their specimens (SPM) and prior results. Read as ORM^O01.

Source: HL7 v2.5.1 chapter 4.4.6; HL7/v2-to-fhir map "OML_O21".
"""

from __future__ import annotations

from mappings.hl7v2.orm_o01 import entries

__all__ = ["entries"]
