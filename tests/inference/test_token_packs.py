"""Packs whose text encoder reads the report as tokens (model-rules 26)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from made_packs import T0, case, lab, made, onnx_graph
from onnx import helper
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from inference import packs, tokens
from inference.assess import Case, assess, outputs
from inference.errors import ManifestRefused, PackRefused
from mappings.record import Code, Entry, Identifier, Source, When

WORDS = {
    "[UNK]": 0,
    "lesion": 1,
    "wash-out": 2,
    "肝": 3,
    "右": 4,
    "叶": 5,
    "占": 6,
    "位": 7,
    "[PAD]": 9,
}
HEAD = 'kind = "logit"\noutput = "logit"'
REPORT = """
[[inputs]]
id = "findings"
kind = "report"
modality = "text"
display = "Radiology report"
required = false
codes = ["18748-4"]
window_days = [-30, 0]
section = "findings"

[tokens]
file = "tokenizer.json"
length = 4
pad = 9
"""


def tokenizer() -> bytes:
    """Words and single Chinese characters; it would pad and cut by itself, if it were let."""
    own = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("[一-鿿]"), "isolated")]
    )
    own.enable_truncation(2)
    own.enable_padding(pad_id=0, length=7)
    return own.to_str().encode()


def summed() -> bytes:
    """Logit = sum of the ids where the mask is, plus ten where a report is."""
    nodes = [
        helper.make_node("Mul", ["ids", "mask"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["real"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["real", "axis"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["present", "ten"], ["tens"]),
        helper.make_node("Add", ["sum", "tens"], ["logit"]),
    ]
    raw = onnx_graph(
        nodes, {"present": ["n", 1]}, {"logit": ["n", 1]}, {"axis": np.array([1]), "ten": 10.0}
    )
    model = onnx.load_from_string(raw)
    for name in ("ids", "mask"):
        port = helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["n", 4])
        model.graph.input.append(port)
    return bytes(model.SerializeToString())


FEEDS = 'ids = "text.tokens"\nmask = "text.token_mask"\npresent = "text.present"'


def pack(folder: Path, feeds: str = FEEDS, file: bytes | None = None) -> Path:
    """The pack of `made` with a report and a tokenizer."""
    made(folder, summed(), head=HEAD, feeds=feeds, files={"tokenizer.json": file or tokenizer()})
    text = (folder / "pack.toml").read_text()
    text = text.replace('modalities = ["labs"]', 'modalities = ["labs", "text"]')
    (folder / "pack.toml").write_text(text.replace("\n[[graphs]]", f"{REPORT}\n[[graphs]]", 1))
    return folder


def report(text: str) -> Case:
    """A patient with a report of these findings."""
    entry = Entry(
        kind="report", key="report/1", patient=Identifier("SYN-1", "example"),
        source=Source("ris", 2, T0), path="OBX[1]-5", code=Code("http://loinc.org", "18748-4"),
        effective=When.instant(T0), details={"sections": {"findings": text, "impression": "lesion"}},
    )  # fmt: skip
    return case(lab("CEA", "2"), entry)


@pytest.mark.parametrize(
    ("text", "ids", "cut"),
    [
        ("lesion wash-out", [1, 2, 9, 9], False),
        ("肝右叶占位", [3, 4, 5, 6], True),
        ("肝右叶 lesion", [3, 4, 5, 1], False),
        ("something else", [0, 0, 9, 9], False),
    ],
)
def test_a_report_becomes_as_many_tokens_as_the_pack_says(text: str, ids: list[int], cut: bool):
    """Chinese and English; what the file says of length and padding does not count."""
    found = tokens.encode(tokenizer(), text, 4, 9)
    assert (ids, cut) == (found.ids.tolist(), found.cut)
    assert [int(i != 9) for i in ids] == found.mask.tolist()


def test_a_graph_reads_tokens_and_knows_where_there_are_none(tmp_path: Path):
    """The findings only, never the impression; without a report the mask is empty."""
    own = packs.load(pack(tmp_path / "p"))
    told = assess(own, [report("肝 lesion"), case(lab("CEA", "2")), report("肝右叶占位")])
    assert pytest.approx([10 + 3 + 1, 0, 10 + 3 + 4 + 5 + 6]) == [one.logit for one in told]
    assert [[], ["findings"], ["findings"]] == [
        [m.input for m in one.missing if m.input == "findings"] for one in told
    ]
    (late,) = [m for m in told[2].missing if m.input == "findings"]
    assert ("the report has more than 4 tokens", "what follows was not read") == (
        late.reason, late.handling,
    )  # fmt: skip
    assert pytest.approx(14) == outputs(own, report("肝 lesion"))["model.logit"][0]


@pytest.mark.parametrize(
    ("feeds", "named"),
    [
        (FEEDS.replace("text.tokens", "text.present"), "input ids is no tensor of float or double"),
        (FEEDS.replace("text.present", "text.tokens"), "input present is no tensor of int64"),
    ],
)
def test_tokens_are_whole_and_nothing_else_is(tmp_path: Path, feeds: str, named: str):
    """Either way round, at load."""
    with pytest.raises(PackRefused, match=named):
        packs.load(pack(tmp_path / "p", feeds))


def test_a_file_that_is_no_tokenizer_is_refused_at_load(tmp_path: Path):
    """Before the first report comes."""
    with pytest.raises(PackRefused, match="its tokenizer file is none"):
        packs.load(pack(tmp_path / "p", file=b'{"model": 1}'))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('file = "tokenizer.json"\nlength', 'file = "other.json"\nlength', "tokens.file"),
        ("length = 4", "length = 0", "tokens.length"),
        ('"text.tokens"', '"text.findings"', "graphs[0].feeds.ids"),
    ],
)
def test_a_manifest_whose_tokens_come_from_nowhere_is_refused(
    tmp_path: Path, old: str, new: str, key: str
):
    """By file, line and key; there are no findings without words for them."""
    folder = pack(tmp_path / "p")
    text = (folder / "pack.toml").read_text()
    assert 1 == text.count(old)
    (folder / "pack.toml").write_text(text.replace(old, new))
    with pytest.raises(ManifestRefused) as caught:
        packs.load(folder)
    assert key == caught.value.key
