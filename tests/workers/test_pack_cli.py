"""`oncord pack`: what it tells of a good pack, and how it names what is bad."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import made_slides
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from made_packs import logistic
from onnx import helper
from typer.testing import CliRunner, Result

from inference import packs
from inference.errors import ManifestRefused, PackRefused
from workers.pack import app

SHIPPED = Path(packs.__file__).parent / "packs" / "liver_dx"
RUN = CliRunner()

HL7 = (
    b"MSH|^~\\&|LAB|HOSP|ONCORD|HOSP|20260302120000+0000||ORU^R01^ORU_R01|77|P|2.5.1\r"
    b"PID|1||SYN-4711||SYNTHETIC^PATIENT||19600101|M\r"
    b"OBR|1||A1|1834-1^AFP^LN|||20260301080000+0000|||||||||||||||20260301090000+0000|||F\r"
    b"OBX|1|NM|1834-1^AFP^LN||12.5|ng/mL|||||F\r"
)


def call(*words: object) -> Result:
    """One command."""
    return RUN.invoke(app, [str(w) for w in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped pack."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "packs" / "liver_dx"))


def rewrite(folder: Path, path: str, raw: bytes) -> None:
    """Another content of a file, listed as it should be."""
    old = (folder / path).read_bytes()
    (folder / path).write_bytes(raw)
    text = (folder / "pack.toml").read_text()
    before = f'sha256 = "{hashlib.sha256(old).hexdigest()}"\nsize = {len(old)}\n'
    assert 1 == text.count(before)
    after = f'sha256 = "{hashlib.sha256(raw).hexdigest()}"\nsize = {len(raw)}\n'
    (folder / "pack.toml").write_text(text.replace(before, after))


def example(folder: Path, change: Callable[[dict[str, float]], object]) -> None:
    """The first example with other figures of its author."""
    body = json.loads((folder / "examples/en.json").read_bytes())
    change(body["expected"])
    rewrite(folder, "examples/en.json", json.dumps(body).encode())


def test_list_names_what_loads_and_what_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """One line each; a refused one makes the status 1."""
    monkeypatch.setenv("ONCORD_PACK_FOLDERS", str(folder.parent))
    assert 0 == call("list").exit_code
    bad = shutil.copytree(folder, folder.parent / "bad")
    (bad / "extra.py").write_text("")
    told = call("list")
    assert 1 == told.exit_code
    assert "liver_dx 0.1.0, " in told.stdout
    assert "REFUSED bad: pack refused: extra.py is not listed in pack.toml" in told.stdout


def test_list_of_a_folder_that_is_not_there_is_wrong_use(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """A mistyped ONCORD_PACK_FOLDERS is no site without packs."""
    monkeypatch.setenv("ONCORD_PACK_FOLDERS", f"{folder.parent}:{folder.parent}/mistyped")
    told = call("list")
    assert (2, True) == (told.exit_code, "there is no folder" in told.stderr)
    assert "mistyped" in told.stderr


def test_show_tells_what_a_site_has_to_know(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Use, non-use, data, rules with source, inputs and the locked threshold."""
    monkeypatch.setenv("ONCORD_PACK_FOLDERS", str(folder.parent))
    told = call("show", "liver_dx")
    assert 0 == told.exit_code
    m = packs.load(folder).manifest
    wanted = [m.intended_use, m.not_for, m.training_data.words, m.tiers.locked, "signed: no"]
    wanted += [r.source for r in m.rules] + [f"input {i.id} " for i in m.inputs]
    assert [] == [w for w in wanted if w not in told.stdout]


