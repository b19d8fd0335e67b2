"""MDM_T01: what becomes of a document, without its content (T01, T03, T05, T07, T09, T11).

Read as MDM_T02: senders that put content into a notification are understood too.
Source: HL7 v2.5.1 chapter 9.5.
"""

from __future__ import annotations

from mappings.hl7v2.mdm_t02 import entries

__all__ = ["entries"]
