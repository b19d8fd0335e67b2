"""What is wrong with a pack is told when it is loaded, not when a patient waits (model-rules 26)."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_packs import AUTHOR, PLATT, TIERS, case, lab, logistic, made, onnx_graph
from onnx import helper, numpy_helper

from inference import packs, session
from inference.assess import assess
from inference.errors import ManifestRefused, PackRefused, SessionRefused
from inference.session import Onnx, Port
from inference.toml_table import document

LOGIT = 'kind = "logit"\noutput = "logit"'
ADDITIVE = 'kind = "additive_logit"\noutput = "parts"\nbias = "bias"'
PROBABILITIES = 'kind = "probabilities"\noutput = "p"'
PATIENT = case(lab("CEA", "12.5"), lab("ALB", "4.1"))


def given(rows: object, shape: list[object], **more: tuple[object, list[object]]) -> bytes:
    """A graph that gives the same figures for every case: `p`, and what else is told."""
    gives = {"p": (rows, shape), **more}
    nodes = [helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=1),
             helper.make_node("Mul", ["sum", "zero"], ["none"])]  # fmt: skip
    nodes += [helper.make_node("Add", ["none", f"{n}_w"], [n]) for n in gives]
    weights = {f"{n}_w": v for n, (v, _) in gives.items()}
    return onnx_graph(nodes, {"x": ["n", 2]}, {n: s for n, (_, s) in gives.items()},
                      weights | {"zero": 0.0, "axis": np.array([1])})  # fmt: skip


def additive(width: object, bias: float = 0.5) -> bytes:
    """Contributions (B, 1, n) of the numbers, and a bias."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["parts"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "zero"], ["none"]),
        helper.make_node("Add", ["none", "b"], ["bias"]),
    ]
    return onnx_graph(nodes, {"x": ["n", width]}, {"parts": ["n", 1, width], "bias": ["n", 1]},
                      {"axis": np.array([1]), "zero": 0.0, "b": bias})  # fmt: skip


def fixed() -> bytes:
    """As torch exports without `dynamic_axes`: one patient at a time."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["logit"])]
    return onnx_graph(nodes, {"x": [1, 2]}, {"logit": [1, 1]}, {"w": [[1], [1]]})


@pytest.mark.parametrize(
    ("graph", "head", "calibration", "named"),
    [
        (fixed(), LOGIT, PLATT, "input x takes batches of 1 only"),
        (additive(2), ADDITIVE, PLATT, r"parts has shape \(None, 1, 2\).*a case has \(1, 1\)"),
        (logistic([1, 1]), LOGIT, f"{PLATT}members = 3\ninterval = 0.9\nt_quantile = 2.9\n",
         r"logit has shape .*a case has \(3,\)"),
        (given([[0.2, 0.8]], ["n", 2]), PROBABILITIES,
         f"{AUTHOR}members = 3\ninterval = 0.9\nt_quantile = 2.9\n", "calibration.members"),
    ],
)  # fmt: skip
def test_a_graph_of_another_batch_or_width_is_refused_at_load(
    tmp_path: Path, graph: bytes, head: str, calibration: str, named: str
):
    """One patient's example would pass with each of these; a batch, or a modality, would not."""
    with pytest.raises(PackRefused, match=named):
        packs.load(made(tmp_path / "p", graph, head=head, calibration=calibration))


def test_a_width_that_the_graph_leaves_open_is_looked_at_for_each_batch(tmp_path: Path):
    """Two contributions for one modality: one would be dropped, and the sum would not be theirs."""
    pack = packs.load(made(tmp_path / "p", additive("k"), head=ADDITIVE))
    with pytest.raises(SessionRefused, match=r"gave parts of shape \(1, 2\) for a case"):
        assess(pack, [PATIENT])


def test_a_bias_that_is_not_finite_gives_no_result(tmp_path: Path):
    """Contributions alone were finite."""
    both = 'x = ["labs.present"]'
    graph = onnx_graph(
        [helper.make_node("Unsqueeze", ["x", "axis"], ["parts"]),
         helper.make_node("Mul", ["x", "b"], ["bias"])],
        {"x": ["n", 1]}, {"parts": ["n", 1, 1], "bias": ["n", 1]},
        {"axis": np.array([1]), "b": np.nan},
    )  # fmt: skip
    pack = packs.load(made(tmp_path / "p", graph, head=ADDITIVE, feeds=both))
    with pytest.raises(SessionRefused, match="not finite"):
        assess(pack, [PATIENT])


