"""card.md of a trained pack: model, baselines and bound side by side, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inference.training import cohort, encoders, fusion, liver
from inference.training.judge import BAR_GAP, STUDY_N, Report
from inference.training.writing import WORDS


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def card(r: Report, hashes: dict[str, str], *, seed: int, scale: str) -> str:
    """The whole card."""
    parts = [
        "# liver_dx 0.1.0: benign or malignant liver lesion\n",
        WORDS + "\n",
        ""
        if scale == "full"
        else "**Smoke run: one step of everything; every figure is worthless.**\n",
        _INTENDED,
        _results(r),
        _patterns(r),
        _gates(r),
        _contract(r),
        _made(r, hashes, seed, scale),
        _LIMITS,
        WORDS + "\n",
    ]
    return "\n".join(p for p in parts if p)


_INTENDED = """\
## What it is for

It asks the pre-operative question of NCT07658586 (is a focal liver lesion malignant?) of synthetic
patients, from a four-phase contrast CT, laboratory values, age, sex and the findings section of
the radiology report (Chinese or English). The report's impression names the answer and is never
read. It exists to show that the software line is right. It is for no patient.
"""

_DESIGN = """
The volume encoder ({epochs} epochs on A) is trained with **auxiliary targets that the generator
knows**: where the lesion is, and its wash-out and rim. The report encoder regresses the latent that
the reader looked at. Neither sees the label. {members} members, each on a bootstrap resample of B;
scores are additive in the logit, weights depend on which modalities are there. A variant without
knowledge of the generator's design has not been trained. Two test splits were looked at while the
model was designed (an earlier encoder; heads with too little ridge) and thrown away; the split T
above is a third, opened when everything else, threshold included, was fixed.
"""

_LIMITS = """\
## Limits

- One training seed. The bound takes place, distractors, motion, gain and the site as known: it is
  an upper bound, and part of the gap is that. The model is not told the site.
- The lexicon that reads reports was written beside the grammar that makes them, so real reports
  would be read worse. It knows ten findings in two languages.
- Missing modalities were drawn completely at random when the stacker was fitted. Not made yet: a
  not-at-random stress set, wrong phase tags, children, a retrained model for each erased modality.
- The interval of a prediction is the spread of five members and says nothing about patients unlike
  the training cohort; for those there is the out-of-distribution flag.
- The generated block is liver from edge to edge. On a real abdomen the "centre of volume" is not
  the lesion, and this encoder has never seen another organ.
"""


def _results(r: Report) -> str:
    middle, low, high = r.study_size
    study = f"{middle:.3f} (5 to 95 %: {low:.3f} to {high:.3f})"
    rows: list[Sequence[object]] = [
        ("liver_dx, test sets of the registered size", STUDY_N, study, ""),
        ("**liver_dx** (pipeline check)", r.n, f"**{r.model}**", ""),
        ("Bayes bound (upper bound; knows the site)", r.n, r.bound, f"gap {r.gap}"),
        ("the same without the site, which the model is not told", r.n, r.without_site, ""),
        ("latent oracle (knows what nobody can measure)", r.n, r.latent_oracle, ""),
        *((name, r.n, auc, f"model is above by {more}") for name, (auc, more) in r.rows.items()),
    ]
    t = r.at_threshold
    at = [
        ("threshold", f"{r.threshold:.3f}"),
        ("sensitivity", t.sensitivity),
        ("specificity", t.specificity),
        (f"PPV at {r.events / r.n:.0%} malignant", t.ppv),
        ("NPV", t.npv),
        ("accuracy", t.accuracy),
    ]
    return (
        "## Discrimination\n\n"
        + _table(("score", "n", "AUC [95 %]", "paired difference"), rows)
        + f"\nIntervals: DeLong; gap: paired bootstrap. Test set {r.n} patients, {r.events} "
        f"malignant. The bound's own Monte-Carlo error is {r.bound_monte_carlo:.4f} AUC; against "
        "brute force (10^5 draws, 40 patients) its probabilities differ by at most "
        f"{r.brute_force_off:.3f}.\n\n"
        f"## Calibration and threshold\n\nSlope {r.slope}, in the large {r.in_the_large} logit, "
        f"Brier {r.brier}. Mean spread of the five members {r.members_sd:.3f} logit.\n\n"
        + _table(("at the locked threshold", "estimate [95 %]"), at)
    )


def _patterns(r: Report) -> str:
    rows = [
        (", ".join((*p.given, "age and sex")), p.bound, p.model, p.gap, p.slope) for p in r.patterns
    ]
    head = ("given", "bound AUC", "model AUC", "gap", "calibration slope")
    return "## By what is there\n\n" + _table(head, rows)


def _gates(r: Report) -> str:
    head = ("modality", "bound loses", "loses when removed", "loses when shuffled", "at least half")
    rows = [
        (x.modality, f"{x.bound_loss:.3f}", x.removed_loss, x.shuffled_loss, _verdict(x.passed))
        for x in r.removals
    ]
    mean, se = r.shuffled_labels
    bars = [(name, _verdict(passed)) for name, passed in r.passed.items()]
    return (
        "## Gates\n\n"
        + _table(head, rows)
        + f"\nErasing the lesion's voxels moves the image contribution by {r.erased_moved:.2f} "
        f"logit on average and leaves it an AUC of {r.erased_auc:.3f}. Shuffled means between "
        f"patients. Shuffled labels ({r.label_shuffles} fits): AUC {mean:.3f} (SE {se:.3f}). "
        f"External site with reversed prevalences: AUC {r.external}.\n\n"
        f"Bars of this pack (gap: upper 95 % limit at most {BAR_GAP}):\n\n"
        + _table(("bar", "verdict"), bars)
    )


def _verdict(passed: bool) -> str:
    return "pass" if passed else "**FAIL**"


def _contract(r: Report) -> str:
    rows = [
        (c.clause, c.figure, c.asked, "holds" if c.holds else "**does not hold**")
        for c in r.clauses
    ]
    head = ("clause", "figure", "asked", "verdict")
    return "## Difficulty contract of the cohort\n\n" + _table(head, rows)


def _made(r: Report, hashes: dict[str, str], seed: int, scale: str) -> str:
    use = {
        "A": "encoders",
        "B": "heads and stacker",
        "C": "Platt calibration",
        "D": "threshold, reference ranges",
        "T": "test",
        "E": "external site",
    }
    rows = [(k, use[k], r.sizes[k], f"`{hashes[k]}`") for k in cohort.SPLITS]
    epochs = encoders.SCHEDULES[scale].epochs
    return (
        "## How it was made\n\n"
        f"Generator `{liver.GENERATOR}`, seed {seed}; `oncord train liver_dx` repeats it.\n\n"
        + _table(("split", "used for", "patients", "SHA-256 of what was emitted"), rows)
        + _DESIGN.format(epochs=epochs, members=fusion.MEMBERS)
    )
