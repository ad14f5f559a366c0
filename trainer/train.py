"""The training loop of `veil`: AdamW, cosine, EMA; resumes to the very sample it stopped at."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from models.veil import Veil
from trainer.loss import veil_loss
from trainer.samples import Samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How long and how fast. learning_rate falls along a half cosine to a hundredth."""

    steps: int
    batch: int = 12
    learning_rate: float = 2e-3
    warm_up: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    save_every: int = 250
    workers: int = 1
    threads: int = 1


def rate(plan: Plan, step: int) -> float:
    """The learning rate at a step."""
    warm = min(1.0, (step + 1) / max(plan.warm_up, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / plan.steps, 1.0)))
    return plan.learning_rate * warm * (0.01 + 0.99 * cosine)


class Average:
    """Exponential moving average of weights and buffers, with a young average moving faster."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, new in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if mine.dtype.is_floating_point:
                mine.lerp_(new, 1 - decay)
            else:
                mine.copy_(new)


def train(
    model: Veil,
    samples: Samples,
    plan: Plan,
    out: Path,
    *,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> nn.Module:
    """Trains `model` and returns its average. Checkpoints to out/last.pt, and goes on from there.

    Raises FloatingPointError when the loss is no longer finite.
    """
    torch.set_num_threads(plan.threads)
    out.mkdir(parents=True, exist_ok=True)
    average = Average(model, plan.ema)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    first = 0
    saved = out / "last.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
        say(f"resumes at step {first}")
    numbers = range(first * plan.batch, plan.steps * plan.batch)
    loader = DataLoader(
        samples,
        plan.batch,
        sampler=numbers,
        num_workers=plan.workers,
        prefetch_factor=4 if plan.workers else None,
    )
    board = SummaryWriter(str(out / "board"))
    model.train()
    began, seen = time.monotonic(), first
    mean: dict[str, float] = {}
    for step, batch in enumerate(loader, start=first):
        for group in optimiser.param_groups:
            group["lr"] = rate(plan, step)
        maps = model(batch["image"], batch["reference"], batch["known"])
        if not torch.isfinite(maps.coefficients).all():
            raise FloatingPointError(f"the net gives no number at step {step}")
        loss, parts = veil_loss(maps, batch)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimiser.step()
        average.update(model, step)
        for name, value in {"loss": loss.item(), **parts}.items():
            mean[name] = mean.get(name, value) * 0.98 + value * 0.02
        if (step + 1) % 50 == 0:
            speed = (step + 1 - seen) / (time.monotonic() - began)
            left_min = (plan.steps - step - 1) / speed / 60
            shown = " ".join(f"{k} {v:.4f}" for k, v in mean.items())
            say(f"step {step + 1}/{plan.steps} {shown} | {speed:.2f}/s, {left_min:.0f} min left")
            for name, value in mean.items():
                board.add_scalar(f"train/{name}", value, step + 1)
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            save(saved, model, average.model, optimiser, step + 1, plan)
            if validate is not None:
                scores = validate(average.model)
                say("  valid " + " ".join(f"{k} {v:.3f}" for k, v in scores.items()))
                for name, value in scores.items():
                    board.add_scalar(f"valid/{name}", value, step + 1)
    board.close()
    return average.model


def save(
    path: Path,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    plan: Plan,
) -> None:
    """Writes a checkpoint whole or not at all."""
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "plan": asdict(plan),
    }
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def load_average(path: Path) -> dict[str, Tensor]:
    """The averaged weights in a checkpoint."""
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)["average"]
    return weights