def test_a_constant_beside_the_result_is_none_of_a_case(tmp_path: Path):
    """A temperature, say; what has rows must have one for each case."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["logit"]),
             helper.make_node("ReduceSum", ["w"], ["total"], keepdims=0)]  # fmt: skip
    weights = {"w": [[1], [1]]}
    scalar = onnx_graph(nodes, {"x": ["n", 2]}, {"logit": ["n", 1], "total": []}, weights)
    pack = packs.load(made(tmp_path / "a", scalar, head=LOGIT))
    assert pytest.approx([16.6, 16.6], abs=1e-5) == [o.logit for o in assess(pack, [PATIENT] * 2)]
    nodes[1] = helper.make_node("ReduceSum", ["x"], ["total"], keepdims=1)
    one = onnx_graph(nodes, {"x": ["n", 2]}, {"logit": ["n", 1], "total": ["k", 1]}, weights)
    with pytest.raises(SessionRefused, match="gave total without a row for each case"):
        assess(packs.load(made(tmp_path / "b", one, head=LOGIT)), [PATIENT] * 2)


def test_rounding_never_leaves_the_range_of_a_probability(tmp_path: Path):
    """-0.05 % would be no RiskAssessment."""
    graph = given([[1.0005, -0.0005]], ["n", 2])
    pack = packs.load(made(tmp_path / "p", graph, head=PROBABILITIES, calibration=AUTHOR))
    said = assess(pack, [PATIENT])[0]
    assert [0, 1] == [o.probability for o in said.outcomes]


REFERENCE = """
[reference]
names = ["CEA", "model.logit/0"]
centre = [1, 2]
spread = [1, 1]
limit = 4
"""


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"CEA"', '"CEAA"', "reference.names"),
        ("model.logit/0", "model/0", "reference.names"),
        ("spread = [1, 1]", "spread = [1, 0]", "reference.spread"),
        ("limit = 4", "limit = 4\nphase_hu = { PV = [1, 2] }", "reference.phase_hu"),
        ("centre = [1, 2]", "centre = [nan, 2]", "reference.centre"),
        ("limit = 4", "limit = inf", "reference.limit"),
    ],
)  # fmt: skip
def test_a_reference_that_could_never_speak_is_refused(
    tmp_path: Path, old: str, new: str, key: str
):
    """A misspelt input would never be looked at, and nobody would know."""
    good = made(tmp_path / "a", logistic([1, 1]), head=LOGIT, tiers=TIERS + REFERENCE)
    assert "far outside" in assess(packs.load(good), [PATIENT])[0].ood_reasons[0]
    assert 1 == REFERENCE.count(old)
    tiers = TIERS + REFERENCE.replace(old, new)
    with pytest.raises(ManifestRefused) as caught:
        packs.load(made(tmp_path / "b", logistic([1, 1]), head=LOGIT, tiers=tiers))
    assert key == caught.value.key


@pytest.mark.parametrize("value", ["[]", "nan", "inf", "[-inf]", "1" + "0" * 400])
def test_a_number_is_finite_and_a_list_of_them_not_empty(value: str):
    """TOML knows all of these."""
    table = document(f"[calibration]\n\nslope = {value}".encode(), "pack.toml")
    with pytest.raises(ManifestRefused, match=r"pack\.toml:3: calibration\.slope: expected a"):
        table.table("calibration").one_or_more_numbers("slope")


@pytest.mark.parametrize(
    ("raw", "line"),
    [(b"a = 1\nb = 2\na = 3\n", 3), (b"a = 1\nb =\n", 2), (b"a = " + b"[" * 100_000, 0),
     (b"\xff", 0)],
)  # fmt: skip
def test_what_is_no_toml_is_refused_by_its_line(raw: bytes, line: int):
    """A key written twice, a value forgotten, brackets without end, another encoding."""
    with pytest.raises(ManifestRefused) as caught:
        document(raw, "pack.toml")
    assert line == caught.value.line


def outside(folder: Path, file: str, feeds: str = 'x = "labs.values"') -> Path:
    """A pack whose weights lie in a file of their own."""
    tensor = numpy_helper.from_array(np.array([[2.0], [1.0]], np.float32), "w")
    weights = onnx.TensorProto(name="w", data_type=1, dims=tensor.dims, data_location=1)
    weights.external_data.add(key="location", value=file)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logit"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 2])],
        [helper.make_tensor_value_info("logit", 1, ["n", 1])],
        [weights],
    )
    sets = [helper.make_opsetid("", 17)]
    raw = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    (folder / file).parent.mkdir(parents=True)
    return made(
        folder, raw, head=LOGIT, feeds=feeds, graphs=f'external = ["{file}"]',
        files={file: tensor.raw_data},
    )  # fmt: skip


def test_weights_may_lie_in_a_folder_below_and_are_never_a_link(tmp_path: Path):
    """A link would let the weights change behind the digest, or be another's."""
    folder = outside(tmp_path / "p", "weights/part.bin")
    assert pytest.approx(29.1, abs=1e-4) == assess(packs.load(folder), [PATIENT])[0].logit
    file = folder / "weights" / "part.bin"
    pack = packs.load(folder)
    file.rename(tmp_path / "elsewhere.bin")
    file.symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(PackRefused, match=r"weights/part\.bin is a link"):
        packs.load(folder)
    with pytest.raises(PackRefused, match=r"weights/part\.bin cannot be read"):
        pack.graph("model").external["weights/part.bin"]()


def test_a_graph_with_weights_outside_is_looked_at_when_it_is_first_run(tmp_path: Path):
    """It is not loaded with its folder; what nobody feeds is said all the same."""
    feeds = 'x = "labs.values"\ny = "labs.mask"'
    pack = packs.load(outside(tmp_path / "p", "w/part.bin", feeds))
    with pytest.raises(SessionRefused, match="input y is fed, but the graph has none such"):
        assess(pack, [PATIENT])


def test_a_graph_that_loads_holds_up_no_other():
    """Its own second caller waits; another graph's does not."""
    other, seen = logistic([3, 4]), threading.Event()
    found: list[bool] = []

    def slowly() -> bytes:
        found.append(seen.wait(5))
        return b""

    slow = Onnx(digest="slow", raw=logistic([1, 2]), external={"w": slowly})
    thread = threading.Thread(target=session.warm, args=("slow", slow))
    thread.start()
    session.warm("other", Onnx.of(other))
    seen.set()
    thread.join()
    assert [True] == found


def test_the_trial_run_feeds_each_input_its_own_type():
    """The look for operators on the CPU must not fail on a graph of doubles."""
    fed = session.blank({"x": Port(np.float64, (None, 3)), "v": Port(np.float32, (None, 1, 2))})
    assert [(np.float64, (1, 3)), (np.float32, (1, 1, 2))] == [
        (one.dtype, one.shape) for one in fed.values()
    ]
