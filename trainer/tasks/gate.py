"""The do-no-harm gate: a fine-tuned net is let through only where it is better and never worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from torch import nn

from trainer.metrics import psnr
from trainer.pixels import Pixels, unit
from trainer.tasks.judging import Run, directly, restored


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """In dB of mean PSNR. gain: at least this over the net before, on the hospital's own pairs;
    group_loss: most that any group of them may lose; guard_loss: most that other data may lose;
    clear_loss: most that clear pictures, which should stay as they are, may lose."""

    gain: float = 0.2
    group_loss: float = 0.1
    guard_loss: float = 0.1
    clear_loss: float = 0.5


@dataclass(frozen=True, slots=True)
class Check:
    """One bound and how it went; sense: `least` or `most`."""

    name: str
    figure: float
    bound: float
    sense: str

    @property
    def passed(self) -> bool:
        # a figure that is no number passes nothing
        return self.figure >= self.bound if self.sense == "least" else self.figure <= self.bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks; passed where each is."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(c.passed for c in self.checks)

    def lines(self) -> list[str]:
        return [
            f"{'passed' if c.passed else 'FAILED'}  {c.name}: {c.figure:.3f} dB "
            f"(at {c.sense} {c.bound:g})"
            for c in self.checks
        ]

    def told(self) -> list[dict[str, object]]:
        return [{**asdict(c), "passed": c.passed} for c in self.checks]


@dataclass(frozen=True, slots=True)
class Exam:
    """One degraded picture, its truth, and what it belongs to."""

    group: str
    degraded: Pixels
    truth: Pixels


def examine(
    before: nn.Module,
    after: nn.Module,
    *,
    own: Sequence[Exam],
    guard: Sequence[Exam],
    clear: Sequence[Pixels],
    bounds: Bounds = Bounds(),
    run: Run = directly,
) -> Verdict:
    """own: the hospital's pairs, kept aside; guard: other data that the net was good at; clear:
    pictures without degradation. Raises ValueError without own pairs or without clear pictures:
    a gate that has not looked must not open."""
    if not own or not clear:
        raise ValueError("the gate needs pairs kept aside and clear pictures")

    def change(exam: Exam) -> float:
        truth = unit(exam.truth)
        return psnr(restored(after, exam.degraded, run), truth) - psnr(
            restored(before, exam.degraded, run), truth
        )

    groups: dict[str, list[float]] = {}
    for exam in own:
        groups.setdefault(exam.group, []).append(change(exam))
    means = [float(np.mean(v)) for v in groups.values()]
    checks = [
        Check("gain on the hospital's pairs", float(np.mean(means)), bounds.gain, "least"),
        Check("loss of the worst group", -min(means), bounds.group_loss, "most"),
    ]
    if guard:
        loss = -float(np.mean([change(e) for e in guard]))
        checks.append(Check("loss on other data", loss, bounds.guard_loss, "most"))
    still = -float(np.mean([change(Exam("", p, p)) for p in clear]))
    checks.append(Check("loss on clear pictures", still, bounds.clear_loss, "most"))
    return Verdict(tuple(checks))