def test_show_tells_what_is_read_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Phases, grid and region of a CT; stain and tiles of slides; what feeds each graph."""
    shutil.copytree(SHIPPED, tmp_path / "ct")
    made_slides.pack(tmp_path / "slides")
    monkeypatch.setenv("ONCORD_PACK_FOLDERS", str(tmp_path))
    of_ct, of_slides = (
        " ".join(call("show", name).output.split()) for name in ("liver_dx", "outside")
    )
    assert (
        "input ct: phases NC, AP (required), PV (required), DL; 24 x 48 x 48 voxels of 4 x 4 x 4 mm "
        "(SPL, area), around centre of volume"
    ) in of_ct
    assert "graph volume_encoder: of ct.volume" in of_ct
    assert "input he: H&E slides, at most 100 tiles of 4 pixels of 0.5 um" in of_slides
    assert "graph tile_encoder: of he.tiles" in of_slides


def test_show_of_an_unknown_pack_names_the_known(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Status 2: wrong use."""
    monkeypatch.setenv("ONCORD_PACK_FOLDERS", str(folder.parent))
    told = call("show", "lung_dx")
    assert (2, True) == (told.exit_code, "no pack lung_dx; there is liver_dx" in told.stderr)


def test_check_passes_the_shipped_pack_line_by_line():
    """Files, manifest, three graphs, three examples."""
    told = call("check", SHIPPED)
    assert 0 == told.exit_code
    parts = [line.split()[:2] for line in told.stdout.splitlines()]
    wanted = ["files", "manifest", *["graph"] * 3, *["example"] * 3]
    assert [["ok", part] for part in wanted] == parts


@pytest.mark.parametrize(
    ("day", "status", "text"), [("2020-01-31", 1, "expired on"), ("2999-01-01", 0, "good until")]
)
def test_check_looks_at_the_last_day_of_use(folder: Path, day: str, status: int, text: str):
    """An expired release fails."""
    file = folder / "pack.toml"
    release = f"[release]\nexpires = {day}\n\n[training_data]"
    file.write_text(file.read_text().replace("[training_data]", release, 1))
    told = call("check", folder)
    assert (status, True) == (told.exit_code, f"{text} {day}" in told.stdout)


def test_check_names_file_line_and_key(folder: Path):
    """A missing calibration, told by its place."""
    file = folder / "pack.toml"
    file.write_text(file.read_text().replace("\nslope = ", "\nslop = "))
    told = call("check", folder)
    line = file.read_text().splitlines().index("[calibration]") + 1
    assert 1 == told.exit_code
    assert f"pack.toml:{line}: calibration.slope: expected a number" in told.stdout


@pytest.mark.parametrize(
    ("domain", "named"),
    [("", "unknown operator Horoscope of node stars"), ("vendor", "operator vendor:Horoscope")],
)
def test_an_unknown_operator_is_refused_by_name(folder: Path, domain: str, named: str):
    """A graph with an operator that the runtime has no kernel for."""
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 2]) for n in "xy"]
    node = helper.make_node("Horoscope", ["x"], ["y"], name="stars", domain=domain)
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    sets = [helper.make_opsetid(d, v) for d, v in {"": 17, domain: 17}.items()]
    raw = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    rewrite(folder, "fusion.onnx", raw)
    for command in ("check", "conform"):
        told = call(command, folder)
        assert (1, True) == (told.exit_code, named in told.output), told.output


def test_a_variant_that_nothing_here_computes_is_told_of(folder: Path):
    """`check` looks at what can be looked at, `conform` was asked for its figures."""
    graph = onnx.load_from_string((folder / "fusion.onnx").read_bytes())
    half = helper.make_node("Cast", ["absent"], ["other"], to=onnx.TensorProto.BFLOAT16)
    graph.graph.initializer.append(helper.make_tensor("absent", onnx.TensorProto.FLOAT, [1], [1]))
    graph.graph.node.extend(
        [half, helper.make_node("MatMul", ["other", "other"], ["third"], name="half")]
    )
    raw = graph.SerializeToString()
    (folder / "half.onnx").write_bytes(raw)
    text = (folder / "pack.toml").read_text()
    variant = 'role = "fusion"\nprecision = "bf16"\nfile = "half.onnx"\ntolerance = 0.05\n'
    text = text.replace("\n[head]", f"\n[[variants]]\n{variant}\n[head]", 1)
    digest = (
        f'path = "half.onnx"\nsha256 = "{hashlib.sha256(raw).hexdigest()}"\nsize = {len(raw)}\n'
    )
    (folder / "pack.toml").write_text(f"{text}\n[[files]]\n{digest}")
    told = call("check", folder)
    assert 0 == told.exit_code, told.output
    assert "fusion in bf16 is not compared here: ONNX Runtime has no MatMul of node half" in (
        told.stdout
    )
    told = call("conform", folder)
    assert (1, True) == (told.exit_code, "not compared in bf16 here" in told.output)


