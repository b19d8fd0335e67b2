"""Trained nets as ONNX graphs of opset 17, compared with torch before they are kept."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.errors import InferenceError
from inference.session import Onnx, Session
from inference.training import encoders, fusion
from inference.training.liver_ct import GRID

OPSET = 17
PARITY = 1e-4


class ParityLost(InferenceError):
    """An exported graph that does not give what torch gives."""

    def __init__(self, graph: str, off: float) -> None:
        super().__init__(f"graph {graph}: differs from torch by {off:.2g}, more than {PARITY}")
        self.graph, self.off = graph, off


class _Embedding(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Fixes the output order and drops what no pack reads."""

    def __init__(self, net: encoders.VolumeEncoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, volume: Tensor, phases: Tensor) -> Tensor:
        embedding: Tensor = self.net(volume, phases)[0]
        return embedding


def volume_encoder(
    net: encoders.VolumeEncoder, sample: Tensor, phases: Tensor
) -> tuple[bytes, float]:
    """Graph of volume (B, 4, 24, 48, 48) and phases (B, 4) -> embedding (B, 3), and parity."""
    net = net.to(memory_format=torch.contiguous_format)
    assert sample.shape[1:] == (4, *GRID)
    return _export(
        "volume_encoder", _Embedding(net), (sample, phases), ("volume", "phases"), ("embedding",)
    )


def text_encoder(net: encoders.ReportEncoder, sample: Tensor) -> tuple[bytes, float]:
    """Graph of states (B, F) -> embedding (B, 1)."""
    return _export("text_encoder", net, (sample,), ("states",), ("embedding",))


def fused(
    net: fusion.Fusion, sample: fusion.Inputs, presence: NDArray[np.float32]
) -> tuple[bytes, float]:
    """Inputs of `fusion.Fusion` -> contributions (B, members, 4), bias (B, members)."""
    names = ("ct", "labs", "labs_mask", "demographics", "demographics_mask", "text", "presence")
    return _export("fusion", net, fusion.feeds(sample, presence), names, ("contributions", "bias"))


def _export(
    name: str, net: nn.Module, sample: Sequence[Tensor], takes: Sequence[str], gives: Sequence[str]
) -> tuple[bytes, float]:
    net = net.eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that keeps opset 17 warns of its age and of constants it folds.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            tuple(sample),
            buffer,  # it takes a stream, its stub does not say so
            input_names=list(takes),
            output_names=list(gives),
            dynamic_axes={n: {0: "batch"} for n in (*takes, *gives)},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = buffer.getvalue()
    with torch.no_grad():
        expected = net(*sample)
    if isinstance(expected, Tensor):
        expected = (expected,)
    made = Session(name, Onnx.of(graph)).run(
        **{n: s.numpy() for n, s in zip(takes, sample, strict=True)}
    )
    off = max(
        float(np.abs(made[n] - e.numpy()).max()) for n, e in zip(gives, expected, strict=True)
    )
    if not off <= PARITY:
        raise ParityLost(name, off)
    return graph, off
