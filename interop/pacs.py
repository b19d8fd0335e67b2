"""The PACS as a source: studies found by QIDO-RS, fetched by WADO-RS, handed to our own STOW door.

What WADO-RS answers is what STOW-RS asks for, multipart/related of Part 10 objects: the bytes go
through untouched and unheld, and a pulled study enters by the same door as a pushed one.
Source: PS3.18 10.4 (retrieve), 10.6 (search); PS3.18 8.7.3 (transfer syntax); reliability.md F11.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import requests
from dicomweb_client.api import DICOMwebClient

from interop.errors import InteropError, PeerUnavailable, Refused

_ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_COUNT = "00201208"  # Number of Study Related Instances
_UID = "0020000D"
_NOT_FOUND = 404
_STORED = (200, 202)


@dataclass(frozen=True, slots=True, kw_only=True)
class PacsEndpoint:
    """One DICOMweb origin server.

    Attributes:
        base_url: Without a trailing slash; `{base_url}/studies` is searched.
        token: Gives a bearer token, or None.
        timeout_s: Most seconds without a byte.
        study_s: Most seconds for one study, whatever comes meanwhile.
    """

    base_url: str
    token: Callable[[], str] | None = None
    timeout_s: float = 30.0
    study_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study the PACS holds; `instances` is None where it does not count them."""

    study_instance_uid: str
    instances: int | None


@dataclass(frozen=True, slots=True)
class Pulled:
    """What our STOW door said of a pulled study."""

    study_instance_uid: str
    expected: int | None
    stored: int
    refused: int

    @property
    def whole(self) -> bool:
        """Whether everything the PACS counts is here."""
        return not self.refused and (self.expected is None or self.stored >= self.expected)


class Pacs:
    """Pulls studies from one PACS.

    Args:
        endpoint: Where it is.
        client: HTTP client, redirects off (a token is bound to one origin).
    """

    def __init__(self, endpoint: PacsEndpoint, client: httpx.Client) -> None:
        self._endpoint, self._client = endpoint, client

    def find(self, filters: Mapping[str, str]) -> list[FoundStudy]:
        """Studies that match attributes by keyword: StudyInstanceUID, AccessionNumber, PatientID.

        Raises:
            PeerUnavailable: No answer within the time, or one that is not QIDO-RS.
        """
        found = _within(self._endpoint.timeout_s, lambda: self._search(filters))
        return [
            FoundStudy(_first(item, _UID), _count(item)) for item in found if _first(item, _UID)
        ]

    def pull(self, study: FoundStudy, store_url: str, token: str | None) -> Pulled:
        """Hand one study to our own STOW door.

        Args:
            study: As found.
            store_url: Its `…/studies`.
            token: Bearer token of that door, or None.

        Raises:
            Refused: The PACS does not have it, or our door does not take it.
            PeerUnavailable: It broke off; what arrived was not kept, pull it again.
        """
        url = f"{self._endpoint.base_url}/studies/{study.study_instance_uid}"
        headers = {"accept": _ANY_SYNTAX, **_bearer(self._endpoint.token)}
        until = time.monotonic() + self._endpoint.study_s
        timeout = self._endpoint.timeout_s
        try:
            with self._client.stream("GET", url, headers=headers, timeout=timeout) as answer:
                _refuse("PACS", answer)
                kind = {"content-type": answer.headers.get("content-type", "")}
                if token:
                    kind["authorization"] = f"Bearer {token}"
                stored = self._client.post(
                    store_url, content=_until(until, answer), headers=kind, timeout=timeout
                )
        except httpx.HTTPError as error:
            raise PeerUnavailable(f"{type(error).__name__} while pulling a study") from error
        if stored.status_code not in _STORED:
            _refuse("our STOW door", stored)
        dataset: dict[str, Any] = stored.json()
        return Pulled(
            study.study_instance_uid,
            study.instances,
            stored=len(dataset.get("00081199", {}).get("Value", ())),
            refused=len(dataset.get("00081198", {}).get("Value", ())),
        )

    def _search(self, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        session = requests.Session()
        session.trust_env = False  # a proxy variable must not redirect patient data
        session.headers.update(_bearer(self._endpoint.token))
        try:
            client = DICOMwebClient(self._endpoint.base_url, session=session)
            return list(client.search_for_studies(fields=[_COUNT], search_filters=dict(filters)))
        except (requests.RequestException, ValueError) as error:
            raise PeerUnavailable(f"{type(error).__name__} while searching studies") from error
        finally:
            session.close()


def _within(seconds: float, ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """An answer of dicomweb-client, which has no deadline of its own."""
    answer: list[dict[str, Any]] = []
    failed: list[InteropError] = []

    def asking() -> None:
        try:
            answer.extend(ask())
        except InteropError as error:
            failed.append(error)

    thread = threading.Thread(target=asking, name="qido", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise PeerUnavailable("PACS does not answer the search")
    if failed:
        raise failed[0]
    return answer


def _until(deadline: float, answer: httpx.Response) -> Iterator[bytes]:
    """The body's pieces; a PACS that drips does not hold us for ever."""
    for piece in answer.iter_bytes():
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the study took too long")
        yield piece


def _refuse(who: str, answer: httpx.Response) -> None:
    status = answer.status_code
    if status in (429, 503) or status >= 500:  # noqa: PLR2004  server errors
        raise PeerUnavailable(f"{who} answered {status}")
    if status == _NOT_FOUND:
        raise Refused(f"{who} does not have the study", status)
    if status >= 300:  # noqa: PLR2004  redirects are off on purpose
        raise Refused(f"{who} answered {status}", status)


def _bearer(token: Callable[[], str] | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token()}"} if token else {}


def _first(item: Mapping[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _count(item: Mapping[str, Any]) -> int | None:
    text = _first(item, _COUNT)
    return int(text) if text.isdigit() else None