@pytest.mark.parametrize("place", ["../../../etc/hostname", "card.md"])
def test_weights_outside_of_the_graph_are_refused(folder: Path, place: str):
    """The runtime reads no other file for a graph that came as bytes."""
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    weights = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=1)
    weights.external_data.add(key="location", value=place)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weights]
    )
    sets = [helper.make_opsetid("", 17)]
    raw = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    rewrite(folder, "fusion.onnx", raw)
    told = call("check", folder)
    assert (1, True) == (told.exit_code, "ONNX Runtime cannot load it" in told.stdout)


def test_conform_compares_every_figure_of_the_author():
    """From the members' contributions to the interval, a line for each figure of each example."""
    told = call("conform", SHIPPED)
    assert 0 == told.exit_code
    for figure in ("probability", "low", "high", "logit", "logit/ct", "logit/labs"):
        assert 3 == told.stdout.count(f": {figure} differs by ")


def test_conform_compares_features_where_the_author_gives_them(folder: Path):
    """The stage before the graphs: one right figure and one wrong."""
    right = 0.5
    example(folder, lambda e: e.update({"feature/sex": right}))
    read = call("run", folder, folder / "examples/en.json").stdout
    sex = float(read.split("feature sex: ")[1].split()[0])
    example(folder, lambda e: e.update({"feature/sex": sex}))
    assert 0 == call("conform", folder).exit_code
    example(folder, lambda e: e.update({"feature/sex": sex + 0.01}))
    told = call("conform", folder)
    assert 1 == told.exit_code
    assert "BAD example   en: feature/sex differs by 0.01" in told.stdout


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda e: e.update(probability=0.123456), "en: probability differs by"),
        (lambda e: e.pop("probability"), "examples/en.json: expected.probability is missing"),
        (lambda e: e.update(mood=1.0), "expected.mood is no figure of this case"),
        (lambda e: e.update(logit="high"), "examples/en.json is no example"),
        (lambda e: e.update(logit=float("nan")), "en: logit differs by nan"),
    ],
)
def test_an_example_with_other_figures_fails(
    folder: Path, change: Callable[[dict[str, float]], object], named: str
):
    """Wrong, missing, unknown, not a number."""
    example(folder, change)
    told = call("conform", folder)
    assert (1, True) == (told.exit_code, named in told.stdout), told.output


def test_run_of_entries_gives_the_figures_of_the_example():
    """Readiness, features and the very probability that the example pins down."""
    file = SHIPPED / "examples/en.json"
    told = call("run", SHIPPED, file)
    assert 0 == told.exit_code, told.output
    expected = json.loads(file.read_bytes())["expected"]["probability"]
    assert "readiness: ready" in told.stdout
    told_line = next(n for n in told.stdout.splitlines() if n.startswith("Malignant liver lesion"))
    assert float(told_line.split(": ")[1].split()[0]) == pytest.approx(expected, abs=1e-4)
    assert "not evidence of clinical performance" in told.stdout


def test_run_of_hl7_reads_the_record_and_waits_for_the_ct(tmp_path: Path):
    """A laboratory message alone makes nobody eligible."""
    (tmp_path / "oru.hl7").write_bytes(HL7.replace(b"\r", b"\n"))
    told = call("run", SHIPPED, tmp_path / "oru.hl7", "--as-of", "2026-03-06")
    assert 0 == told.exit_code, told.output
    assert "readiness: waiting as of 2026-03-06T00:00:00+00:00" in told.stdout
    assert "rule contrast_ct (predict): unknown" in told.stdout
    assert "no prediction" in told.stdout


