"""The loop: takes a task's turns step by step, and goes on exactly where it was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from trainer.fit.alarm import Alarm
from trainer.fit.average import Average
from trainer.fit.board import Board
from trainer.fit.checkpoint import BEST, LAST, load_state, save_state, save_weights
from trainer.fit.norm import share_statistics
from trainer.fit.plan import Plan
from trainer.fit.stream import Feed, loader
from trainer.fit.task import Batch, Cost, Task, Turn

SCORE = "score"  # of a judgement: the higher the better
WILD = 1e6  # a longer gradient than any that teaches: its step is left out


class Judge(Protocol):
    """Figures of a net on pictures it is not trained on; one is named `score`."""

    def __call__(self, net: nn.Module) -> Mapping[str, float]: ...


class Listener(Protocol):
    """Hears how a run goes; see trainer/fit/progress.py."""

    def step(self, step: int, values: Mapping[str, float]) -> None: ...

    def judged(self, step: int, figures: Mapping[str, float]) -> None: ...


class Silence:
    """Hears nothing."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def judged(self, step: int, figures: Mapping[str, float]) -> None:
        pass


@dataclass(slots=True)
class Outcome:
    """losses: of every step of this call, over all processes; net: the averaged one."""

    net: nn.Module
    first: int
    losses: list[float] = field(default_factory=list)
    best: float | None = None


class _Playing(nn.Module):
    """One turn as a module: what a process group wraps must be called once a backward pass, and
    must hold just the parameters that get gradients."""

    _cost: Callable[[Batch], Cost]

    def __init__(self, task: Task, turn: Turn) -> None:
        super().__init__()
        self.trained = nn.ModuleDict({name: task.nets[name] for name in turn.trains})
        self._cost = lambda batch: task.cost(turn.name, batch)

    def forward(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]:
        cost: Cost = self._cost(batch)
        return cost.loss, cost.parts, cost.left


def _seed(seed: int, step: int, rank: int) -> None:
    """Noise inside nets depends on the step alone, so that it is the same after a resume."""
    torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)


