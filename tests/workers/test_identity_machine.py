"""Nothing of one patient in another's record: any history of messages, against a naive model.

More examples: `pytest --hypothesis-profile soak tests/workers/test_identity_machine.py`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import charts
import pytest
from chart_model import Lab, Message, Model, Move, Patient, Word
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

NAMES = ("1", "2", "3", "4")
# The first three are one human registered three times, as far as anybody can see.
CHARTS = {
    "1": Patient(("1",), "1970-12-28", "male", "LI LEI"),
    "2": Patient(("2",), "1970-12-28", "male", "LI LEI"),
    "3": Patient(("3",), "1970-12-28", "male", "LI LEI"),
    "4": Patient(("4",), "1988-01-02", "female", "HAN MEI"),
}
# Whom the hospital gives a number to that another patient has already.
AGAIN = Patient(("",), "2001-09-10", "other", "SUN QI")
SEX = {"male": "female", "female": "male"}

name = st.sampled_from(NAMES)
country = st.sampled_from(["N1", "N2"])
time = st.integers(0, 30)
two = st.permutations(NAMES).map(lambda names: names[:2])
visit = st.sampled_from(["", "V1", "V2"])


class Identities(RuleBasedStateMachine):
    """A hospital's feed, in any order, with everything that goes wrong."""

    parts: ClassVar[Any]
    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        file = shutil.copy(self.template, self.home.name)
        self.charts = charts.opened(self.parts, f"sqlite:///{file}")
        self.model = Model()
        self.number = 0
        self.sent: list[Message] = []
        self.moments: list[datetime] = []

    def teardown(self) -> None:
        """As of every earlier moment the records are what they were."""
        try:
            for number, moment in enumerate(self.moments, 1):
                for one in (*NAMES, "N1", "N2"):
                    expected = self.model.record(one, number)
                    assert expected == self.charts.record(one, moment), (one, number)
        finally:
            self.charts.close()
            self.home.cleanup()

    def say(self, message: Message) -> None:
        """Send a message; the ledger and the model take it, or both set it aside."""
        self.number += 1
        self.charts.clock.forward(minutes=1)
        self.moments.append(self.charts.clock())
        self.sent.append(message)
        taken = self.model.arrive(self.number, message)
        state = self.charts.take(charts.er7(message, f"C{self.number}"))
        assert ("applied" if taken else "parked") == state

    @rule(who=name, also=st.none() | country, when=time, registers=st.booleans())
    def register_or_update(self, who: str, also: str | None, when: int, registers: bool) -> None:
        """A28 or A31, maybe with the country's number."""
        chart = CHARTS[who]
        names = (who, also) if also else (who,)
        self.say(Message(when, (replace(chart, names=names),), registers=registers))

    @rule(
        who=name | country, also=st.none() | country | name, described=st.booleans(),
        filler=st.sampled_from("ABC"), status=st.sampled_from("FFCW"), visit=visit, when=time,
    )  # fmt: skip
    def result(
        self, who: str, also: str | None, described: bool, filler: str, status: str, visit: str,
        when: int,
    ) -> None:  # fmt: skip
        """A laboratory's, with or without birth date and sex, under any of the numbers."""
        names = (who, also) if also and also != who else (who,)
        if names[0].startswith("N") and len(names) > 1 and not names[1].startswith("N"):
            names = names[::-1]  # the medical record number is the one to file under
        chart = CHARTS.get(names[0], Patient(()))
        patient = replace(chart if described else Patient(()), names=names)
        lab = Lab(filler, str(self.number), status, visit)
        self.say(Message(when, (patient,), labs=(lab,)))

    @rule(pair=two, when=time)
    def merge(self, pair: list[str], when: int) -> None:
        """A40."""
        survivor, prior = pair
        self.say(Message(when, (CHARTS[survivor],), (Word("merge", survivor, prior),)))

    @rule(pair=two, when=time)
    def unmerge(self, pair: list[str], when: int) -> None:
        """A37."""
        one, other = pair
        self.say(Message(when, (CHARTS[one], CHARTS[other]), (Word("unlink", one, other),)))

    @rule(pair=two, moved=country, named=st.booleans(), when=time)
    def move_identifier(self, pair: list[str], moved: str, named: bool, when: int) -> None:
        """A43, with or without whom it leaves."""
        to, left = pair
        words = [Word("move", to, moved, moved)]
        if named:
            words.append(Word("unlink", moved, left))
        listed = (CHARTS[to], Patient((moved,))) if named else (CHARTS[to],)
        self.say(Message(when, listed, tuple(words)))

    @rule(pair=two, visit=st.sampled_from(["V1", "V2"]), when=time)
    def move_visit(self, pair: list[str], visit: str, when: int) -> None:
        """A45."""
        to, left = pair
        self.say(Message(when, (CHARTS[to],), moves=(Move(visit, left, to),)))

    @precondition(lambda self: self.number >= 8)  # from then on much is set aside
    @rule(who=name, other_sex=st.booleans(), registers=st.booleans(), when=time)
    def give_out_again(self, who: str, other_sex: bool, registers: bool, when: int) -> None:
        """The same number for somebody else."""
        sex = SEX[CHARTS[who].sex] if other_sex else CHARTS[who].sex
        patient = replace(AGAIN, names=(who,), sex=sex)
        self.say(Message(when, (patient,), registers=registers))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        """An earlier message under another control id."""
        self.say(data.draw(st.sampled_from(self.sent)))

    @invariant()
    def every_record_is_as_it_should_be(self) -> None:
        """Nothing of A in B's record, and everything of A in A's."""
        for one in (*NAMES, "N1", "N2"):
            assert self.model.record(one, self.number) == self.charts.record(one), one

    @invariant()
    def the_projection_is_the_fold(self) -> None:
        """`identity` says what the words say."""
        assert {frozenset(p) for p in self.model.people(self.number)} == self.charts.persons()


@pytest.fixture(autouse=True)
def _site(tmp_path: Path, sqlite_template: Path) -> Iterator[None]:
    with charts.built(tmp_path) as parts:
        Identities.parts, Identities.template = parts, sqlite_template
        yield


if settings.get_current_profile_name() != "soak":
    Identities.TestCase.settings = settings(
        max_examples=40,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
TestIdentities = Identities.TestCase
TestIdentities.__doc__ = "Any history of messages leaves each patient their own record."