def bundle(*patients: str) -> bytes:
    """Patients as FHIR."""
    made = [
        {
            "resourceType": "Patient",
            "id": p,
            "gender": "female",
            "birthDate": "1960-05-01",
            "identifier": [{"system": "urn:oid:1.2.3", "value": p}],
        }
        for p in patients
    ]
    body = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": r} for r in made],
    }
    return json.dumps(body).encode()


def test_run_of_a_fhir_bundle(tmp_path: Path):
    """The same question of a Bundle."""
    body = json.loads(bundle("p1"))
    body["entry"].append({"resource": {"resourceType": "Practitioner", "id": "d1"}})
    (tmp_path / "one.json").write_text(json.dumps(body))
    told = call("run", SHIPPED, tmp_path / "one.json", "--authority", "urn:oid:1.2.3")
    assert 0 == told.exit_code, told.output
    assert "readiness: waiting" in told.stdout
    assert "not mapped Practitioner (information): " in told.stdout


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (bundle("p1", "p2"), "of 2 patients, not of one"),
        (b"\x00\x01", "neither JSON nor HL7 v2"),
        (b"[" * 100_000, "neither JSON nor HL7 v2"),
        (b"[]", "no file of entries"),
        (b'{"entries": []}', "as_of is missing"),
        (b"MSH|^~\\&|A", "this event is not mapped"),
        (
            b'{"as_of": "2026-03-06T12:00:00", "t0": "2026-03-06T12:00:00Z", "entries": [], "ct": null}',
            "no file of entries",
        ),
        (
            b'{"as_of": "2026-03-06T12:00:00Z", "t0": "2026-03-06T12:00:00", "entries": [], "ct": null}',
            "no file of entries",
        ),
        (bundle("p1").replace(b"1.2.3", b"1.2.4"), "no identifier whose assigning authority"),
    ],
)
def test_what_is_no_record_of_one_patient_is_refused(tmp_path: Path, content: bytes, named: str):
    """One line and status 1, no traceback."""
    (tmp_path / "record").write_bytes(content)
    told = call("run", SHIPPED, tmp_path / "record", "--authority", "urn:oid:1.2.3")
    assert 1 == told.exit_code
    assert isinstance(told.exception, SystemExit)
    assert named in told.stderr


def test_run_writes_nothing(folder: Path):
    """The folder is byte for byte and name for name as it was."""
    before = {p: p.stat().st_mtime_ns for p in folder.parent.rglob("*")}
    assert 0 == call("run", folder, folder / "examples/zh.json").exit_code
    assert before == {p: p.stat().st_mtime_ns for p in folder.parent.rglob("*")}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """What `init` makes of one graph with a column for each input."""
    (tmp_path / "risk.onnx").write_bytes(logistic([1, 2]))
    told = call("init", tmp_path / "risk", "--from", tmp_path / "risk.onnx")
    assert 0 == told.exit_code, told.output
    return tmp_path / "risk"


def test_init_fills_in_what_the_graph_tells(begun: Path):
    """Ports, widths and digests are there; every line for people is named by check and by load."""
    text = (begun / "pack.toml").read_text()
    for known in ('role = "risk"', '"x" = "labs.values"', 'output = "logit"', 'kind = "logit"'):
        assert known in text
    assert 2 == text.count("[[inputs]]")
    told = call("check", begun)
    number = 1 + text.splitlines().index(
        'title = "TODO: what it predicts, as a clinician would say it"'
    )
    assert 1 == told.exit_code
    assert f"pack.toml:{number}: title = " in told.stdout
    assert text.count("TODO") >= len(told.stdout.splitlines()) - 1 > 20
    with pytest.raises(ManifestRefused, match="your own words instead of TODO"):
        packs.load(begun)


def test_init_never_writes_over_a_folder(begun: Path, tmp_path: Path):
    """What people wrote is theirs."""
    before = (begun / "pack.toml").read_bytes()
    told = call("init", begun, "--from", tmp_path / "risk.onnx")
    assert (1, True) == (told.exit_code, "is there already" in told.output)
    assert before == (begun / "pack.toml").read_bytes()


