"""Numbers to samples: the same whoever asks; every sample once an epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.fit.plan import Plan
from trainer.fit.stream import Shares, Stream, loader
from trainer.fit.task import Batch

PLAN = Plan(steps=5, batch=4, workers=0, accumulate=2)


class Counted:
    """Seven samples: their index and a draw."""

    def __len__(self) -> int:
        return 7

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        return {"index": torch.tensor(index), "draw": torch.tensor(rng.random())}


def test_an_epoch_has_each_sample_once_in_an_order_of_its_own() -> None:
    stream = Stream(Counted(), 3)
    epochs = [[int(stream[7 * e + n]["index"]) for n in range(7)] for e in range(3)]
    assert all(sorted(e) == list(range(7)) for e in epochs)
    assert len({tuple(e) for e in epochs}) == 3


def test_a_number_is_the_same_sample_whatever_came_before() -> None:
    a, b = Stream(Counted(), 3), Stream(Counted(), 3)
    _ = [a[n] for n in range(20)]
    assert a[31]["draw"] == b[31]["draw"] and a[31]["index"] == b[31]["index"]
    assert Stream(Counted(), 4)[31]["draw"] != b[31]["draw"]
    assert a[31]["draw"] != a[38]["draw"]


def test_processes_share_a_step_between_them() -> None:
    alone = list(Shares(PLAN, 0, 0, 1))
    first, second = (list(Shares(PLAN, 0, rank, 2)) for rank in range(2))
    assert len(alone) == len(Shares(PLAN, 0, 0, 1)) == 10
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    assert [n for part in alone for n in part] == list(range(20))


def test_a_later_start_skips_what_was_seen() -> None:
    assert list(Shares(PLAN, 3, 0, 1)) == list(Shares(PLAN, 0, 0, 1))[6:]


def test_the_loader_gives_whole_parts() -> None:
    batches = list(loader(Counted(), replace(PLAN, accumulate=1), 1))
    assert [b["index"].shape for b in batches] == [(4,)] * 4


class Endless(torch.utils.data.Dataset[Batch]):
    """Sample n is n."""

    def __getitem__(self, number: int) -> Batch:
        return {"index": torch.tensor(number)}


def test_samples_without_an_end_come_by_their_own_numbers() -> None:
    plan = replace(PLAN, accumulate=1)
    seen = [b["index"].tolist() for b in loader(Endless(), plan, 3)]
    assert seen == [[12, 13, 14, 15], [16, 17, 18, 19]]
    halves = [next(iter(loader(Endless(), plan, 3, rank=r, processes=2))) for r in range(2)]
    assert [h["index"].tolist() for h in halves] == [[12, 13], [14, 15]]


def test_nothing_to_train_on_is_said() -> None:
    class Empty(Counted):
        def __len__(self) -> int:
            return 0

    with pytest.raises(ValueError, match="nothing to train on"):
        Stream(Empty(), 0)
