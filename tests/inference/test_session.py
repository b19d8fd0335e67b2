"""session: what runs where is what the session says, not what was hoped for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference import session
from inference.errors import SessionRefused
from inference.packs import Pack
from inference.session import Onnx


def test_a_session_reports_what_it_runs_on(pack: Pack) -> None:
    """The session's own providers."""
    made = session.warm("fusion", pack.graph("fusion"))
    assert ("CPUExecutionProvider",) == made.providers


def test_a_graph_is_loaded_once_a_process(pack: Pack) -> None:
    """The same bytes give the same session."""
    graph = pack.graph("text_encoder")
    assert session.warm("a", graph) is session.warm("b", graph)


def test_cuda_without_cuda_is_refused_and_not_run_on_the_cpu(pack: Pack) -> None:
    """A quiet fallback would be found out months later."""
    if "CUDAExecutionProvider" in session.Session("x", pack.graph("fusion"), "cpu").providers:
        pytest.fail("a CPU session claims CUDA")
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(SessionRefused):
        session.Session("fusion", pack.graph("fusion"), "cuda")


def test_bytes_that_are_no_graph_are_refused() -> None:
    """A typed error, not the runtime's."""
    with pytest.raises(SessionRefused, match="cannot load"):
        session.Session("x", Onnx.of(b"not a graph"))


def test_a_feed_that_does_not_fit_is_refused(pack: Pack) -> None:
    """Wrong width of the states."""
    graph = session.warm("text_encoder", pack.graph("text_encoder"))
    with pytest.raises(SessionRefused, match="does not fit"):
        graph.run(states=np.zeros((1, 3), np.float32))


def test_compute_on_the_cpu_is_found_in_a_profile() -> None:
    """Shape nodes may stay on the CPU; convolutions and products may not."""

    def node(operator: str, provider: str) -> dict[str, Any]:
        return {"cat": "Node", "args": {"op_name": operator, "provider": provider}}

    events: list[dict[str, Any]] = [
        {"cat": "Session", "args": {}},
        node("Conv", "CUDAExecutionProvider"),
        node("Shape", "CPUExecutionProvider"),
        node("MatMul", "CPUExecutionProvider"),
        node("LayerNormalization", "CPUExecutionProvider"),
    ]
    assert ("LayerNormalization", "MatMul") == session.compute_on_cpu(events)
