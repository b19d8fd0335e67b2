"""A patient's course played: each act sent, and readiness read back from the service, rule by rule.

Which acts there are is decided in `patients`; a patient of a trained pack is played by `play`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.demo.acts import Course, Expected, Images, Message, Transaction
from workers.demo.timeline import NotVerified, Timeline, standing

_STATIONS = {"ready": "ready", "waiting": "waiting for", "not_eligible": "not eligible"}
_VERDICTS = {"met": "met", "not_met": "not met", "unknown": "unknown"}
_GATING = ("predict", "both")


@dataclass(slots=True)
class CoursePlay:
    """A course as it goes.

    Attributes:
        readiness: What each protocol said whenever it was asked: state, when, every rule.
        resources: Nothing: no result is written where no model is trained.
    """

    timeline: Timeline
    course: Course
    readiness: list[dict[str, Any]] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> str:
        """The study's number."""
        return self.course.registry

    @property
    def title(self) -> str:
        """What the study asks."""
        return self.course.title

    @property
    def number(self) -> str:
        """Medical record number."""
        return self.course.who.number

    def run(self) -> None:
        """Play every act.

        Raises:
            NotVerified: A step could not be read back.
        """
        who = self.course.who
        family, given, _roman = who.name
        for place, act in enumerate(self.course.acts):
            match act:
                case Message():
                    self.timeline.hl7(act.what, act.build)
                case Transaction():
                    self.timeline.fhir(act.what, act.bundle)
                case Images():
                    self.timeline.stow(act.what, act.instances())
                case Expected():
                    self._expect(act)
            if not place:
                self.timeline.known(who.number)
                told = f"the patient is known: {family}{given}, {who.number}"
                self.timeline.tell("mapped", told)

    def _expect(self, expected: Expected) -> None:
        """Wait until all is applied and readiness is as it should be, and tell it."""
        self.timeline.settled()
        seen: dict[str, Any] = {}
        try:
            for _ in self.timeline.trying(f"{expected.protocol} is not {expected.state}"):
                seen = (self.timeline.readiness(self.course.who.number) or {}).get(
                    expected.protocol, {}
                )
                if seen and (seen["state"], _open(seen)) == (expected.state, expected.open_rules):
                    break
        except NotVerified:
            # What was said instead tells which rule it is about.
            self._tell(expected.protocol, seen)
            raise
        self._tell(expected.protocol, seen)

    def _tell(self, protocol: str, seen: dict[str, Any]) -> None:
        if not seen:
            return
        gating, state = [r for r in seen["rules"] if r["scope"] in _GATING], seen["state"]
        met = sum(r["verdict"] == "met" for r in gating)
        told = f"{protocol}: {met} of {len(gating)} rules met"
        self.timeline.tell(_STATIONS[state], told)
        # While something is missing, what is missing is what one wants to read.
        shown = seen["rules"] if state == "ready" else [r for r in gating if r["verdict"] != "met"]
        for rule in shown:
            aside = "" if rule["scope"] in _GATING else " (defines cohorts only)"
            told = f"  {rule['rule']}: {rule['text']}{aside}: {rule['reason']}"
            self.timeline.tell(_VERDICTS[rule["verdict"]], told)
        if state == "ready":
            self.timeline.tell("inputs", _inputs(seen["inputs"]))
        self.readiness.append(standing(seen, self.timeline))


def _inputs(told: Sequence[Mapping[str, Any]]) -> str:
    """How many inputs a model would find, and which it would do without."""
    gone = [one["display"] for one in told if not one["present"]]
    without = f"; without {', '.join(gone)}" if gone else ""
    return f"{len(told) - len(gone)} of {len(told)} there{without}"


def _open(seen: dict[str, Any]) -> frozenset[str]:
    rules = seen["rules"]
    return frozenset(r["rule"] for r in rules if r["scope"] in _GATING and r["verdict"] != "met")
