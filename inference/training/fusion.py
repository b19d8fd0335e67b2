"""Heads and stacker: an additive logit of four modality scores, five members.

Each member is fitted on its own bootstrap resample of split B. Scores are additive; their weights
and the offset depend on which modalities are there (a ridge-shrunk delta per presence pattern).

Source: model-rules 10, 12 and 13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

MEMBERS = 5
OPTIONAL = ("ct", "labs", "text")  # bits of a presence pattern; age and sex are always there
MODALITIES = ("ct", "labs", "demographics", "text")
PATTERNS = 2 ** len(OPTIONAL)
FULL = PATTERNS - 1
STEPS = {"full": 900, "smoke": 60}
_RIDGE_DELTA, _RIDGE_HEAD = 3e-5, 3e-3  # chosen on C and D, before T


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the fusion graph takes, n patients; NaN where a number is absent."""

    ct: NDArray[np.float32]
    labs: NDArray[np.float32]
    demographics: NDArray[np.float32]
    text: NDArray[np.float32]

    def rows(self, chosen: NDArray[np.int64]) -> Inputs:
        """Some of the patients, in the order given."""
        return Inputs(**{k: getattr(self, k)[chosen] for k in self.__slots__})

    def __len__(self) -> int:
        return len(self.ct)


class Member(nn.Module):  # type: ignore[misc]  # torch is not followed
    """One member's four heads and its pattern table."""

    def __init__(self, labs: int) -> None:
        super().__init__()
        self.ct = nn.Linear(8, 1)
        self.labs_line = nn.Linear(2 * labs, 1)
        self.labs_hidden = nn.Linear(2 * labs, 10)
        self.labs_out = nn.Linear(10, 1)
        self.demographics = nn.Linear(5, 1)
        self.text = nn.Linear(2, 1)
        self.weight = nn.Parameter(torch.ones(len(MODALITIES)))
        self.offset = nn.Parameter(torch.zeros(1))
        self.delta = nn.Parameter(torch.zeros(PATTERNS, len(MODALITIES)))
        self.delta_offset = nn.Parameter(torch.zeros(PATTERNS))

    def scores(self, ct: Tensor, labs: Tensor, demographics: Tensor, text: Tensor) -> Tensor:
        """(B, 4) scores of scaled inputs."""
        w1, w2, focus = ct[:, 0:1], ct[:, 1:2], ct[:, 2:3]
        image = torch.cat([w1, w2, focus, w1 * w1, w2 * w2, w1 * w2, focus * w1, focus * w2], 1)
        line = self.labs_line(labs) + self.labs_out(torch.tanh(self.labs_hidden(labs)))
        return torch.cat(
            [
                self.ct(image),
                line,
                self.demographics(demographics),
                self.text(torch.cat([text, text * text], 1)),
            ],
            1,
        )

    def table(self) -> tuple[Tensor, Tensor]:
        """Weights (patterns, 4) and offsets (patterns,)."""
        return self.weight + self.delta, self.offset + self.delta_offset

    def penalty(self) -> Tensor:
        """Ridge on the deltas and on the heads."""
        heads = (
            self.ct,
            self.labs_line,
            self.labs_hidden,
            self.labs_out,
            self.demographics,
            self.text,
        )
        size = sum((h.weight**2).sum() for h in heads)
        return (
            _RIDGE_DELTA * ((self.delta**2).sum() + (self.delta_offset**2).sum())
            + _RIDGE_HEAD * size
        )


