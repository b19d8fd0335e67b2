"""ONNX Runtime: the only place that knows it.

A session is made from verified bytes, runs on one thread, and stays warm for the life of the
process. What a session really runs on is what `get_providers()` says: the list of available
providers is not to be trusted (architecture.md, facts).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.errors import SessionRefused

Provider = Literal["cpu", "cuda"]
_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    # TF32 off: parity with the CPU is promised without it (model-rules 15).
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
}
# Shape arithmetic may stay on the CPU; these may not (model-rules 15).
_COMPUTE = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Softmax", "AveragePool"})


class Session:
    """One graph, loaded and ready."""

    def __init__(self, name: str, graph: bytes, provider: Provider = "cpu") -> None:
        """Load a graph from bytes.

        Raises:
            SessionRefused: not a graph, or not placed on the provider asked for.
        """
        self.name, self.provider = name, provider
        self._session = _open(name, graph, provider, None)
        if provider == "cuda" and "CUDAExecutionProvider" not in self.providers:
            raise SessionRefused(name, "CUDA was asked for, and the session runs on the CPU")
        if provider == "cuda":
            _refuse_compute_on_cpu(name, graph)
        self.outputs = tuple(o.name for o in self._session.get_outputs())

    @property
    def providers(self) -> tuple[str, ...]:
        """What the session really runs on."""
        return tuple(self._session.get_providers())

    def run(self, **feeds: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name.

        Raises:
            SessionRefused: a feed has another name, type or shape than the graph declares.
        """
        try:
            made = self._session.run(None, feeds)
        except Exception as error:  # ONNX Runtime's errors share no class of their own
            raise SessionRefused(self.name, "run failed: a feed does not fit the graph") from error
        return dict(zip(self.outputs, made, strict=True))


_warm: dict[tuple[str, str], Session] = {}
_lock = threading.Lock()


def warm(name: str, graph: bytes, provider: Provider = "cpu") -> Session:
    """The process's session of these bytes on this provider, made at the first call."""
    key = (hashlib.sha256(graph).hexdigest(), provider)
    with _lock:
        if key not in _warm:
            _warm[key] = Session(name, graph, provider)
        return _warm[key]


def _open(
    name: str, graph: bytes, provider: Provider, profile: Path | None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=_PROVIDERS[provider])
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        raise SessionRefused(name, _why(str(error))) from error


# ONNX Runtime's words, 1.24 to 1.31, for an operator of no domain or opset that it has kernels for.
_UNKNOWN_OPERATOR = (
    re.compile(r'In Node, \("(?P<node>[^"]*)", (?P<op>\w+),.* No Op registered for '),
    re.compile(r"Fatal error: (?P<op>\S+)\(-?\d+\) is not a registered function/op"),
    re.compile(r"an implementation for (?P<op>\S+)\(\d+\) node with name '(?P<node>[^']*)'"),
)


def _why(told: str) -> str:
    """Which operator of which node is unknown, where ONNX Runtime says so."""
    for pattern in _UNKNOWN_OPERATOR:
        if found := pattern.search(told):
            node = found.groupdict().get("node")
            where = f" of node {node}" if node else ""
            return f"ONNX Runtime cannot load it: unknown operator {found['op']}{where}"
    return "ONNX Runtime cannot load it"


def _refuse_compute_on_cpu(name: str, graph: bytes) -> None:
    """Run once with zeros under the profiler and look where every node went."""
    with TemporaryDirectory() as folder:
        session = _open(name, graph, "cuda", Path(folder, "profile"))
        feeds = {
            i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32)
            for i in session.get_inputs()
        }
        session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    stray = compute_on_cpu(events)
    if stray:
        raise SessionRefused(name, f"on the CPU although CUDA was asked for: {', '.join(stray)}")


def compute_on_cpu(events: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Compute operators that a profile shows on the CPU, by name and once each."""
    found = {
        str(e["args"]["op_name"])
        for e in events
        if e.get("cat") == "Node"
        and e.get("args", {}).get("provider") == "CPUExecutionProvider"
        and _is_compute(str(e["args"].get("op_name", "")))
    }
    return tuple(sorted(found))


def _is_compute(operator: str) -> bool:
    return operator in _COMPUTE or operator.endswith("Normalization") or "Conv" in operator
