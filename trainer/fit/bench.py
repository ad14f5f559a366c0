"""How fast the engine trains, beside a plain loop of the same net in the same run.

The plain loop is what one writes in an hour: pictures decoded when they are wanted, no loading
processes, float32, eager, contiguous. Both take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, Dataset

from trainer import dataset
from trainer.feed.crops import Crops, Window
from trainer.feed.pairs import Kept, Shot
from trainer.fit.loop import Trainer
from trainer.fit.plan import Plan
from trainer.fit.stream import loader
from trainer.fit.task import Adam
from trainer.pixels import unit
from trainer.tasks.restore import RestoreTask


class _Plain(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Crops, each decoded from its file."""

    def __init__(self, shots: Sequence[Shot], side: int) -> None:
        self._shots, self._side = shots, side

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        shot = self._shots[number % len(self._shots)]
        rng = np.random.default_rng(number)
        a, b = dataset.load(shot.degraded), dataset.load(shot.clear)
        window = Window.draw(rng, a.shape, (self._side, self._side))
        x, y = (np.ascontiguousarray(unit(window.cut(p)).transpose(2, 0, 1)) for p in (a, b))
        return torch.from_numpy(x), torch.from_numpy(y)


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds a step, wall and CPU (of this process), median over steps; load: of the machine."""

    plain_s: float
    ours_s: float
    plain_cpu_s: float
    ours_cpu_s: float
    batch: int
    side: int
    steps: int
    load: float
    device: str
    how: str

    @property
    def ratio(self) -> float:
        return self.plain_s / self.ours_s

    def lines(self) -> list[str]:
        def row(name: str, wall: float, cpu: float) -> str:
            return (
                f"{name:8s} {self.batch / wall:8.2f} crops/s  {1e3 * wall:8.0f} ms a step, "
                f"{1e3 * cpu:.0f} ms of CPU time"
            )

        return [
            f"{self.steps} steps each, in turns; batch {self.batch}, crops of {self.side}; "
            f"{self.device}, load {self.load:.1f}",
            row("plain", self.plain_s, self.plain_cpu_s) + "  (eager, float32, no workers)",
            row("ours", self.ours_s, self.ours_cpu_s) + f"  ({self.how})",
            f"ours is {self.ratio:.2f} times as fast",
        ]


def compare(
    make: Callable[[], nn.Module],
    shots: Sequence[Shot],
    fabric: Fabric,
    *,
    side: int = 128,
    batch: int = 4,
    rounds: int = 3,
    steps: int = 4,
    workers: int = 1,
) -> Rates:
    """rounds of `steps` steps each way, after one step of each to warm up. fabric: bf16-mixed."""
    device = fabric.device
    plain = _plain(make().to(device), shots, side, batch)
    plan = Plan(
        steps=rounds * steps + 1,
        batch=batch,
        workers=workers,
        precision="bf16-mixed",
        channels_last=True,
        compile=device.type == "cuda",
        clip=1.0,
    )
    ours = _ours(make(), shots, side, plan, fabric)
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "ours": []}
    for way in (plain, ours):
        next(way)
    load = os.getloadavg()[0]
    for _ in range(rounds):
        for name, way in (("plain", plain), ("ours", ours)):
            for _ in range(steps):
                wall, cpu = time.perf_counter(), time.process_time()
                next(way)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    compiled = ", compiled" if plan.compile else ""
    return Rates(
        plain_s=median(t[0] for t in times["plain"]),
        ours_s=median(t[0] for t in times["ours"]),
        plain_cpu_s=median(t[1] for t in times["plain"]),
        ours_cpu_s=median(t[1] for t in times["ours"]),
        batch=batch,
        side=side,
        steps=rounds * steps,
        load=load,
        device=str(device),
        how=f"bf16, channels-last{compiled}, fused AdamW, averaged, {workers} worker(s)",
    )


def _plain(net: nn.Module, shots: Sequence[Shot], side: int, batch: int) -> Iterator[Any]:
    """One step at each `next`."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)
    device = next(net.parameters()).device
    net.train()
    for x, y in DataLoader(_Plain(shots, side), batch):
        loss = (net(x.to(device)) - y.to(device)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield float(loss.detach())


def _ours(
    net: nn.Module, shots: Sequence[Shot], side: int, plan: Plan, fabric: Fabric
) -> Iterator[Any]:
    """One step at each `next`; the loader runs on in between, as it does in a run."""
    task = RestoreTask(net, replace(Adam(learning_rate=1e-4), decoupled=True))
    trainer = Trainer(task, plan, fabric, {})
    trainer.set_up()
    fed = loader(Crops(Kept(shots), (side, side)), plan, 0)
    for part in fabric.setup_dataloaders(fed, use_distributed_sampler=False):
        yield float(trainer.take([part])["loss"])  # type: ignore[list-item]