class Fusion(nn.Module):  # type: ignore[misc]  # torch is not followed
    """All members in one graph, with scaling inside.

    Inputs: ct (B, 3), labs (B, L) and labs_mask, demographics (B, 2) and demographics_mask,
    text (B, 1), presence (B, 3) of `OPTIONAL`. Content of what is absent is dropped first.
    Outputs: contributions (B, members, 4) and bias (B, members), in uncalibrated logit.
    """

    bits: Tensor
    patterns: Tensor
    demographics_centre: Tensor
    demographics_spread: Tensor

    def __init__(self, labs: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(Member(labs) for _ in range(MEMBERS))
        for name, size in (("ct", 3), ("labs", labs), ("demographics", 2), ("text", 1)):
            self.register_buffer(f"{name}_centre", torch.zeros(size))
            self.register_buffer(f"{name}_spread", torch.ones(size))
        self.register_buffer("bits", torch.tensor([[1.0], [2.0], [4.0]]))
        self.register_buffer("patterns", torch.arange(PATTERNS, dtype=torch.float32))

    def each(self) -> list[Member]:
        """The members, in order."""
        return [m for m in self.members if isinstance(m, Member)]

    def scale_by(self, inputs: Inputs) -> None:
        """Take medians and spreads from a cohort."""
        for name in Inputs.__slots__:
            values = getattr(inputs, name)
            low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
            getattr(self, f"{name}_centre").copy_(torch.from_numpy(middle.astype(np.float32)))
            spread = np.maximum((high - low) / 1.35, 0.05).astype(np.float32)
            getattr(self, f"{name}_spread").copy_(torch.from_numpy(spread))
        # Sex is 0 or 1: its spread is its own unit.
        self.demographics_centre[1], self.demographics_spread[1] = 0.5, 0.5

    def scaled(self, name: str, values: Tensor, mask: Tensor) -> Tensor:
        """Robust scale, absent values at the centre, outliers at six spreads."""
        centre, spread = getattr(self, f"{name}_centre"), getattr(self, f"{name}_spread")
        safe = torch.where(mask > 0.5, values, centre.expand_as(values))
        return torch.clamp((safe - centre) / spread, -6, 6)

    def forward(
        self,
        ct: Tensor,
        labs: Tensor,
        labs_mask: Tensor,
        demographics: Tensor,
        demographics_mask: Tensor,
        text: Tensor,
        presence: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Contributions and bias of every member."""
        x = self.prepared(ct, labs, labs_mask, demographics, demographics_mask, text, presence)
        there = torch.cat([presence[:, :2], torch.ones_like(presence[:, :1]), presence[:, 2:]], 1)
        number = torch.matmul(presence, self.bits)
        chosen = (torch.abs(number - self.patterns) < 0.5).to(ct.dtype)
        parts, offsets = [], []
        for member in self.each():
            weights, offset = member.table()
            scores = member.scores(*x)
            parts.append(scores * torch.matmul(chosen, weights) * there)
            offsets.append(torch.matmul(chosen, offset[:, None]))
        return torch.stack(parts, 1), torch.cat(offsets, 1)

    def prepared(
        self,
        ct: Tensor,
        labs: Tensor,
        labs_mask: Tensor,
        demographics: Tensor,
        demographics_mask: Tensor,
        text: Tensor,
        presence: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scaled inputs of the heads."""
        mask = labs_mask * presence[:, 1:2]
        who = self.scaled("demographics", demographics, demographics_mask)
        age, male = who[:, 0:1], who[:, 1:2]
        return (
            self.scaled("ct", ct, presence[:, 0:1].expand_as(ct)),
            torch.cat([self.scaled("labs", labs, mask), mask], 1),
            torch.cat([age, male, age * age, demographics_mask], 1),
            self.scaled("text", text, presence[:, 2:3].expand_as(text)),
        )


def feeds(inputs: Inputs, presence: NDArray[np.float32]) -> tuple[Tensor, ...]:
    """The graph's inputs of a cohort, in order."""
    t = torch.from_numpy
    labs_mask = (~np.isnan(inputs.labs)).astype(np.float32)
    who_mask = (~np.isnan(inputs.demographics)).astype(np.float32)
    return (
        t(inputs.ct),
        t(inputs.labs),
        t(labs_mask),
        t(inputs.demographics),
        t(who_mask),
        t(inputs.text),
        t(presence),
    )


def pattern(n: int, number: int) -> NDArray[np.float32]:
    """(n, 3) presence, everyone alike."""
    bits = [float(bool(number & 2**i)) for i in range(len(OPTIONAL))]
    return np.tile(np.array(bits, np.float32), (n, 1))


def fit(
    inputs: Inputs,
    label: NDArray[np.int64],
    *,
    seed: int,
    steps: int,
    members: int = MEMBERS,
    progress: Callable[[str, float], None] = lambda _name, _done: None,
) -> Fusion:
    """Fit every member on its own resample, patterns drawn anew at each step."""
    torch.manual_seed(seed)
    net = Fusion(inputs.labs.shape[1])
    net.scale_by(inputs)
    rng = np.random.default_rng([seed, 1])
    y = torch.from_numpy(label.astype(np.float32))
    n = len(label)
    half = np.stack([pattern(1, p)[0] for p in range(PATTERNS)])
    for index in range(members):
        member = net.each()[index]
        weight = torch.from_numpy(
            np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float32)
        )
        optimiser = torch.optim.Adam(member.parameters(), 2e-2)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for step in range(steps):
            drawn = np.where(rng.random(n) < 0.4, FULL, rng.integers(0, PATTERNS, n))
            logits = _one(net, member, feeds(inputs, half[drawn]), drawn)
            loss = functional.binary_cross_entropy_with_logits(logits, y, weight)
            optimiser.zero_grad()
            (loss + member.penalty()).backward()
            optimiser.step()
            decay.step()
            if step % 50 == 0:
                progress("heads and fusion", (index + step / steps) / members)
        _centre(net, member, inputs)
    net.eval()
    return net


def _one(net: Fusion, member: Member, fed: tuple[Tensor, ...], drawn: NDArray[np.int64]) -> Tensor:
    presence = fed[-1]
    scores = member.scores(*net.prepared(*fed))
    weights, offset = member.table()
    chosen = torch.from_numpy(drawn)
    there = torch.cat([presence[:, :2], torch.ones_like(presence[:, :1]), presence[:, 2:]], 1)
    return (scores * weights[chosen] * there).sum(1) + offset[chosen]


def _centre(net: Fusion, member: Member, inputs: Inputs) -> None:
    """Move each score's mean into the pattern offsets, so that 0 means an average patient."""
    with torch.no_grad():
        mean = member.scores(*net.prepared(*feeds(inputs, pattern(len(inputs), FULL)))).mean(0)
        weights, _ = member.table()
        bits = torch.from_numpy(np.stack([pattern(1, p)[0] for p in range(PATTERNS)]))
        there = torch.cat([bits[:, :2], torch.ones(PATTERNS, 1), bits[:, 2:]], 1)
        member.delta_offset.add_((weights * there * mean).sum(1))
        for i, layer in enumerate((member.ct, member.labs_out, member.demographics, member.text)):
            layer.bias.sub_(mean[i])


def predict(
    net: Fusion, inputs: Inputs, number: int = FULL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Member logits (n, members) and contributions (n, members, 4) under one presence pattern."""
    with torch.no_grad():
        parts, bias = net(*feeds(inputs, pattern(len(inputs), number)))
    by_member = parts.numpy().astype(float)
    return by_member.sum(2) + bias.numpy().astype(float), by_member
