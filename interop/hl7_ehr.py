"""Carrier `oru`: results as ORU^R01 by MLLP, for an EHR without FHIR writes.

An attempt that was never answered is repeated under the same MSH-10, on which receivers tell
duplicates; there is nothing to look up and nothing to read back. Source: writeback.md 2.6, 2.7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from interop.ehr import Receipt, Subject, Written
from interop.errors import PatientNotConfirmed, PeerUnavailable, Refused
from interop.mllp_client import MllpClient
from mappings.outbound.oru_r01 import control_id, oru_r01
from mappings.outbound.receiver import Receiver
from mappings.outbound.result import Result


class Hl7Ehr:
    """Delivers results to one receiver.

    Args:
        receiver: How it wants them.
        client: The connection to it.
        now: Aware UTC clock.
    """

    name: str = "oru"

    def __init__(
        self, receiver: Receiver, client: MllpClient, *, now: Callable[[], datetime]
    ) -> None:
        self._receiver, self._client, self._now = receiver, client, now

    def deliver(
        self,
        result: Result,
        subject: Subject,
        *,
        previous: Mapping[str, Written],  # noqa: ARG002  OBR-3 is the same in every version
        uncertain: bool,  # noqa: ARG002  the same MSH-10 is sent again
    ) -> Receipt:
        """Send a result, and again until it is answered.

        Raises:
            PatientNotConfirmed: The EHR never told the patient by HL7.
            Refused: AR or CR.
            PeerUnavailable: No connection, AE or CE: try later.
            OutcomeUnknown: Sent, and not answered.
        """
        if subject.pid is None:
            raise PatientNotConfirmed("the EHR never sent this patient by HL7")
        message = oru_r01(result, self._receiver, subject.pid, now=self._now())
        number = control_id(result)
        answer = self._client.exchange(message, number)
        if answer.rejected:
            raise Refused(f"the receiver answered {answer.code}", 0)
        if not answer.accepted:
            raise PeerUnavailable(f"the receiver answered {answer.code}")
        return Receipt({"oru": Written(f"ORU/{result.filler}", number)})

    def look(
        self,
        result: Result,  # noqa: ARG002  the carrier's signature
        subject: Subject,  # noqa: ARG002  as above
        *,
        previous: Mapping[str, Written],  # noqa: ARG002  as above
    ) -> Receipt | None:
        """Nothing: what was overtaken is followed by its correction under the same OBR-3."""
        return None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
