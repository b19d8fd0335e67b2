"""Pictures: small lesions, places on slides, and readings that are as good as they say."""

from __future__ import annotations

import numpy as np
import pytest

from inference.training.cohorts import pictures, slide, studies
from inference.training.cohorts.drawing import draw
from inference.training.cohorts.errors import NotRendered
from inference.training.cohorts.patients import patient
from inference.training.cohorts.slide import NEST, STAINS, STROMA, Stains

EACH = [(s, p.name) for s in studies.declared() for p in studies.study(s).pictures]


def rendered(name, picture, n):
    """Some patients who have the picture, with it."""
    study = studies.study(name)
    batch = draw(study, 100, np.arange(2 * n))
    declared = next(p for p in study.pictures if p.name == picture)
    batch = batch.rows(batch.emitted.pictures[picture].present).rows(slice(0, n))
    made = [pictures.render(batch, i, declared, measure=True) for i in range(n)]
    return batch, declared, made


@pytest.mark.parametrize(("name", "picture"), EACH)
def test_a_reading_is_as_good_as_it_says_and_as_was_declared(name, picture):
    """Errors in their own SD have mean 0 and SD 1; the noise declared for it is the usual one."""
    batch, declared, made = rendered(name, picture, 24)
    truth = batch.emitted.pictures[picture].w
    found = [pictures.reading(declared, m) for m in made]
    value = np.array([f[0] for f in found])
    sd = np.array([np.sqrt(np.diag(f[1])) for f in found])
    errors = (value - truth) / sd
    assert np.abs(errors.mean(0)).max() < 0.6
    assert ((errors.std(0) > 0.6) & (errors.std(0) < 1.5)).all()
    shown, component = batch.emitted.pictures[picture], declared.components[0]
    strength = np.sqrt(shown.cov[:, 0, 0]) / component.pixel_sd
    usual = np.sqrt(((sd / strength[:, None]) ** 2).mean(0))
    said = np.array([c.pixel_sd for c in declared.components])
    assert ((usual / said > 0.6) & (usual / said < 1.6)).all()


@pytest.mark.parametrize("name", ["crlm", "hcc", "liver", "pan", "pan_1y"])
def test_a_lesion_is_small_and_can_be_erased(name):
    """At most 5 % of the volume; only there do voxels change when it is left out."""
    study = studies.study(name)
    batch = draw(study, 12, np.arange(20))
    batch = batch.rows(batch.emitted.pictures[study.pictures[0].name].present)
    whole = pictures.render(batch, 0, study.pictures[0])
    bare = pictures.render(batch, 0, study.pictures[0], erased=True)
    changed = (whole.voxels != bare.voxels).any(0)
    assert 0.001 < whole.lesion.mean() <= 0.05
    assert changed.mean() < 0.08
    assert changed[whole.lesion].mean() > 0.95
    assert whole.voxels.size <= 4 * 24 * 48 * 48
    assert -200 < whole.voxels.min() <= whole.voxels.max() < 300


def test_the_same_patient_has_the_same_pictures():
    """Voxels and sections, alone or in a batch; another index has others."""
    study = studies.study("crlm")
    batch = draw(study, 12, np.arange(30))
    both = batch.emitted.done["ct"] & batch.emitted.done["slide"]
    row = int(np.flatnonzero(both)[1])
    one = patient(study, 12, row)
    ct, section = (pictures.render(batch, row, p) for p in study.pictures)
    assert np.array_equal(ct.voxels, one.picture("ct").voxels)
    assert np.array_equal(section.look["HE"], one.picture("slide").look["HE"])
    other = patient(study, 12, int(np.flatnonzero(both)[2]))
    assert not np.array_equal(ct.voxels, other.picture("ct").voxels)


def test_a_picture_that_a_patient_has_not_is_not_rendered():
    """Neither one that was not done, nor one that no declaration has."""
    study = studies.study("crlm")
    absent = int(np.flatnonzero(~draw(study, 12, np.arange(60)).emitted.done["ct"])[0])
    with pytest.raises(NotRendered, match="ct is not among"):
        patient(study, 12, absent).picture("ct")
    with pytest.raises(NotRendered, match="pet is not among"):
        patient(study, 12, absent).picture("pet")


def test_t_cells_stand_near_nests_or_far_from_them_but_are_as_many():
    """The spatial component moves places and leaves totals (model-rules 5)."""
    stains = Stains(channels=STAINS)

    def slides(contact):
        return [slide.make(np.random.default_rng(i), stains, {"contact": contact}, 0.1)
                for i in range(30)]  # fmt: skip

    def near(made):
        zone = slide._zones(made.kind)
        stroma = made.kind == STROMA
        return made.t[stroma & (zone == 1)].mean() - made.t[stroma & (zone == -1)].mean()

    towards, away = slides(1.5), slides(-1.5)
    assert np.mean([near(s) for s in towards]) - np.mean([near(s) for s in away]) > 0.4
    totals = [np.mean([s.t[s.kind == STROMA].mean() for s in many]) for many in (towards, away)]
    assert abs(totals[0] - totals[1]) < 0.02
    assert all((s.kind == NEST).sum() >= 4 for s in towards)


def test_sections_are_images_of_the_whole_slide_in_the_colours_of_their_stain():
    """2048 x 2048 RGB; glass is white, tissue is not, DAB is where the marker is."""
    made = slide.make(np.random.default_rng(3), Stains(channels=STAINS), {}, 0.1)
    image = slide.image(made, "CK")
    assert (slide.PIXELS, slide.PIXELS, 3) == image.shape
    assert np.uint8 == image.dtype
    tiles = image.reshape(32, 64, 32, 64, 3).mean((1, 3))[4:28, 4:28]
    clean = ~made.penned
    glass, nest = clean & (made.kind == 0), clean & (made.kind == NEST)
    stroma = clean & (made.kind == STROMA)
    assert tiles[glass].min() > 245
    assert tiles[stroma].max() < 245
    # Brown: blue is taken away most.
    assert (tiles[nest][:, 2] < tiles[nest][:, 0] - 40).all()
    assert tiles[nest][:, 2].max() < tiles[stroma][:, 2].min()


def test_cell_counts_of_tiles_with_and_without_cells_overlap():
    """A reader of one tile cannot be sure (feasibility, what to raise before freezing)."""
    made = [slide.make(np.random.default_rng(i), Stains(channels=STAINS), {}, 0.1)
            for i in range(10)]  # fmt: skip
    held = np.concatenate([s.t_count[s.t] for s in made])
    stray = np.concatenate([s.t_count[(s.kind == STROMA) & ~s.t] for s in made])
    assert 0.02 < (stray >= np.quantile(held, 0.2)).mean() < 0.3
