"""Small packs of every shape, made of graphs that a test writes by hand or an author would export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from inference import listing
from inference.assess import Case
from mappings.record import Code, Entry, Identifier, PatientRecord, Quantity, Source, When

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
LABS = {"CEA": ("2039-6", "ng/mL"), "ALB": ("1751-7", "g/dL")}

_PROTOCOL = """\
format = 1

[pack]
id = "outside"
version = "1.0.0"
title = "A model from outside"
study = "none"
question = "outside"
intended_use = "Tests."
not_for = "Care of any person."
licence = "Apache-2.0"
modalities = ["labs"]

[index]
on = "assessment"
text = "the moment of the assessment"

[lock]
days = 0

[training_data]
kind = "clinical"
words = "Nobody at all; a test."

[[rules]]
id = "labs"
scope = "predict"
test = "inputs"
inputs = ["CEA"]
text = "CEA is known"
source = "test"

[[triggers]]
on = "observation"
codes = ["2039-6"]
text = "a CEA arrives"
"""
_LAB = """
[[inputs]]
id = "{name}"
kind = "quantity"
modality = "labs"
display = "{name}"
required = false
codes = ["{code}"]
unit = "{unit}"
plausible = [0, 50000]
window_days = [-30, 0]
transform = "identity"
{more}
"""
# A grid of eight voxels, around what `roi` says.
CT = """
[ct]
phases = ["AP"]
required = ["AP"]
min_confidence = 0.5
grid = [2, 2, 2]
spacing_mm = [1, 1, 1]
roi = "{roi}"
resampling = "area"
hu_clip = [-200, 300]
intensity = "hu"
without = "{without}"
{more}
"""
CLASSES = ("no", "yes")
TIERS = '\n[tiers]\nthreshold = 0.5\nbelow = "lower"\nabove = "higher"\nlocked = "test"\n'
PLATT = '[calibration]\nmethod = "platt"\nslope = 1.0\nintercept = 0.0\n'
AUTHOR = '[calibration]\nmethod = "author"\nwords = "isotonic on others"\n'


def outputs(codes: Sequence[str] = CLASSES, positive: str = "yes") -> str:
    """[[outputs]] in the order of the graph's columns."""
    return "".join(
        f'\n[[outputs]]\ncode = "{c}"\nsystem = "urn:test"\ndisplay = "{c}"\n'
        f"positive = {str(c == positive).lower()}\n"
        for c in codes
    )


def made(
    folder: Path,
    graph: bytes,
    *,
    head: str,
    feeds: str = 'x = "labs.values"',
    classes: str = "",
    calibration: str = PLATT,
    tiers: str = TIERS,
    graphs: str = "",
    more: Mapping[str, str] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """A pack with one graph `model`, and what else a test says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph)
    for name, raw in (files or {}).items():
        (folder / name).write_bytes(raw)
    labs = "".join(
        _LAB.format(name=n, code=c, unit=u, more=(more or {}).get(n, ""))
        for n, (c, u) in LABS.items()
    )
    own = f'\n[[graphs]]\nrole = "model"\nfile = "model.onnx"\n{graphs}\n[graphs.feeds]\n{feeds}\n'
    text = (
        f'{_PROTOCOL}{labs}{own}\n[head]\ngraph = "model"\n{head}\n{classes or outputs()}'
        f"{tiers}\n{calibration}"
    )
    (folder / "pack.toml").write_text(text + listing.files(folder))
    return folder


def lab(name: str, value: str, days: float = -1) -> Entry:
    """A result of the record."""
    code, unit = LABS[name]
    return Entry(
        kind="observation",
        key=f"observation/{value}/{code}/",
        patient=Identifier("SYN-1", "example"),
        source=Source("lab", 1, T0 - timedelta(hours=1)),
        path="OBX[1]-5",
        code=Code("http://loinc.org", code),
        value=Quantity(Decimal(value), unit, value, unit),
        effective=When.instant(T0 + timedelta(days=days)),
    )


def case(*entries: Entry) -> Case:
    """A patient at T0."""
    record = PatientRecord.of(list(entries), as_of=T0)
    return Case(record=record, ct=None, t0=T0, as_of=T0)


def onnx_graph(
    nodes: Sequence[Any],
    takes: Mapping[str, Sequence[Any]],
    gives: Mapping[str, Sequence[Any]],
    weights: Mapping[str, Any] | None = None,
    kind: int = onnx.TensorProto.FLOAT,
) -> bytes:
    """A graph of nodes, with float inputs and outputs of given shapes."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(n, kind, list(s)) for n, s in takes.items()],
        [helper.make_tensor_value_info(n, kind, list(s)) for n, s in gives.items()],
        [_weight(n, v) for n, v in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _weight(name: str, value: Any) -> onnx.TensorProto:
    """Floats, unless they are int64 already: axes."""
    found = np.asarray(value)
    whole = isinstance(value, np.ndarray) and found.dtype == np.int64
    return numpy_helper.from_array(found if whole else found.astype(np.float32), name)


def logistic(weights: Sequence[float], bias: float = 0.0) -> bytes:
    """Logit (B, 1) = x (B, n) · weights + bias."""
    return onnx_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["logit"])],
        {"x": ["batch", len(weights)]},
        {"logit": ["batch", 1]},
        {"w": [[w] for w in weights], "b": [bias]},
    )
