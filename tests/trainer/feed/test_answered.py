"""Answers are made once for each sample; every time they are seen differently."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from training import drawn

from trainer.feed.answered import Answered


class Counting(nn.Module):
    """A net that knows its left from its right."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return x * torch.linspace(0.2, 1.0, x.shape[-1])


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_each_is_answered_once_and_then_known() -> None:
    net = Counting()
    feed = Answered(drawn(), net, 3)
    assert len(feed) == 3
    for number in range(9):
        feed.sample(number % 3, rng(number))
    assert net.asked == 3


def test_what_was_held_changes_nothing() -> None:
    """A run that goes on has no answers yet, and must see what it would have seen."""
    used = Answered(drawn(), Counting(), 3)
    used.sample(1, rng(7))
    for key, value in used.sample(1, rng(8)).items():
        assert torch.equal(value, Answered(drawn(), Counting(), 3).sample(1, rng(8))[key]), key


def test_views_are_flipped_alike_and_the_reference_is_shaken() -> None:
    feed, base = Answered(drawn(), Counting(), 3), drawn()[0]
    seen, shaken = set(), []
    for seed in range(24):
        got = feed.sample(0, rng(seed))
        assert set(got) == {"image", "answer", "clear", "reference", "far", "wrong"}
        for sides in ([], [1], [2], [1, 2]):
            if torch.allclose(got["image"].flip(sides), base["image"], atol=1e-3):
                seen.add(tuple(sides))
                assert torch.allclose(got["clear"].flip(sides), base["clear"], atol=1e-3)
                want = Counting()(base["image"])
                assert torch.allclose(got["answer"].flip(sides), want, atol=2e-3)
                shaken.append(float((got["reference"].flip(sides) - base["reference"]).abs().max()))
    assert len(seen) == 4 and len(shaken) == 24
    assert min(shaken) > 1e-3 and all(
        0 <= v <= 1 for v in (got["reference"].min(), got["image"].max())
    )


def test_stale_and_wrong_references_are_drawn_with_the_sample() -> None:
    """By its number alone: two processes with half a batch each must train as one does."""
    net = Counting()
    feed, sizes = Answered(drawn(), net, 3), (1, 2)
    got = [feed.sample(0, rng(seed)) for seed in range(12)]
    assert net.asked == 1, "a wrong reference needs no answer"
    for one in got:
        own, far = one["reference"], one["far"]
        assert not torch.equal(far, own)
        assert torch.allclose(far.mean(sizes), own.mean(sizes), atol=1e-5)  # the same, moved
    others = [drawn()[n]["reference"] for n in (1, 2)]
    for one in got:
        wrong = one["wrong"]
        flips = [wrong.flip(sides) for sides in ([], [1], [2], [1, 2])]
        assert any(torch.allclose(f, o, atol=1e-3) for f in flips for o in others)
    alone = Answered(drawn(), net, 1).sample(0, rng(0))
    assert alone["wrong"].shape == alone["reference"].shape


def test_the_answer_can_be_trained_beside() -> None:
    weight = torch.ones(1, requires_grad=True)
    (Answered(drawn(), Counting(), 1).sample(0, rng(0))["answer"] * weight).mean().backward()
    assert weight.grad is not None
