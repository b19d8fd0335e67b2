"""`oncord pack init`, `seal`, `check` and `example` on what people really bring them."""

from __future__ import annotations

import base64
import json
import shutil
import tomllib
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from made_packs import lab, logistic, made, onnx_graph
from onnx import helper
from typer.testing import CliRunner, Result

from inference import conform, listing, packs
from workers.pack import app

RUN = CliRunner()
LOGIT = 'kind = "logit"\noutput = "logit"'
SHIPPED = Path(packs.__file__).parent / "packs" / "liver_dx"
HL7 = (
    b"MSH|^~\\&|LAB|HOSP|ONCORD|HOSP|20260302120000+0000||ORU^R01^ORU_R01|77|P|2.5.1\r"
    b"PID|1||SYN-4711||SYNTHETIC^PATIENT||19600101|M\r"
    b"OBR|1||A1|2039-6^CEA^LN|||20260301080000+0000|||||||||||||||20260301090000+0000|||F\r"
    b"OBX|1|NM|2039-6^CEA^LN||12.5|ng/mL|||||F\r"
)


def call(*words: object) -> Result:
    """One command."""
    return RUN.invoke(app, [str(w) for w in words])


def encoder() -> bytes:
    """Two numbers as two numbers."""
    node = helper.make_node("Relu", ["x"], ["embedding"])
    return onnx_graph([node], {"x": ["n", 2]}, {"embedding": ["n", 2]})


def test_init_of_a_chain_says_where_a_graph_can_be_fed_from(tmp_path: Path):
    """Any file name becomes a role that the manifest takes, and text that TOML takes."""
    first, second = tmp_path / "labs.onnx", tmp_path / '2026 "最终"𝛼.onnx'
    first.write_bytes(encoder())
    second.write_bytes(logistic([1, 1]))
    told = call("init", tmp_path / "p", "--from", first, "--from", second)
    assert 0 == told.exit_code, told.output
    body = tomllib.loads((tmp_path / "p" / "pack.toml").read_text())
    assert [("graph_labs", "labs.onnx"), ("graph_2026", second.name)] == [
        (g["role"], g["file"]) for g in body["graphs"]
    ]
    assert "ROLE.OUTPUT of a graph above" in body["graphs"][1]["feeds"]["x"]
    assert "graph_2026" == body["head"]["graph"]
    assert {"card.md", first.name, second.name} == {f["path"] for f in body["files"]}