def test_init_of_what_is_no_graph_leaves_nothing(tmp_path: Path):
    """A file that ONNX Runtime does not load, a file that is not there, a name that is no id."""
    (tmp_path / "no.onnx").write_bytes(b"not a graph")
    for name, graph in (("a", "no.onnx"), ("b", "absent.onnx"), ("No-Id", "no.onnx")):
        assert 1 == call("init", tmp_path / name, "--from", tmp_path / graph).exit_code
        assert not (tmp_path / name).exists()


def test_seal_lists_what_is_there_and_refuses_to_lose_a_table(folder: Path):
    """[[files]] are written anew; a table below them would be cut off."""
    before = packs.load(folder)
    assert 0 == call("seal", folder).exit_code
    assert before.digest == packs.load(folder).digest
    (folder / "note.md").write_text("more")
    with pytest.raises(PackRefused, match=r"note\.md is not listed"):
        packs.load(folder)
    assert 0 == call("seal", folder).exit_code
    assert b"more" == packs.load(folder).contents["note.md"]
    with (folder / "pack.toml").open("a") as stream:
        stream.write('\n[release]\nudi = "x"\n')
    text = (folder / "pack.toml").read_bytes()
    told = call("seal", folder)
    assert (1, True) == (told.exit_code, "[[files]] must stand last" in told.output)
    assert text == (folder / "pack.toml").read_bytes()


@pytest.mark.parametrize(
    ("name", "expect", "status", "named"),
    [
        ("one", "logit=0.5", 1, "probability is missing"),
        ("one", "probability=0.5 mood=1", 1, "mood is no figure of this case"),
        ("one", "probability=high", 2, "FIGURE=NUMBER"),
        ("one", "=0.5", 2, "FIGURE=NUMBER"),
        ("one", "probability=0.5 probability=0.6", 2, "each figure once"),
        ("../one", "probability=0.5", 2, "a plain name"),
        ("zh", "probability=0.5", 1, "examples/zh.json is there already"),
    ],
)
def test_an_example_needs_figures_that_there_are(
    folder: Path, name: str, expect: str, status: int, named: str
):
    """Nothing is written otherwise."""
    before = (folder / "pack.toml").read_bytes()
    words = [w for one in expect.split() for w in ("--expect", one)]
    told = call("example", folder, name, folder / "examples/en.json", *words)
    assert (status, True) == (told.exit_code, named in told.output), told.output
    assert before == (folder / "pack.toml").read_bytes()


def test_a_recalibration_is_signed_beside_itself(folder: Path, tmp_path: Path):
    """FILE.sig; what is no recalibration is not signed."""
    key = tmp_path / "key.pem"
    key.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    file = tmp_path / "own.toml"
    file.write_text("format = 1\n")
    told = call("sign", file, "--key", key)
    assert (1, True) == (told.exit_code, "own.toml: pack_digest: expected a text" in told.output)
    file.write_text(
        f'format = 1\npack_digest = "{packs.load(folder).digest}"\nversion = "1"\nslope = 1.1\n'
        'intercept = 0.1\nthreshold = 0.4\nlocked = "here"\nwords = "nobody"\n'
    )
    assert 0 == call("sign", file, "--key", key).exit_code
    assert (tmp_path / "own.toml.sig").is_file()


def test_sign_then_verify_then_tamper(folder: Path, tmp_path: Path):
    """A signed pack checks and verifies; one changed word of pack.toml ends that."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    spki = PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, spki))
    assert "pack.sig is missing" in call("verify", folder, "--key", public).stderr
    assert 0 == call("sign", folder, "--key", private).exit_code
    assert 0 == call("verify", folder, "--key", public).exit_code
    assert 0 == call("check", folder).exit_code
    file = folder / "pack.toml"
    file.write_text(file.read_text().replace("Liver lesion", "Lung lesion", 1))
    told = call("verify", folder, "--key", public)
    assert (1, True) == (told.exit_code, "not of this key and pack.toml" in told.stderr)
    assert 1 == call("verify", folder, "--key", tmp_path / "none.pub").exit_code
