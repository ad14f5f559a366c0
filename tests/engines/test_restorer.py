"""Levels by the covered share of the view, and the worst of the kinds."""

from __future__ import annotations

from dataclasses import replace

from engines.restorer import ABSENT, NOTHING, Degradation, level


def test_levels_follow_the_covered_share() -> None:
    shares = (0.0, 0.33, 0.34, 0.66, 0.67, 0.89, 0.91, 1.0)
    assert [level(share) for share in shares] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert level(1.0, present=False) == 0


def test_a_detection_is_as_bad_as_its_worst_kind() -> None:
    fog = Degradation(probability=0.9, coverage=0.7, level=3)
    assert NOTHING.level == 0
    assert replace(NOTHING, smoke=replace(fog, level=2), fog=fog, splash=ABSENT).level == 3
