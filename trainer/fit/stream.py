"""Samples by number: the same number is the same sample, whoever asks and whatever came before.

So a run goes on mid-epoch with the samples it would have seen, and how many processes share a
step changes nothing about what the step sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from trainer.fit.plan import Plan
from trainer.fit.task import Batch


class Source(Protocol):
    """What there is to train on."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        """Item `index`, cut and turned as `rng` says: tensors without a batch dimension."""
        ...


# a torch Dataset makes its sample n up from the number alone: there is no end and no order
Feed = Source | Dataset[Batch]


class Stream(Dataset[Batch]):
    """An endless walk through a source: each epoch in an order of its own."""

    def __init__(self, source: Source, seed: int) -> None:
        if not len(source):
            raise ValueError("there is nothing to train on")
        self._source, self._seed = source, seed
        self._order = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self._seed, 1, epoch)).permutation(len(self._source))

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, number: int) -> Batch:
        epoch, place = divmod(number, len(self._source))
        rng = np.random.default_rng((self._seed, 0, number))
        return self._source.sample(int(self._order(epoch)[place]), rng)


class Shares(Sampler[list[int]]):
    """The numbers that one process takes, part by part, from a step to the end."""

    def __init__(self, plan: Plan, first: int, rank: int, processes: int) -> None:
        self._plan, self._first = plan, first
        self._share = plan.share(processes)
        self._rank, self._processes = rank, processes

    def __len__(self) -> int:
        return (self._plan.steps - self._first) * self._plan.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        parts = range(self._first * self._plan.accumulate, self._plan.steps * self._plan.accumulate)
        for part in parts:
            start = (part * self._processes + self._rank) * self._share
            yield list(range(start, start + self._share))


def _alone(_: int) -> None:
    cv2.setNumThreads(0)  # the loading processes are the parallelism


def loader(
    source: Feed, plan: Plan, first: int, *, rank: int = 0, processes: int = 1
) -> DataLoader[Batch]:
    """Batches for one process, from step `first` on, loaded ahead by the plan's workers."""
    return DataLoader(
        source if isinstance(source, Dataset) else Stream(source, plan.seed),
        batch_sampler=Shares(plan, first, rank, processes),
        num_workers=plan.workers,
        prefetch_factor=4 if plan.workers else None,
        worker_init_fn=_alone,
        pin_memory=torch.cuda.is_available(),
    )
