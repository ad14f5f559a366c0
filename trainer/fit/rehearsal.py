"""The dry run: a few steps of the real thing, to see shapes, memory and time; writes nothing."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils.data import Dataset

from trainer.fit.loop import Trainer, grouped
from trainer.fit.plan import Plan
from trainer.fit.stream import Feed, loader
from trainer.fit.task import Task


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """nets: name to (parameters, whether trained); samples: None where they have no end; shapes:
    of one part for one process, by name; pictures: shape of the board's rows; step_ms: median;
    memory_mib: peak, of the GPU where there is one, else of this process."""

    nets: Mapping[str, tuple[int, bool]]
    samples: int | None
    shapes: Mapping[str, tuple[int, ...]]
    pictures: tuple[int, ...]
    losses: tuple[float, ...]
    first_ms: float
    step_ms: float
    memory_mib: float
    device: str
    processes: int
    plan: Plan

    def lines(self) -> list[str]:
        plan = self.plan
        hours = plan.steps * self.step_ms / 3.6e6
        out = [f"device     {self.device}, {self.processes} process(es), {plan.precision}"]
        for name, (count, trained) in self.nets.items():
            out.append(f"net        {name}: {count:,} parameters{'' if trained else ', frozen'}")
        for name, shape in self.shapes.items():
            out.append(f"batch      {name}: {' '.join(map(str, shape))}")
        out.append(f"pictures   {' '.join(map(str, self.pictures))}")
        steps = f"{plan.steps} steps of {plan.batch} ({plan.accumulate} part(s))"
        if self.samples is None:
            out.append(f"data       samples without an end; {steps}")
        else:
            epochs = plan.steps * plan.batch / self.samples
            out.append(f"data       {self.samples} samples; {steps} are {epochs:.1f} epochs")
        out.append(f"losses     {', '.join(f'{x:.4g}' for x in self.losses)}")
        out.append(f"memory     {self.memory_mib:,.0f} MiB at most")
        out.append(
            f"time       first step {self.first_ms:,.0f} ms, then {self.step_ms:,.0f} ms; "
            f"{hours:,.1f} h in all"
        )
        return out


def rehearse(
    task: Task,
    source: Feed,
    plan: Plan,
    *,
    fabric: Fabric,
    recipe: Mapping[str, Any],
    steps: int = 4,
) -> Rehearsal:
    """Takes `steps` real steps. The first is told apart: it compiles and warms up."""
    trainer = Trainer(task, plan, fabric, recipe)
    trainer.set_up()
    on_gpu = fabric.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(fabric.device)
    loading = loader(source, plan, 0, rank=fabric.global_rank, processes=fabric.world_size)
    fed = fabric.setup_dataloaders(loading, use_distributed_sampler=False)
    times, losses = [], []
    parts = []
    began = time.perf_counter()
    for parts in islice(grouped(iter(fed), plan.accumulate), steps):  # type: ignore[arg-type]
        losses.append(float(trainer.take(parts)["loss"]))  # waits for the device
        times.append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
    with torch.no_grad():
        rows = task.pictures(trainer.average.net, parts[0])
    peak = (
        torch.cuda.max_memory_allocated(fabric.device) / 2**20
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    trained = {name for turn in task.turns for name in turn.trains}
    return Rehearsal(
        nets={
            name: (sum(p.numel() for p in net.parameters()), name in trained)
            for name, net in task.nets.items()
        },
        samples=None if isinstance(source, Dataset) else len(source),
        shapes={name: tuple(value.shape) for name, value in parts[0].items()},
        pictures=tuple(rows.shape),
        losses=tuple(losses),
        first_ms=times[0],
        step_ms=statistics.median(times[1:] or times),
        memory_mib=peak,
        device=str(fabric.device),
        processes=fabric.world_size,
        plan=plan,
    )
