"""Splits on disk: the same again, block by block, and never more in memory for more patients."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from inference.training.cohorts import expected, store, studies
from inference.training.cohorts.bound import bound
from inference.training.cohorts.errors import ForeignSplit
from inference.training.cohorts.patients import patient

STUDY = studies.study("crlm")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A split of 70 patients."""
    return store.build(STUDY, tmp_path_factory.mktemp("split"), seed=4, first=1000, n=70)


def test_a_split_is_the_same_whatever_its_blocks(split, tmp_path, monkeypatch):
    """Digest over everything emitted; another seed has another."""
    monkeypatch.setattr(store, "BLOCK", 16)
    again = store.build(STUDY, tmp_path / "again", seed=4, first=1000, n=70)
    other = store.build(STUDY, tmp_path / "other", seed=5, first=1000, n=8)
    assert split.sha256 == again.sha256 != other.sha256
    for name, array in split.arrays.items():
        assert np.array_equal(array, again.arrays[name], equal_nan=True), name


def test_rows_are_the_patients(split):
    """In order, each as it is made alone."""
    rows = list(split.rows())
    assert 70 == len(rows)
    assert rows[11] == store.described(patient(STUDY, 4, 1011))


def test_pictures_are_kept_as_training_reads_them(split):
    """Sums of eight voxels; nothing where there is no CT; codes that render the slide again."""
    one = next(i for i in range(70) if split.arrays["ct/present"][i])
    volume = patient(STUDY, 4, 1000 + one).picture("ct").voxels
    eighth = volume[0, :2, :2, :2].astype(int).sum()
    assert eighth == split.arrays["ct/pooled"][one, 0, 0, 0, 0]
    gone = next(i for i in range(70) if not split.arrays["ct/present"][i])
    assert not split.arrays["ct/pooled"][gone].any()
    assert np.isnan(split.arrays["ct/statistics"][gone]).all()
    assert isinstance(split.arrays["ct/pooled"], np.memmap)
    seen = next(i for i in range(70) if split.arrays["slide/present"][i])
    look = patient(STUDY, 4, 1000 + seen).picture("slide").look["HE"]
    assert np.array_equal(look, split.arrays["slide/look"][seen, 0])


def test_the_bound_reads_a_split_with_the_readings_of_its_pictures(split):
    """Not with those that are declared for unrendered ones."""
    batch = split.batch(STUDY)
    there = np.asarray(split.arrays["ct/present"])
    shown = batch.emitted.pictures["ct"]
    assert np.array_equal(shown.measured[there], split.arrays["ct/measured"][there])
    risk = bound(batch, frozenset(STUDY.modalities), draws=32).risk
    assert expected.auc(batch.risk, risk) > 0.6


def test_a_finished_split_is_read_and_another_is_refused(split):
    """Nothing is made twice, and nothing is taken for what it is not."""
    told = []
    again = store.build(STUDY, split.folder, seed=4, first=1000, n=70, progress=told.append)
    assert ([], split.sha256) == (told, again.sha256)
    with pytest.raises(ForeignSplit, match="another seed"):
        store.build(STUDY, split.folder, seed=5, first=1000, n=70)
    with pytest.raises(ForeignSplit, match="another generator"):
        split.batch(studies.study("hcc"))


def test_a_split_that_was_broken_off_is_made_anew(tmp_path):
    """Without `done.json` nothing counts."""

    class Stop(Exception):
        """The power goes."""

    def pull(_done):
        raise Stop

    with pytest.raises(Stop):
        store.build(STUDY, tmp_path, seed=4, first=0, n=4, progress=pull)
    assert 4 == len(list(store.build(STUDY, tmp_path, seed=4, first=0, n=4).rows()))


def test_memory_does_not_grow_with_the_cohort(tmp_path, monkeypatch):
    """Five times the patients, the same peak: blocks are streamed."""
    monkeypatch.setattr(store, "BLOCK", 16)
    study = studies.study("breast")
    store.build(study, tmp_path / "warm", seed=1, first=0, n=2)

    def peak(n):
        tracemalloc.start()
        store.build(study, tmp_path / str(n), seed=1, first=0, n=n)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small, large = peak(32), peak(160)
    sizes = [
        sum(file.stat().st_size for file in (tmp_path / n).rglob("*") if file.is_file())
        for n in ("32", "160")
    ]
    # What else the process does meanwhile is in the peak, too; the other patients are more.
    slack = 2**19
    assert sizes[1] - sizes[0] > 2 * slack
    assert large < small + slack
