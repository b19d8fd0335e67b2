"""Training: one smoke run from nothing to a pack that verifies, and its steps again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from inference import conform, packs
from inference.training import cohort, encoders, fusion, writing
from inference.training.train import train_liver_dx


@dataclass(frozen=True)
class Run:
    """A finished smoke run."""

    out: Path
    work: Path
    steps: tuple[str, ...]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained at smoke scale."""
    folder = tmp_path_factory.mktemp("train")
    steps: list[str] = []
    train_liver_dx(
        folder / "liver_dx",
        seed=3,
        scale="smoke",
        work=folder / "work",
        progress=lambda name, _done: steps.append(name),
    )
    return Run(folder / "liver_dx", folder / "work", tuple(dict.fromkeys(steps)))


def test_a_smoke_run_writes_a_pack_that_verifies_and_conforms(run: Run) -> None:
    """Digests agree and its examples give what they say."""
    pack = packs.load(run.out)
    assert pack.manifest.synthetic
    assert all(c.passed for c in conform.check(pack))


def test_the_card_carries_the_words_and_every_split(run: Run) -> None:
    """models.md 4.4 at both ends, and the hash of each split."""
    card = (run.out / "card.md").read_text()
    assert 2 == card.count(writing.WORDS)
    assert all(cohort.digest(run.work, name) in card for name in cohort.SPLITS)
    assert "Smoke run" in card


def test_every_step_is_told(run: Run) -> None:
    """Progress names them in order."""
    wanted = [
        "cohort A",
        "cohort T",
        "volume encoder",
        "heads and fusion",
        "bound",
        "gates",
        "done",
    ]
    assert wanted == [s for s in run.steps if s in wanted]


def test_finished_steps_are_not_done_again(run: Run) -> None:
    """A second build reads what the first one made; other sizes are another cohort."""
    told: list[str] = []
    made = cohort.build(run.work, "E", cohort.SIZES["smoke"]["E"], 3, lambda n, _d: told.append(n))
    assert ([], cohort.SIZES["smoke"]["E"]) == (told, len(made.label))


def test_the_splits_share_no_patient(run: Run) -> None:
    """Patient numbers of the splits do not meet."""
    spans = [
        (cohort.index_of(s, 0), cohort.index_of(s, cohort.SIZES["full"][s])) for s in cohort.SPLITS
    ]
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert len(cohort.SPLITS) == len({cohort.digest(run.work, s) for s in cohort.SPLITS})


def test_the_cached_grid_is_what_the_encoder_makes_of_full_volumes(run: Run) -> None:
    """Training on pooled sums and running on full volumes give the same embedding."""
    split = cohort.read(run.work, "B")
    net = encoders.VolumeEncoder().eval()
    from inference.training import liver

    ct = liver.patient(3, cohort.index_of("B", 0)).ct
    assert ct is not None
    phases = torch.from_numpy(split.arrays["phases"][:1])
    with torch.no_grad():
        full = net(torch.from_numpy(ct[None].astype(np.float32)), phases)[0].numpy()
    assert np.allclose(encoders.embed(net, split)[:1], full, atol=1e-4)


def test_a_broken_encoder_run_goes_on_where_it_stopped(run: Run, tmp_path: Path) -> None:
    """One epoch and then another equal two epochs at once."""
    split = cohort.read(run.work, "D")
    twice = encoders.Schedule(2, 16, 1e-3)

    class Stop(Exception):
        """The power goes."""

    def pull(_name: str, done: float) -> None:
        if done >= 0.5:
            raise Stop

    whole = encoders.train_volume(split, tmp_path / "whole.pt", twice, 1, lambda *_: None)
    with pytest.raises(Stop):
        encoders.train_volume(split, tmp_path / "half.pt", twice, 1, pull)
    resumed = encoders.train_volume(split, tmp_path / "half.pt", twice, 1, lambda *_: None)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], atol=1e-6)


def test_fusion_learns_a_plain_signal_and_gives_it_to_its_modality() -> None:
    """Only the labs decide here, and only their contribution spreads."""
    rng = np.random.default_rng(0)
    n = 1500
    inputs = fusion.Inputs(
        ct=rng.normal(size=(n, 3)).astype(np.float32),
        labs=rng.normal(size=(n, 4)).astype(np.float32),
        demographics=np.stack([rng.normal(60, 9, n), rng.integers(0, 2, n)], 1).astype(np.float32),
        text=rng.normal(size=(n, 1)).astype(np.float32),
    )
    label = (rng.random(n) < 1 / (1 + np.exp(-2 * inputs.labs[:, 0]))).astype(np.int64)
    net = fusion.fit(inputs, label, seed=1, steps=120, members=1)
    _, parts = fusion.predict(net, inputs)
    spread = parts[:, 0].std(0)
    assert spread[1] > 4 * max(spread[0], spread[2], spread[3])
    assert np.abs(parts[:, 0].mean(0)).max() < 0.05
