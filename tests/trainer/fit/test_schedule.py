"""Rates by step."""

from __future__ import annotations

import pytest

from trainer.fit.schedule import Constant, Cosine, Halved, Straight


def test_constant_and_halved() -> None:
    assert Constant().factor(10**9) == 1.0
    assert [Halved(every=10).factor(s) for s in (0, 9, 10, 20)] == [1, 1, 0.5, 0.25]


def test_cosine_warms_up_and_ends_at_its_floor() -> None:
    plan = Cosine(steps=100, floor=0.1, warm_up=10)
    assert plan.factor(0) == pytest.approx(0.1)
    assert plan.factor(9) > 0.95 > plan.factor(50) > plan.factor(99) > 0.1
    assert plan.factor(50) == pytest.approx(0.55)
    assert plan.factor(100) == plan.factor(500) == pytest.approx(0.1)


def test_straight_keeps_and_falls_to_nothing() -> None:
    plan = Straight(keep=10, steps=20)
    assert [plan.factor(s) for s in (0, 10, 15, 20)] == [1, 1, 0.5, 0]
