"""Encoders: what turns a CT volume or a report's findings into a few numbers.

The volume encoder is trained once, on split A, with targets that the generator knows: where the
lesion is, and its wash-out and rim (declared in the card). The report encoder regresses the
latent that the reader looked at. Neither ever sees the label.

Source: model-rules 10; feasibility.md, "CT volume".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from inference.training.cohort import HU_CLIP, Split

EMBEDDING = ("wash_out", "rim", "focus")
_HU_SCALE = 25.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to train."""

    epochs: int
    batch: int
    learning_rate: float


SCHEDULES = {"full": Schedule(12, 32, 3e-3), "smoke": Schedule(1, 16, 2e-3)}


class VolumeEncoder(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Attention over a half-resolution grid, 29 k parameters.

    Input of `forward`: volume (B, 4, 24, 48, 48) HU and phases (B, 4), 1 where present; the
    content of an absent phase is dropped before anything is computed from it.
    Output: (B, 3) wash-out, rim, and how focused the attention is; (B, 6912) attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fast = False
        self.conv1 = nn.Conv3d(9, 16, 3, padding=1)
        self.conv2 = nn.Conv3d(16, 16, 3, padding=1)
        self.conv3 = nn.Conv3d(16, 32, 3, padding=2, dilation=2)
        # One map is taught where the lesion is; the other is free to weigh its parts.
        self.attention = nn.Conv3d(32, 2, 1)
        self.hidden = nn.Linear(2 * (32 + 9) + 4, 48)
        self.measure = nn.Linear(48, 2)

    def forward(self, volume: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
        """HU at full resolution."""
        present = phases[:, :, None, None, None] > 0.5
        safe = torch.where(present, volume, torch.zeros_like(volume))
        safe = torch.clamp(safe, float(HU_CLIP[0]), float(HU_CLIP[1]))
        return self.pooled(functional.avg_pool3d(safe, 2), phases)

    def pooled(self, hu: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
        """Mean HU of 2x2x2 voxels, (B, 4, 12, 24, 24)."""
        m = phases[:, :, None, None, None]
        x = (hu - hu.mean((2, 3, 4), keepdim=True)) / _HU_SCALE * m
        nc, ap, pv, dl = x[:, 0:1], x[:, 1:2], x[:, 2:3], x[:, 3:4]
        have_nc, have_dl = m[:, 0:1], m[:, 3:4]
        flat = torch.ones_like(nc)
        x = torch.cat(
            [x, ap - pv, (pv - dl) * have_dl, (ap - nc) * have_nc, flat * have_nc, flat * have_dl],
            1,
        )
        # Matrix units of recent CPUs halve the time in bfloat16; sums stay in float32.
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            y = functional.relu(self.conv1(x))
            y = functional.relu(self.conv2(y))
            y = functional.relu(self.conv3(y))
        y = y.float()
        logits = self.attention(y).flatten(2)
        weight = torch.softmax(logits, 2)
        features = torch.cat([y, x], 1).flatten(2)
        seen = torch.matmul(features, weight.transpose(1, 2)).flatten(1)
        hidden = functional.relu(self.hidden(torch.cat([seen, phases], 1)))
        focus = torch.log((weight[:, 0] ** 2).sum(1, keepdim=True) + 1e-9)
        return torch.cat([self.measure(hidden), focus], 1), logits[:, 0]


class ReportEncoder(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Finding states (B, F) of +1 present, -1 absent, 0 not told, to the reader's latent (B, 1)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * features, 16)
        self.out = nn.Linear(16, 1)

    def forward(self, states: Tensor) -> Tensor:
        """One number per report."""
        both = torch.cat([functional.relu(states), functional.relu(-states)], 1)
        latent: Tensor = self.out(torch.tanh(self.hidden(both)))
        return latent


def _flip(x: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    axes = [a for a in (-3, -2, -1) if rng.random() < 0.5]
    return (x.flip(axes), mask.flip(axes)) if axes else (x, mask)


def train_volume(
    split: Split, path: Path, schedule: Schedule, seed: int, progress: Callable[[str, float], None]
) -> VolumeEncoder:
    """Train on split A; `path` holds the state after each epoch and is resumed from."""
    torch.manual_seed(seed)
    net = VolumeEncoder()
    net.to(memory_format=torch.channels_last_3d)
    net.fast = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  no public question
    optimiser = torch.optim.AdamW(net.parameters(), schedule.learning_rate, weight_decay=1e-3)
    n, batch = len(split.label), schedule.batch
    steps = schedule.epochs * (n // batch)
    decay = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, schedule.learning_rate, total_steps=steps + 1, pct_start=0.15
    )
    first = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        decay.load_state_dict(state["decay"])
        first = int(state["epoch"])
    for epoch in range(first, schedule.epochs):
        rng = np.random.default_rng([seed, epoch])
        _epoch(
            net,
            split,
            batch,
            (optimiser, decay),
            rng,
            partial(_tell, progress, epoch, schedule.epochs),
        )
        kept = {
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "decay": decay.state_dict(),
            "epoch": epoch + 1,
        }
        torch.save(kept, path)
    net.fast = False
    net.eval()
    return net


def _tell(progress: Callable[[str, float], None], epoch: int, epochs: int, part: float) -> None:
    progress("volume encoder", (epoch + part) / epochs)


def _epoch(
    net: VolumeEncoder,
    split: Split,
    batch: int,
    stepping: tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler],
    rng: np.random.Generator,
    progress: Callable[[float], None],
) -> None:
    optimiser, decay = stepping
    order = rng.permutation(len(split.label))
    target = split.arrays["w"].astype(np.float32)
    phases = split.arrays["phases"]
    count = len(order) // batch
    for step in range(count):
        rows = np.sort(order[step * batch : (step + 1) * batch])
        x = torch.from_numpy(split.pooled[rows].astype(np.float32) / 8)
        mask = torch.from_numpy(split.mask[rows].astype(np.float32))
        x, mask = _flip(x, mask, rng)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        weight, logits = net.pooled(x, torch.from_numpy(phases[rows]))
        share = mask.flatten(1)
        share = share / share.sum(1, keepdim=True).clamp(min=1)
        found = -(share * torch.log_softmax(logits, 1)).sum(1).mean()
        measured = functional.mse_loss(weight[:, :2], torch.from_numpy(target[rows]))
        loss = measured + 0.3 * found
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        decay.step()
        if step % 10 == 0:
            progress(step / count)


def embed(net: VolumeEncoder, split: Split, batch: int = 64) -> NDArray[np.float32]:
    """(n, 3) embeddings of a split."""
    out = np.empty((len(split.label), len(EMBEDDING)), np.float32)
    with torch.no_grad():
        for start in range(0, len(out), batch):
            rows = slice(start, start + batch)
            x = torch.from_numpy(split.pooled[rows].astype(np.float32) / 8)
            out[rows] = net.pooled(x, torch.from_numpy(split.arrays["phases"][rows]))[0].numpy()
    return out


def train_report(
    states: NDArray[np.float32], latent: NDArray[np.float64], seed: int
) -> ReportEncoder:
    """Train the report encoder on split A."""
    torch.manual_seed(seed)
    net = ReportEncoder(states.shape[1])
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    x, y = torch.from_numpy(states), torch.from_numpy(latent.astype(np.float32))[:, None]
    for step in range(600):
        if step == 400:
            for group in optimiser.param_groups:
                group["lr"] = 2e-3
        optimiser.zero_grad()
        loss = functional.mse_loss(net(x), y)
        loss.backward()
        optimiser.step()
    net.eval()
    return net
