"""ONNX Runtime: the only place that knows it.

A session is made from verified bytes, weights outside of the graph included, runs on one thread,
and stays warm for the life of the process. What a session really runs on is what `get_providers()`
says: the list of available providers is not to be trusted (architecture.md, facts).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.errors import NoKernel, SessionRefused

Provider = Literal["cpu", "cuda"]
_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    # TF32 off: parity with the CPU is promised without it (model-rules 15).
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
}
# Shape arithmetic may stay on the CPU; these may not (model-rules 15).
_COMPUTE = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Softmax", "AveragePool"})


_Number = type[np.float32] | type[np.float64] | type[np.int64]
_NUMBERS: Mapping[str, _Number] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Onnx:
    """One graph as verified bytes.

    Attributes:
        digest: Of the graph and of the files that hold its weights, if it has some.
        external: Name of such a file, as the graph spells it → how its bytes are read.
    """

    digest: str
    raw: bytes = field(repr=False)
    external: Mapping[str, Callable[[], bytes]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, raw: bytes) -> Onnx:
        """A graph that holds its own weights."""
        return cls(digest=hashlib.sha256(raw).hexdigest(), raw=raw)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output as the graph declares it.

    Attributes:
        dtype: numpy's, or None for what is no tensor of float, double or int64.
        shape: None for a dimension that is free.
    """

    dtype: _Number | None
    shape: tuple[int | None, ...]

    @property
    def real(self) -> bool:
        """Whether it holds measured numbers: float or double."""
        return self.dtype in (np.float32, np.float64)

    def joined(self, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Sources side by side along the last axis, as this input wants them; each (B, ...)."""
        # One number a case may come, and be wanted, without an axis of its own.
        whole = [part if part.ndim > 1 else part[:, None] for part in parts]
        made = whole[0] if len(whole) == 1 else np.concatenate(whole, axis=-1)
        if len(self.shape) == 1:
            made = made[:, 0]
        assert self.dtype is not None  # the pack was checked
        return np.ascontiguousarray(made, dtype=self.dtype)


class Session:
    """One graph, loaded and ready.

    Attributes:
        inputs, outputs: Name → port.
        digest: Of the graph's bytes.
    """

    def __init__(self, name: str, graph: Onnx, provider: Provider = "cpu") -> None:
        """Load a graph.

        Raises:
            SessionRefused: not a graph, or not placed on the provider asked for.
        """
        self.name, self.provider, self.digest = name, provider, graph.digest
        self._session = _open(name, graph, provider, None)
        if provider == "cuda" and "CUDAExecutionProvider" not in self.providers:
            raise SessionRefused(name, "CUDA was asked for, and the session runs on the CPU")
        self.inputs = {port.name: _port(port) for port in self._session.get_inputs()}
        self.outputs = {port.name: _port(port) for port in self._session.get_outputs()}
        if provider == "cuda":
            _refuse_compute_on_cpu(name, graph, self.inputs)

    @property
    def providers(self) -> tuple[str, ...]:
        """What the session really runs on."""
        return tuple(self._session.get_providers())

    def run(self, **feeds: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            SessionRefused: a feed has another name, type or shape than the graph declares.
        """
        return dict(zip(self.outputs, _run(self.name, self._session, feeds), strict=True))

    def figures(self, rows: int, **feeds: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Outputs that are measured numbers, with as many rows.

        A label beside probabilities and a constant of the whole batch are passed by.

        Raises:
            SessionRefused: as `run`, or an output has other rows.
        """
        found = {
            name: given
            for name, given in self.run(**feeds).items()
            if self.outputs[name].real and given.ndim
        }
        for name, given in found.items():
            if len(given) != rows:
                raise SessionRefused(self.name, f"gave {name} without a row for each case")
        return found


def _run(
    name: str, session: onnxruntime.InferenceSession, feeds: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    try:
        return list(session.run(None, feeds))
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        raise SessionRefused(name, "run failed: a feed does not fit the graph") from error


def _port(declared: Any) -> Port:
    shape = tuple(d if isinstance(d, int) else None for d in declared.shape or ())
    return Port(_NUMBERS.get(declared.type), shape)


_warm: dict[tuple[str, str], Session] = {}
_locks: dict[tuple[str, str], threading.Lock] = {}
_lock = threading.Lock()


def warm(name: str, graph: Onnx, provider: Provider = "cpu") -> Session:
    """The process's session of these bytes on this provider, made at the first call."""
    key = (graph.digest, provider)
    with _lock:
        own = _locks.setdefault(key, threading.Lock())
    # Each has its own: gigabytes that load for one pack must not hold up another's patient.
    with own:
        if key not in _warm:
            _warm[key] = Session(name, graph, provider)
        return _warm[key]


def _open(
    name: str, graph: Onnx, provider: Provider, profile: Path | None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    weights = {file: read() for file, read in graph.external.items()}
    try:
        if weights:
            options.add_external_initializers_from_files_in_memory(
                list(weights), list(weights.values()), [len(raw) for raw in weights.values()]
            )
        return onnxruntime.InferenceSession(graph.raw, options, providers=_PROVIDERS[provider])
    except Exception as error:  # ONNX Runtime's errors share no class of their own
        raise _refusal(name, provider, str(error)) from error


# ONNX Runtime's words, 1.24 to 1.31, for an operator of no domain or opset that it knows, and for
# one that it knows and has no kernel of for these types.
_UNKNOWN_OPERATOR = (
    re.compile(r'In Node, \("(?P<node>[^"]*)", (?P<op>\w+),.* No Op registered for '),
    re.compile(r"Fatal error: (?P<op>\S+)\(-?\d+\) is not a registered function/op"),
)
_NO_KERNEL = re.compile(
    r"an implementation for (?P<op>\S+)\(\d+\) node with name '(?P<node>[^']*)'"
)


def _refusal(name: str, provider: Provider, told: str) -> SessionRefused:
    """Which operator of which node cannot be computed, where ONNX Runtime says so."""
    if found := _NO_KERNEL.search(told):
        where = f" of node {found['node']}" if found["node"] else ""
        reason = f"ONNX Runtime has no {found['op']}{where} of its types on {provider}"
        return NoKernel(name, reason)
    for pattern in _UNKNOWN_OPERATOR:
        if found := pattern.search(told):
            node = found.groupdict().get("node")
            where = f" of node {node}" if node else ""
            reason = f"ONNX Runtime cannot load it: unknown operator {found['op']}{where}"
            return SessionRefused(name, reason)
    return SessionRefused(name, "ONNX Runtime cannot load it")


def blank(inputs: Mapping[str, Port]) -> dict[str, NDArray[Any]]:
    """Zeros for every input, 1 long where a dimension is free."""
    return {
        name: np.zeros([1 if d is None else d for d in port.shape], port.dtype or np.float32)
        for name, port in inputs.items()
    }


def _refuse_compute_on_cpu(name: str, graph: Onnx, inputs: Mapping[str, Port]) -> None:
    """Run once with zeros under the profiler and look where every node went."""
    with TemporaryDirectory() as folder:
        session = _open(name, graph, "cuda", Path(folder, "profile"))
        _run(name, session, blank(inputs))
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
