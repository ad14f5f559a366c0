"""What the loop trains: nets, whose turn it is, and what a turn costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015); decoupled: AdamW (Loshchilov and Hutter, ICLR 2019)."""

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    decoupled: bool = False

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        # fused: one pass over memory, on the CPU as on the GPU
        kind = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        return kind(
            parameters,
            lr=self.learning_rate,
            betas=self.betas,
            weight_decay=self.weight_decay,
            fused=True,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One optimiser's step within a step of the run; trains: names of the nets that it moves."""

    name: str
    trains: tuple[str, ...]
    optimiser: Adam


class Cost(NamedTuple):
    """loss: a scalar with its graph; parts: detached scalars for the log; left: detached tensors
    that later turns of the same step find in their batch."""

    loss: Tensor
    parts: Mapping[str, Tensor]
    left: Mapping[str, Tensor]


class Task(Protocol):
    """nets by name, all of them, also the frozen ones; `ships` names the one that is averaged,
    judged and written; turns in the order in which they are taken.

    A cost must be a mean over the samples of its batch: then the mean over processes is the mean
    over the whole batch, and two processes train as one does.
    """

    @property
    def nets(self) -> dict[str, nn.Module]: ...

    @property
    def ships(self) -> str: ...

    @property
    def turns(self) -> tuple[Turn, ...]: ...

    def cost(self, turn: str, batch: Batch) -> Cost:
        """The cost of one turn on one batch."""
        ...

    def pictures(self, net: nn.Module, batch: Batch) -> Tensor:
        """Rows to look at: b 3 h w in [0, 1]; net: the averaged one that ships."""
        ...


class Diverged(FloatingPointError):
    """The run left the numbers it could come back from; `step` and `why` say where and how."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(step, why)
        self.step, self.why = step, why

    def __str__(self) -> str:
        return f"step {self.step}: {self.why}"
