"""How an EHR that takes results by HL7 v2 wants them. Source: writeback.md 2.7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Document = Literal["pdf", "html", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """How one EHR wants its results.

    Attributes:
        application: MSH-5; `facility` MSH-6.
        sender: MSH-3 and the namespace of OBR-3: our name there.
        version: MSH-12.
        document: What the ED holds.
        layout: OBX-5.1 to 5.4 of the ED; receivers differ.
    """

    application: str
    facility: str
    sender: str = "ONCORD"
    version: str = "2.5.1"
    document: Document = "pdf"
    layout: str = "^application^pdf^Base64"
