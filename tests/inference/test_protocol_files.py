"""What a protocol file may not say, by file, line and key."""

from __future__ import annotations

import pytest

from inference import protocol_reading
from inference.errors import ManifestRefused
from inference.protocol import Protocol
from inference.protocol_reading import FOLDER
from inference.toml_table import document


def changed(name: str, old: str, new: str) -> Protocol:
    """A protocol with one text replaced."""
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    assert old in text
    return protocol_reading.read(document(text.replace(old, new, 1).encode(), "x.toml"))


REFUSED = {
    "a unit nobody defined": ("crlm_2y", 'unit = "ng/mL"', 'unit = "furlong"', "inputs[2].unit"),
    "a code that is none": ("crlm_2y", '["2039-6"]', '["2039-7"]', "inputs[2].codes"),
    "a window of halves": ("crlm_2y", "window_days = [-30, 0]", "window_days = [-0.5, 0]",
                           "inputs[2].window_days"),
    "a window turned round": ("crlm_2y", "window_days = [-30, 0]", "window_days = [0, -30]",
                              "inputs[2].window_days"),
    "an input of the future": ("crlm_2y", "window_days = [-30, 0]", "window_days = [-30, 90]",
                               "inputs[2].window_days"),
    "a rule of the future": ("crlm_2y", 'window_days = [0, 60]\nvalues = ["I"',
                             'window_days = [0, 730]\nvalues = ["I"', "rules[3].window_days"),
    "follow-up that gates": ("crlm_2y", 'scope = "analyse"\ntest = "follow_up"',
                             'scope = "predict"\ntest = "follow_up"', "rules[12].scope"),
    "pathology in PRE": ("hcc_ar_pre", '["1834-1"]', '["21899-0"]', "inputs[2].codes"),
    "a test nobody knows": ("crlm_2y", 'test = "consent"', 'test = "oracle"', "rules[1].test"),
    "a misspelt key": ("crlm_2y", "majority = 18", "majorit = 18", "rules[1].majority"),
    "a stage that BCLC has not": ("hcc_ar_pre", 'values = ["0", "A"]', 'values = ["0-A"]',
                                  "rules[5].values"),
    "a rule of no score": ("hcc_ar_pre", 'input = "BCLC"', 'input = "AFP"', "rules[5].input"),
    "a rule of a number": ("hcc_ar_pre", 'input = "BCLC"', 'input = "FIB4"', "rules[5].input"),
    "a stage without a number": ("hcc_ar_pre", "tokens = { 0 = 0, A = 1,", "tokens = { A = 1,",
                                 "inputs[17].tokens"),
    "a mistyped operation": ("crlm_2y", '"23968004"', '"23968005"', "index.codes"),
    "a mistyped start of surgery": ("hcc_ar_pre", '"107963000"', '"107963001"',
                                    "lock.before.codes"),
    "a code that nobody published": ("hcc_ar_pre", '"405930005"', '"405930006"',
                                     "inputs[11].codes"),
    "an input that is not there": ("crlm_2y", 'inputs = ["CEA"]', 'inputs = ["CEB"]',
                                   "rules[11].inputs"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_protocol_may_not_say_is_refused_by_name(case: str) -> None:
    """The error names file, line and key."""
    name, old, new, key = REFUSED[case]
    with pytest.raises(ManifestRefused) as caught:
        changed(name, old, new)
    assert ("x.toml", key) == (caught.value.file, caught.value.key)
    assert caught.value.line


def test_the_error_names_the_line() -> None:
    """Of the key, also in the second of several tables of one name."""
    text = (FOLDER / "crlm_2y.toml").read_text("utf-8")
    with pytest.raises(ManifestRefused) as caught:
        changed("crlm_2y", "majority = 18", 'majority = "18"')
    line = text.splitlines().index("majority = 18") + 1
    assert (line, f"x.toml:{line}: rules[1].majority") == (
        caught.value.line, str(caught.value).removeprefix("pack refused: ").partition(": exp")[0]
    )  # fmt: skip
