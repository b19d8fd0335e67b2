"""packs: what is loaded, and everything that is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from inference import packs
from inference.errors import ManifestRefused, PackRefused
from inference.manifest import Release

SHIPPED = Path(packs.__file__).parent / "packs" / "liver_dx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped pack."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "liver_dx"))


def edited(folder: Path, change: Callable[[str], str]) -> Path:
    """The folder with another pack.toml."""
    file = folder / "pack.toml"
    before = file.read_text()
    after = change(before)
    assert before != after
    file.write_text(after)
    return folder


def test_the_shipped_pack_loads_and_stays_small() -> None:
    """Every file agrees with its digest, and the whole is below 5 MB."""
    pack = packs.load(SHIPPED)
    assert "liver_dx" == pack.manifest.id
    assert sum(len(c) for c in pack.contents.values()) < 5_000_000
    assert {"1834-1", "18748-4", "14631-6"} <= pack.codes


def test_a_synthetic_pack_says_so() -> None:
    """The kind of the training data is synthetic, and its words are those of the house."""
    manifest = packs.load(SHIPPED).manifest
    assert manifest.synthetic
    assert "not evidence of clinical performance" in manifest.training_data.words


def test_a_changed_file_is_refused(folder: Path) -> None:
    """One flipped byte of a graph does not pass its SHA-256."""
    raw = bytearray((folder / "fusion.onnx").read_bytes())
    raw[100] ^= 1
    (folder / "fusion.onnx").write_bytes(raw)
    with pytest.raises(PackRefused, match=r"fusion.onnx does not have the listed SHA-256"):
        packs.load(folder)


def test_a_file_of_another_size_is_refused(folder: Path) -> None:
    """A longer file is not read to its end."""
    with (folder / "card.md").open("a") as card:
        card.write("x")
    with pytest.raises(PackRefused, match="larger than listed"):
        packs.load(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    """What is listed has to be there."""
    (folder / "card.md").unlink()
    with pytest.raises(PackRefused, match=r"card.md is listed but missing"):
        packs.load(folder)


def test_an_unlisted_file_is_refused(folder: Path) -> None:
    """Nobody verified it, so nobody may come to read it."""
    (folder / "extra.py").write_text("")
    with pytest.raises(PackRefused, match=r"extra.py is not listed"):
        packs.load(folder)


def test_a_link_is_refused(folder: Path) -> None:
    """A link could point at another file after the check."""
    (folder / "card.md").rename(folder.parent / "card.md")
    (folder / "card.md").symlink_to(folder.parent / "card.md")
    with pytest.raises(PackRefused, match=r"card.md is a link"):
        packs.load(folder)


def test_a_linked_folder_is_refused(folder: Path) -> None:
    """The folder itself, too."""
    (folder.parent / "other").symlink_to(folder)
    with pytest.raises(PackRefused, match="not a folder of its own"):
        packs.load(folder.parent / "other")


@pytest.mark.parametrize("path", ["../card.md", "/etc/hostname", "examples/../card.md", "a\\\\b"])
def test_a_path_out_of_the_folder_is_refused(folder: Path, path: str) -> None:
    """Listed paths are plain and relative."""
    edited(folder, lambda t: t.replace('path = "card.md"', f'path = "{path}"'))
    with pytest.raises(PackRefused, match="no plain path"):
        packs.load(folder)


def test_an_unknown_key_is_refused_by_name(folder: Path) -> None:
    """A misspelt key is never ignored; the error names file and key."""
    edited(folder, lambda t: t.replace("[calibration]\n", "[calibration]\nslop = 1.0\n"))
    with pytest.raises(ManifestRefused) as caught:
        packs.load(folder)
    assert ("pack.toml", "calibration.slop") == (caught.value.file, caught.value.key)


def test_a_missing_calibration_is_refused(folder: Path) -> None:
    """No probability leaves a pack that was not calibrated."""
    edited(folder, lambda t: t.replace("[calibration]", "[calibrations]"))
    with pytest.raises(ManifestRefused) as caught:
        packs.load(folder)
    assert "calibration" == caught.value.key


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('test = "age"', 'test = "horoscope"', "rules[0].test"),
        ('resampling = "area"', 'resampling = "cubic"', "ct.resampling"),
        ('transform = "log"', 'transform = "sqrt"', "inputs[0].transform"),
        ('graph = "fusion"', 'graph = "oracle"', "head.graph"),
        ('labs = "labs.values"', 'labs = "lab.values"', "graphs[2].feeds.labs"),
        ('kind = "additive_logit"', 'kind = "oracle"', "head.kind"),
        ('kind = "synthetic"', 'kind = "real"', "training_data.kind"),
        ("format = 1", "format = 2", "format"),
        ("plausible = [0, 2000000]", "plausible = [5, 1]", "inputs[0].plausible"),
        ('inputs = ["findings"]', 'inputs = ["finding"]', "rules[4].inputs"),
        ('scope = "analyse"', 'scope = "predict"', "rules[5].scope"),
    ],
)
def test_what_the_catalogue_does_not_know_is_refused(
    folder: Path, old: str, new: str, key: str
) -> None:
    """Operations, kinds and references outside of the catalogue."""
    edited(folder, lambda t: t.replace(old, new, 1))
    with pytest.raises(ManifestRefused) as caught:
        packs.load(folder)
    assert key == caught.value.key


def test_a_manifest_that_is_no_toml_is_refused(folder: Path) -> None:
    """Bytes that tomllib does not read."""
    (folder / "pack.toml").write_bytes(b"\xff\x00 = [")
    with pytest.raises(ManifestRefused):
        packs.load(folder)


def test_clinical_training_data_whose_words_say_synthetic_is_refused(folder: Path) -> None:
    """One changed word does not make evidence of made-up patients (model-rules 14)."""
    edited(folder, lambda t: t.replace('kind = "synthetic"', 'kind = "clinical"'))
    with pytest.raises(ManifestRefused, match="synthetic") as caught:
        packs.load(folder)
    assert "training_data.kind" == caught.value.key
    assert 0 < caught.value.line


@pytest.mark.parametrize("table", ["[training_data]", "[tiers]", "[[outputs]]"])
def test_no_pack_can_declare_its_results_final(folder: Path, table: str) -> None:
    """There is no such key: what is final follows from the training data alone."""
    edited(folder, lambda t: t.replace(f"{table}\n", f'{table}\nstatus = "final"\n', 1))
    with pytest.raises(ManifestRefused, match="no such key") as caught:
        packs.load(folder)
    assert caught.value.key.endswith(".status")


@pytest.mark.parametrize("path", ["pack.sig", "pack.toml"])
def test_a_file_that_cannot_hold_its_own_digest_is_refused_in_the_list(
    folder: Path, path: str
) -> None:
    """The manifest cannot list itself, nor the signature made over it."""
    edited(folder, lambda t: t.replace('path = "card.md"', f'path = "{path}"'))
    with pytest.raises(PackRefused, match=f"{path} cannot be listed"):
        packs.load(folder)


def test_a_swollen_signature_is_refused(folder: Path) -> None:
    """It is not covered by a size in the manifest, so it has a bound of its own."""
    (folder / "pack.sig").write_bytes(b"A" * 2000)
    with pytest.raises(PackRefused, match=r"pack.sig is larger"):
        packs.load(folder)


RELEASE = """[release]
expires = 2031-12-31
supersedes = "0.0.9"
contraindications = ["a transplanted liver"]
udi = "(01)00000000000000"
pccp = "card.md, section 9"
gpu_memory_mb = 300
"""


def with_release(folder: Path, table: str) -> Path:
    """The folder with a release table."""
    return edited(folder, lambda t: t.replace("[training_data]", f"{table}\n[training_data]", 1))


def test_what_the_maker_says_of_a_release_is_read(folder: Path) -> None:
    """All keys of the optional table, and none of them without it."""
    with_release(folder, RELEASE)
    release = packs.load(folder).manifest.release
    assert (date(2031, 12, 31), "0.0.9", 300) == (
        release.expires,
        release.supersedes,
        release.gpu_memory_mb,
    )
    assert ("a transplanted liver",) == release.contraindications
    assert ("(01)00000000000000", "card.md, section 9") == (release.udi, release.pccp)
    assert Release() == packs.load(SHIPPED).manifest.release


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("2031-12-31", '"soon"', "release.expires"),
        ("2031-12-31", "2031-12-31T00:00:00Z", "release.expires"),
        ('"0.0.9"', '"0.1.0"', "release.supersedes"),
        ('["a transplanted liver"]', '"a transplanted liver"', "release.contraindications"),
        ("= 300", "= 0", "release.gpu_memory_mb"),
        ("udi", "uid", "release.uid"),
    ],
)
def test_a_wrong_word_about_a_release_is_refused(
    folder: Path, old: str, new: str, key: str
) -> None:
    """Types, and a version that replaces itself."""
    assert old in RELEASE
    with_release(folder, RELEASE.replace(old, new))
    with pytest.raises(ManifestRefused) as caught:
        packs.load(folder)
    assert key == caught.value.key
    assert 0 < caught.value.line


def test_discover_keeps_the_good_and_names_the_bad(folder: Path) -> None:
    """One bad folder does not keep the others out; folders without manifest are no packs."""
    (folder.parent / "notes").mkdir()
    bad = Path(shutil.copytree(folder, folder.parent / "a_bad"))
    (bad / "extra").write_text("")
    found = packs.discover([folder.parent])
    assert ["liver_dx"] == [p.manifest.id for p in found.packs]
    assert [("a_bad", "pack refused: extra is not listed in pack.toml")] == [
        (r.folder, r.reason) for r in found.refusals
    ]


def test_two_folders_with_one_id_are_one_pack_and_one_refusal(folder: Path) -> None:
    """The second is refused."""
    shutil.copytree(folder, folder.parent / "zz_copy")
    found = packs.discover([folder.parent])
    assert (1, ["zz_copy"]) == (len(found.packs), [r.folder for r in found.refusals])
