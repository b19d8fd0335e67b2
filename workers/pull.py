"""Pulling studies from the site's PACS, one after the other, through our own STOW door."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from interop.errors import InteropError
from interop.pacs import FoundStudy, Pulled
from workers.parts import pacs_of
from workers.settings import BadSettings, Settings
from workers.site_file import read


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one study; `pulled` is None when it did not come."""

    study_instance_uid: str
    pulled: Pulled | None
    reason: str = ""

    @property
    def whole(self) -> bool:
        """Whether all of it is here."""
        return self.pulled is not None and self.pulled.whole


class Pull:
    """One run of the command.

    Raises:
        BadSettings: The site file names no PACS.
    """

    def __init__(self, settings: Settings) -> None:
        source = read(settings.site_file).pacs
        if source is None:
            raise BadSettings("the site file has no [pacs]")
        self._pacs = pacs_of(source)
        self._store = settings.store_url(source.path)
        self._token = min(settings.api_tokens, default=None)

    def find(self, studies: Sequence[str], accessions: Sequence[str]) -> list[FoundStudy]:
        """What the PACS holds of what is asked for; what it does not hold counts none.

        Raises:
            PeerUnavailable: The PACS does not answer.
        """
        asked = [{"StudyInstanceUID": uid} for uid in studies]
        asked += [{"AccessionNumber": number} for number in accessions]
        missing = [FoundStudy(next(iter(a.values())), 0) for a in asked]
        return [
            one
            for filters, absent in zip(asked, missing, strict=True)
            for one in self._pacs.find(filters) or [absent]
        ]

    def pull(self, found: Sequence[FoundStudy]) -> Iterator[Outcome]:
        """One study after the other; one that fails does not hold the others."""
        for study in found:
            if study.instances == 0:
                yield Outcome(study.study_instance_uid, None, "the PACS does not have it")
                continue
            try:
                done = self._pacs.pull(study, self._store, self._token)
            except InteropError as error:
                yield Outcome(study.study_instance_uid, None, str(error))
            else:
                yield Outcome(study.study_instance_uid, done)
