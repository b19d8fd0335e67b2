"""The liver patient, whose pack is trained: through every door up to the amended report.

Verified by reading back: from the service for what was received and judged, from the EHR for what
a clinician would see.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from mappings.outbound.result import SYNTHETIC_WORDS
from workers.demo import ct, hospital
from workers.demo.drawn import liver_patient
from workers.demo.hospital import AFP, Chart
from workers.demo.stage import EhrServer
from workers.demo.timeline import NotVerified, Timeline, standing

PACK = "liver_dx"
_RAISED_AFP = 400
_LABS_WITHOUT_AFP = (
    "1751-7",
    "1975-2",
    "14631-6",
    "1742-6",
    "1920-8",
    "777-3",
    "6301-6",
    "24108-3",
    "34444-0",
)


def chart(seed: int, now: datetime) -> Chart:
    """The patient of a seed, whose CT was done yesterday."""
    return hospital.chart(liver_patient(seed), t0=now - timedelta(hours=20))


@dataclass(slots=True)
class LiverDx:
    """The patient's way as it goes.

    Attributes:
        readiness: What the pack said when it was ready: state, when, every rule.
        resources: What stands in the EHR at the end, by resource type.
    """

    timeline: Timeline
    who: Chart
    ehr: EhrServer
    registry: str = "NCT07658586"
    title: str = "malignancy of a liver lesion"
    readiness: list[dict[str, Any]] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """Medical record number."""
        return self.who.number

    def run(self) -> None:
        """Play every act.

        Raises:
            NotVerified: A step could not be read back.
        """
        self.ehr.ehr.store.transaction(hospital.fhir_history(self.who, ct.counts(self.who)))
        self.ehr.ehr.store.transaction(hospital.fhir_labs(self.who))
        self._register()
        self._history()
        self._labs()
        self._images()
        self._report()
        first = self._result()
        self._correct(first)

    def _register(self) -> None:
        self.timeline.hl7("ADT^A04 in GB18030", lambda i, now: hospital.adt_a04(self.who, i, now))
        self.timeline.known(self.who.number)
        self.timeline.tell("mapped", "the patient is known, with a Chinese name")

    def _history(self) -> None:
        bundle = hospital.fhir_history(self.who, ct.counts(self.who))
        told = "FHIR transaction of history: problem list, announced CT study"
        self.timeline.fhir(told, bundle)

    def _labs(self) -> None:
        have = [loinc for loinc in _LABS_WITHOUT_AFP if loinc in self.who.synthetic.labs]
        self.timeline.hl7(
            f"ORU^R01 with {len(have)} laboratory values",
            lambda i, now: hospital.oru_labs(self.who, i, now, loincs=have, filler="L1001"),
        )
        self._waiting("no CT")

    def _images(self) -> None:
        phases = len(self.who.synthetic.phases)
        self.timeline.stow(f"CT, {phases} phases", ct.instances(self.who))
        self._waiting("report", settled=lambda p: p.get("trigger"))

    def _report(self) -> None:
        self.timeline.hl7(
            "radiology report, ORU^R01", lambda i, now: hospital.oru_report(self.who, i, now)
        )
        self._waiting("Alpha-fetoprotein", settled=lambda p: len(p["waiting_for"]) == 1)

    def _result(self) -> dict[str, Any]:
        self.timeline.hl7(
            "the last input, AFP",
            lambda i, now: hospital.oru_labs(self.who, i, now, loincs=[AFP], filler="L1002"),
        )
        before = time.monotonic()
        report = self._in_ehr(lambda r: r["status"] == "preliminary")
        self._ready()
        self.timeline.tell("assessed", report["conclusion"].split(". ")[0] + ".")
        self.timeline.tell(
            "written", f"confirmed in the EHR {time.monotonic() - before:.2f} s after the answer"
        )
        self._check(report)
        return report

    def _correct(self, first: dict[str, Any]) -> None:
        wrong = self.who.synthetic.labs[AFP][0]
        right = (wrong * 40 if wrong < _RAISED_AFP else wrong / 40).quantize(Decimal("0.1"))
        self.timeline.hl7(
            f"corrected AFP, OBX-11 = C: {wrong} becomes {right} ng/mL",
            lambda i, now: hospital.oru_labs(
                self.who, i, now, loincs=[AFP], filler="L1002", status="C", values={AFP: right}
            ),
        )
        before = time.monotonic()
        report = self._in_ehr(lambda r: r["status"] == "corrected")
        if report["id"] != first["id"]:
            raise NotVerified("the correction made a second report")
        self.timeline.tell("assessed", report["conclusion"].split(". ")[0] + ".")
        self.timeline.tell(
            "amended", f"same report, next version, {time.monotonic() - before:.2f} s later"
        )
        self._check(report)

    def _check(self, report: dict[str, Any]) -> None:
        """Read everything back and compare: numbers, links, words."""
        risk_reference = next(
            e["valueReference"]["reference"]
            for e in report["extension"]
            if e["url"].endswith("diagnosticReport-risk")
        )
        risk = self._get(risk_reference)
        numbers = [self._get(r["reference"])["valueQuantity"]["value"] for r in report["result"]]
        told = [p["probabilityDecimal"] for p in risk["prediction"]]
        if sorted(numbers) != sorted(told) or abs(sum(told) - 100) > 0.1:  # noqa: PLR2004  per cent
            raise NotVerified("RiskAssessment and Observations tell different numbers")
        if SYNTHETIC_WORDS not in report["conclusion"]:
            raise NotVerified("the words on synthetic training are missing")
        if risk["status"] != report["status"]:
            raise NotVerified("RiskAssessment and DiagnosticReport differ in status")
        for resource in (report, risk):
            kind, resource_id = resource["resourceType"], resource["id"]
            self.resources[kind] = f"{self.ehr.base_url}/{kind}/{resource_id}"

    def _ready(self) -> None:
        """Tell what the pack said of its rules."""
        pack = (self.timeline.readiness(self.who.number) or {}).get(PACK)
        if pack is None or pack["state"] != "ready":
            raise NotVerified(f"{PACK} has a result and is not ready")
        self.readiness.append(standing(pack, self.timeline))
        self.timeline.tell("ready", f"every rule of {PACK} is met")

    def _get(self, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.ehr.base_url}/{reference}").json()
        return found

    def _waiting(self, what: str, settled: Callable[[dict[str, Any]], Any] = bool) -> None:
        """Wait until readiness names what is missing, and tell it."""
        for _ in self.timeline.trying(f"readiness does not wait for {what}"):
            pack = (self.timeline.readiness(self.who.number) or {}).get(PACK, {})
            reasons = pack.get("waiting_for") or ()
            if any(what.lower() in reason.lower() for reason in reasons) and settled(pack):
                more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                said = next(r for r in reasons if what.lower() in r.lower())
                self.timeline.tell("waiting for", said.removeprefix("waiting for ") + more)
                return

    def _in_ehr(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the EHR has the report, and return it as read from there."""
        about = {"patient": self.who.number.lower()}
        for _ in self.timeline.trying("no such report in the EHR"):
            answer = httpx.get(f"{self.ehr.base_url}/DiagnosticReport", params=about).json()
            for entry in answer.get("entry") or ():
                report: dict[str, Any] = entry["resource"]
                if wanted(report):
                    return report
        raise AssertionError