def test_init_never_lets_one_graph_take_the_place_of_another(tmp_path: Path):
    """Both came as model.onnx, of folders of their own."""
    for name, raw in (("a", encoder()), ("b", logistic([1, 1]))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(raw)
    files = [tmp_path / name / "model.onnx" for name in "ab"]
    told = call("init", tmp_path / "p", "--from", files[0], "--from", files[1])
    assert (1, True) == (told.exit_code, "a name of its own" in told.output)
    assert not (tmp_path / "p").exists()


def test_init_of_a_survival_graph_leaves_the_head_to_people(tmp_path: Path):
    """(B, intervals, classes) and (B, members, modalities) look alike."""
    node = helper.make_node("Unsqueeze", ["x", "axis"], ["hazards"])
    (tmp_path / "g.onnx").write_bytes(
        onnx_graph([node], {"x": ["n", 2]}, {"hazards": ["n", 1, 2]}, {"axis": np.array([1])})
    )
    assert 0 == call("init", tmp_path / "p", "--from", tmp_path / "g.onnx").exit_code
    head = tomllib.loads((tmp_path / "p" / "pack.toml").read_text())["head"]
    assert ("hazards", True) == (head["output"], "TODO: hazards or additive" in head["kind"])


@pytest.mark.parametrize("command", ["check", "seal"])
def test_a_manifest_that_is_not_utf_8_is_told_in_a_line(tmp_path: Path, command: str):
    """As an editor of another house saves it."""
    folder = made(tmp_path / "p", logistic([1, 1]), head=LOGIT)
    text = (folder / "pack.toml").read_text().replace("A model from outside", "外部模型")
    (folder / "pack.toml").write_bytes(text.encode("gb18030"))
    told = call(command, folder)
    assert (1, True) == (told.exit_code, "pack.toml is not UTF-8" in told.output), told.output


def example(folder: Path, entries: list[object], expected: dict[str, object]) -> None:
    """An example that its author wrote by hand."""
    body = {"as_of": "2026-03-02T09:00:00+00:00", "t0": "2026-03-02T09:00:00+00:00", "ct": None,
            "entries": entries, "expected": expected}  # fmt: skip
    (folder / "examples").mkdir()
    (folder / "examples" / "one.json").write_text(json.dumps(body))
    listing.seal(folder)


def entries(*values: tuple[str, str]) -> list[object]:
    """Results as an example holds them."""
    return [conform._entry_to_json(lab(name, value)) for name, value in values]


def test_check_tells_of_a_graph_that_gives_no_figure_for_an_example(tmp_path: Path):
    """Albumin is missing; the graph makes NaN of it."""
    folder = made(tmp_path / "p", logistic([1, 1]), head=LOGIT)
    example(folder, entries(("CEA", "2")), {"probability": 0.5})
    told = call("check", folder)
    assert 1 == told.exit_code
    assert "BAD example   graph model: gave a figure that is not finite" in told.stdout


def test_check_compares_no_figure_with_nan(tmp_path: Path):
    """A figure beside it that is right must not hide it."""
    folder = made(tmp_path / "p", logistic([1, -1]), head=LOGIT)
    example(folder, entries(("CEA", "2"), ("ALB", "2")),
            {"probability": 0.5, "feature/CEA": float("nan")})  # fmt: skip
    told = call("check", folder)
    assert (1, True) == (told.exit_code, "one: all figures differs by nan" in told.stdout)


def test_an_example_that_lacks_a_part_names_it(tmp_path: Path):
    """Written by hand, read at three in the morning."""
    folder = made(tmp_path / "p", logistic([1, -1]), head=LOGIT)
    example(folder, [{"kind": "observation"}], {"probability": 0.5})
    told = call("check", folder)
    assert (1, True) == (told.exit_code, "one.json is no example: key is missing" in told.stdout)


def test_an_example_of_nan_is_not_kept(tmp_path: Path):
    """Nothing could ever differ from it."""
    folder = made(tmp_path / "p", logistic([1, 1]), head=LOGIT)
    (tmp_path / "r.hl7").write_bytes(HL7)
    told = call("example", folder, "one", tmp_path / "r.hl7", "--expect", "probability=nan")
    assert (2, True) == (told.exit_code, "a finite number" in told.output)
    assert not (folder / "examples").exists()


def test_an_example_of_a_study_says_what_file_it_needs(tmp_path: Path):
    """A message holds no volumes."""
    (tmp_path / "r.hl7").write_bytes(HL7)
    told = call("example", SHIPPED, "one", tmp_path / "r.hl7", "--expect", "probability=0.5")
    assert 1 == told.exit_code
    assert "the index is start of the contrast CT" in told.output
    assert "only a file of entries with `ct` can hold" in told.output


def test_an_example_keeps_of_a_report_the_section_that_is_read(tmp_path: Path):
    """Findings are an input; the impression would tell the diagnosis, and of whom."""
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "liver_dx"))
    body = json.loads((SHIPPED / "examples/en.json").read_bytes())
    reports = [e for e in body["entries"] if e["kind"] == "report"]
    reports[0]["details"]["sections"]["impression"] = "SYN-SECRET"
    (tmp_path / "r.json").write_text(json.dumps(body))
    figure = f"probability={body['expected']['probability']}"
    told = call("example", folder, "kept", tmp_path / "r.json", "--expect", figure)
    assert 0 == told.exit_code, told.output
    kept = (folder / "examples/kept.json").read_text()
    assert ("findings" in kept, "SYN-SECRET" in kept) == (True, False)
    assert 0 == call("check", folder).exit_code


def test_a_few_bytes_do_not_unfold_to_gigabytes(tmp_path: Path):
    """Of a volume no more is unpacked than its shape has room for."""
    body = json.loads((SHIPPED / "examples/en.json").read_bytes())
    bomb = zlib.compress(bytes(64 << 20))
    body["ct"] |= {"shape": [1, 2, 2, 2], "row_steps_int16_zlib": base64.b64encode(bomb).decode()}
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"not as many figures"):
        conform.case_from_json(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
