"""The liver cohort: same bytes, nothing from the label, and a bound that is one."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from inference.evaluation import metrics
from inference.training import bound, liver, liver_ct, liver_report
from inference.training.cohorts import volume
from inference.training.liver import SyntheticPatient
from mappings.units import is_ucum

EVERYTHING = frozenset(bound.MODALITIES)


@pytest.fixture(scope="module")
def some() -> list[SyntheticPatient]:
    """Patients with what the bound needs."""
    return [liver.patient(21, i, measure=True) for i in range(60)]


def emitted(p: SyntheticPatient) -> str:
    """Digest of everything that leaves the generator."""
    assert p.ct is not None
    text = repr(
        (p.site, p.age_years, p.sex, dict(p.labs), p.findings, p.impression, p.phases, p.label)
    )
    return hashlib.sha256(text.encode() + p.ct.tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_bytes() -> None:
    """In any order, measured or not; another index or seed gives others."""
    first = [emitted(liver.patient(1, i)) for i in (5, 6)]
    assert first == [emitted(liver.patient(1, i, measure=True)) for i in (6, 5)][::-1]
    assert 4 == len({*first, emitted(liver.patient(2, 5)), emitted(liver.patient(1, 7))})


def test_everything_is_what_a_wire_can_carry(some: list[SyntheticPatient]) -> None:
    """Whole HU in 16 bits, short decimals with UCUM units, no blank report."""
    for p in some:
        assert p.ct is not None
        assert np.dtype(np.int16) == p.ct.dtype
        assert (4, 24, 48, 48) == p.ct.shape
        assert -1024 < p.ct.min() <= p.ct.max() < 3071
        assert all(
            is_ucum(unit) and len(str(value)) <= 9 and value > 0 for value, unit in p.labs.values()
        )
        assert {"AP", "PV"} <= set(p.phases)
        assert 18 < p.age_years < 80
        assert p.findings
        assert p.impression not in p.findings


def test_a_lesion_is_small_and_can_be_erased() -> None:
    """At most 5 % of the volume; only there do voxels change when it is left out."""
    with_lesion, without = liver.patient(3, 1), liver.patient(3, 1, erased=True)
    assert with_lesion.ct is not None
    assert without.ct is not None
    assert with_lesion.truth.lesion is not None
    assert 0.001 < with_lesion.truth.lesion.mean() <= 0.05
    changed = (with_lesion.ct != without.ct).any(0)
    assert changed.mean() < 0.06
    assert changed[with_lesion.truth.lesion].mean() > 0.95


def test_the_renderer_never_hears_the_label() -> None:
    """Given the latents, what is emitted says nothing more of the label (clause h)."""
    many = [liver.patient(22, i, render=False) for i in range(4000)]
    label = np.array([p.label for p in many])
    z = np.array([p.truth.z for p in many])
    away = label - np.array([p.truth.risk for p in many])
    for i, assay in enumerate(liver.ASSAYS):
        scale = np.array([p.truth.assay_scale[i] for p in many])
        noise = (scale - assay.mean - assay.slope * z[:, assay.latent]) / assay.noise
        seen = ~np.isnan(noise)
        assert abs(np.corrcoef(noise[seen], away[seen])[0, 1]) < 0.06


def test_the_best_reader_measures_without_bias_and_as_well_as_it_says(
    some: list[SyntheticPatient],
) -> None:
    """Errors of the matched filter, in its own standard deviations, have mean 0 and SD 1."""
    errors = []
    for p in some:
        assert p.truth.measured is not None
        assert p.truth.measured_cov is not None
        errors.append((p.truth.measured - p.truth.w) / np.sqrt(np.diag(p.truth.measured_cov)))
    assert np.abs(np.mean(errors, 0)).max() < 0.45
    assert np.all((np.std(errors, 0) > 0.7) & (np.std(errors, 0) < 1.3))


def test_noise_has_the_power_it_claims() -> None:
    """Unit variance after smoothing."""
    rng = np.random.default_rng(0)
    noise = volume.smooth(rng.standard_normal((8, *liver_ct.GRID), dtype=np.float32), 2)
    assert pytest.approx(1, rel=0.02) == float((noise * volume.spectrum(liver_ct.GRID).scale).std())


def test_the_bound_is_the_brute_force_answer(some: list[SyntheticPatient]) -> None:
    """Quadrature against weighting 10^5 draws of the prior, no algebra shared."""
    m = bound.measurements(some[:12])
    fast = bound.probability(m, EVERYTHING)
    assert np.abs(fast - bound.brute_force(m, EVERYTHING)).max() < 0.02
    bare = frozenset[str]()
    assert np.abs(bound.probability(m, bare) - bound.brute_force(m, bare)).max() < 0.01


def test_the_bound_is_calibrated() -> None:
    """A posterior probability is one: slope 1, and 0 in the large."""
    many = [liver.patient(23, i, render=False) for i in range(4000)]
    label = np.array([p.label for p in many])
    p = bound.probability(bound.measurements(many), frozenset({"labs", "text"}), draws=128)
    slope, large = metrics.calibration(label, p)
    assert slope.low <= 1 <= slope.high
    assert large.low - 0.03 <= 0 <= large.high + 0.03


def test_more_is_never_worse_for_the_bound() -> None:
    """Labs and text each add to age and sex."""
    many = [liver.patient(24, i, render=False) for i in range(4000)]
    label = np.array([p.label for p in many])
    m = bound.measurements(many)

    def auc(*given: str) -> float:
        return metrics.auc(label, bound.probability(m, frozenset(given), draws=128)).value

    assert auc() < auc("labs") < auc("labs", "text")
    assert auc() < auc("text")


def test_the_external_hospital_reverses_the_prevalences() -> None:
    """Same patients' latents, mirrored site shifts (clause e)."""

    def rate(site: int, *, external: bool) -> float:
        chosen = (liver.patient(25, i, render=False, external=external) for i in range(3000))
        return float(np.mean([p.label for p in chosen if p.site == site]))

    assert rate(0, external=False) > rate(3, external=False)
    assert rate(0, external=True) < rate(3, external=True)


def test_hedged_and_unmentioned_findings_carry_nothing() -> None:
    """Their likelihood does not depend on the latent."""
    nothing = np.full((1, len(liver_report.FINDINGS)), -1, np.int8)
    assert not liver_report.log_likelihood(nothing, np.array([[-2.0, 0.0, 2.0]])).any()


def test_rendering_needs_numpy_only() -> None:
    """The pretend hospital runs where neither torch nor scipy is installed."""
    script = (
        "import sys\n"
        "for name in ('torch', 'scipy', 'sklearn', 'onnx'): sys.modules[name] = None\n"
        "from inference.training import liver, examples\n"
        "assert examples.case(liver.patient(1, 1)).ct is not None\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