class Trainer:
    """One run of a task. fabric: where; recipe: plain JSON values that go into every checkpoint."""

    def __init__(self, task: Task, plan: Plan, fabric: Fabric, recipe: Mapping[str, Any]) -> None:
        self.task, self.plan, self.fabric, self.recipe = task, plan, fabric, recipe
        plan.share(fabric.world_size)  # a batch that cannot be cut is refused before any work
        if plan.threads is not None:
            torch.set_num_threads(plan.threads)
        for net in task.nets.values():
            net.to(fabric.device)
            if plan.channels_last:
                net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = Average(task.nets[task.ships], plan.ema, buffers=plan.ema_buffers)
        self.alarm = Alarm()
        self.step = 0
        self.best: float | None = None
        self._optimisers: dict[str, Any] = {}
        self._playing: dict[str, Any] = {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Before the first step: takes a saved state up."""
        for name, net in self.task.nets.items():
            net.load_state_dict(state["nets"][name])
        self.average.net.load_state_dict(state["average"])
        self.alarm.load(state["alarm"])
        self.step, self.best = state["step"], state["best"]

    def set_up(self, state: Mapping[str, Any] | None = None) -> None:
        """Optimisers and wrappers; with the optimisers' part of a saved state."""
        trained = {name for turn in self.task.turns for name in turn.trains}
        for name, net in self.task.nets.items():
            net.requires_grad_(name in trained).train(name in trained)
            share_statistics(net)
            if self.plan.compile:
                net.compile()  # in place: keys and copies stay as they are
        for turn in self.task.turns:
            module = _Playing(self.task, turn)
            optimiser = turn.optimiser.make(p for p in module.parameters() if p.requires_grad)
            if state is not None:
                optimiser.load_state_dict(state["optimisers"][turn.name])
            self._playing[turn.name], self._optimisers[turn.name] = self.fabric.setup(
                module, optimiser
            )
        if state is not None:
            self.fabric.strategy.precision.load_state_dict(state["scaler"])

    def take(self, parts: list[Batch]) -> dict[str, Tensor]:
        """One step: every turn over all parts of the batch. Returns detached scalars; `loss` is
        the sum over turns."""
        plan, fabric = self.plan, self.fabric
        _seed(plan.seed, self.step, fabric.global_rank)
        if plan.channels_last:
            parts = [{k: _channels_last(v) for k, v in part.items()} for part in parts]
        seen: dict[str, Tensor] = {}
        total = torch.zeros((), device=fabric.device)
        for turn in self.task.turns:
            module, optimiser = self._playing[turn.name], self._optimisers[turn.name]
            for name, net in self.task.nets.items():
                net.requires_grad_(name in turn.trains)
            rate = turn.optimiser.learning_rate * plan.schedule.factor(self.step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            for number, part in enumerate(parts):
                with fabric.no_backward_sync(module, enabled=number + 1 < len(parts)):
                    loss, told, left = module(part)
                    fabric.backward(loss / len(parts))
                part.update(left)
                total += loss.detach() / len(parts)
                for name, value in told.items():
                    seen[name] = seen.get(name, 0) + value.detach() / len(parts)
            sound = True
            if plan.clip is not None:
                norm = fabric.clip_gradients(
                    module, optimiser, max_norm=plan.clip, error_if_nonfinite=False
                )
                assert norm is not None
                # float16's own scaler lowers itself by such steps and leaves them out
                scaled = plan.precision == "16-mixed"
                sound = scaled or bool(norm <= WILD)
                seen[f"gradient {turn.name}"] = norm.detach() if sound else norm.new_zeros(())
                seen[f"left out {turn.name}"] = norm.new_tensor(float(not sound))
            if sound:
                optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.average.update(self.task.nets[self.task.ships], self.step)
        self.step += 1
        return {"loss": total, **seen}

    def state(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "step": self.step,
            "best": self.best,
            "recipe": json.dumps(self.recipe),
            "nets": {name: net.state_dict() for name, net in self.task.nets.items()},
            "average": self.average.net.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self._optimisers.items()},
            "scaler": self.fabric.strategy.precision.state_dict(),
            "alarm": self.alarm.state(),
        }


def _channels_last(value: Tensor) -> Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def fit(
    task: Task,
    source: Feed,
    plan: Plan,
    folder: Path,
    *,
    fabric: Fabric,
    recipe: Mapping[str, Any],
    judge: Judge | None = None,
    hear: Listener | None = None,
    after: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Trains to the plan's last step; goes on from `folder` where a run of the same recipe is.

    judge: asked in the process that writes only. after: called after every step, with the number
    of steps done. Raises Diverged (the last
    checkpoint stays as it was), ValueError for the state of another recipe.
    """
    hear = hear or Silence()
    trainer = Trainer(task, plan, fabric, recipe)
    state = load_state(folder, recipe)
    if state is not None:
        trainer.restore(state)
    trainer.set_up(state)
    outcome = Outcome(trainer.average.net, trainer.step, best=trainer.best)
    writes = fabric.is_global_zero
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
    loading = loader(
        source, plan, trainer.step, rank=fabric.global_rank, processes=fabric.world_size
    )
    fed = cast("Iterable[Batch]", fabric.setup_dataloaders(loading, use_distributed_sampler=False))
    waiting: list[dict[str, Tensor]] = []
    with ExitStack() as stack:
        board = Board(folder / "board" if writes else None)
        stack.callback(board.close)
        for parts in grouped(iter(fed), plan.accumulate):
            waiting.append(trainer.take(parts))
            step = trainer.step
            last = step == plan.steps
            saves = last or step % plan.save_every == 0
            judges = last or step % plan.judge_every == 0  # the same in every process
            draws = last or step % plan.picture_every == 0
            # whatever is saved, judged or drawn has passed the alarm
            if saves or judges or draws or step % plan.log_every == 0:
                rows = _gathered(fabric, waiting)
                for number, row in enumerate(rows, start=step - len(rows)):
                    trainer.alarm.hear(number, row["loss"])
                outcome.losses += [row["loss"] for row in rows]
                means = {k: sum(row[k] for row in rows) / len(rows) for k in rows[0]}
                rate = plan.schedule.factor(step - 1)
                board.curves("train", {**means, "rate factor": rate}, step)
                hear.step(step, means)
                waiting = []
            if draws and writes:
                with torch.no_grad():
                    board.pictures(task.pictures(trainer.average.net, parts[0]), step)
            if judges and writes and judge is not None:
                figures = dict(judge(trainer.average.net))
                board.curves("judged", figures, step)
                hear.judged(step, figures)
                if trainer.best is None or figures[SCORE] > trainer.best:
                    trainer.best = figures[SCORE]
                    about = {"recipe": recipe, "step": step, "figures": figures}
                    save_weights(folder / BEST, trainer.average.net, about)
            # a good checkpoint is not given up for one that may be past saving
            if saves and writes and (last or not trainer.alarm.uneasy):
                save_state(folder, trainer.state())
                about = {"recipe": recipe, "step": step}
                save_weights(folder / LAST, trainer.average.net, about)
            if saves or judges:
                fabric.barrier()
            after(step)
    outcome.best = trainer.best
    return outcome


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """The parts of each step."""
    while parts := [batch for _, batch in zip(range(size), batches, strict=False)]:
        yield parts


def _gathered(fabric: Fabric, waiting: list[dict[str, Tensor]]) -> list[dict[str, float]]:
    """The scalars of some steps, meaned over the processes, in one exchange."""
    names = list(waiting[0])
    table = torch.stack([torch.stack([row[n].float() for n in names]) for row in waiting])
    if fabric.world_size > 1:
        table = fabric.all_reduce(table, reduce_op="mean")  # type: ignore[assignment]
    return [dict(zip(names, row, strict=True)) for row in table.tolist()]
