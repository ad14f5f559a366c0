"""A frame against the case's own clear frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from readings import reading

from trainer.curate.clear import ENOUGH, ClearView
from trainer.curate.measure import Reading


def known(jitter: float = 0.1, bias: float = 0.0) -> ClearView:
    """A view of 60 clear readings, whose detector is `bias` logits off."""
    view = ClearView()
    for n in range(60):
        view.add(shifted(reading(n * 0.5, jitter=jitter), bias))
    return view


def shifted(value: Reading, bias: float) -> Reading:
    a, b, c = value.logits
    return replace(value, logits=(a + bias, b + bias, c + bias))


def test_the_camera_s_own_bias_does_not_matter() -> None:
    for bias in (-3.0, 0.0, 3.5):  # the last says "smoke" of every clear frame
        view = known(bias=bias)
        assert view.judge(shifted(reading(40), bias)).score < 0.5
        hidden = view.judge(shifted(reading(40, 0.5), bias))
        assert hidden.score > 1.5 and abs(hidden.covered - 0.5) < 0.07


def test_lost_detail_counts_where_the_detector_sees_nothing() -> None:
    view = known()
    blind = replace(reading(40, 0.4), logits=reading(40).logits)
    found = view.judge(blind)
    assert max(found.rises[:3]) < 0.5 and found.rises[3] > 1 and found.rises[4] > 1


def test_a_restless_case_needs_more() -> None:
    calm, restless = known(0.1), known(1.5)
    frame = reading(40, 0.25, jitter=0.0)
    assert restless.judge(frame).rises[0] < 0.7 * calm.judge(frame).rises[0]


def test_until_enough_is_known_the_detector_s_threshold_rules() -> None:
    view = ClearView()
    assert not view.known
    assert view.judge(reading(0)).score == 0.0
    assert view.judge(reading(0, 0.6)).score >= 1.0  # logit 0.8
    for n in range(ENOUGH):
        view.add(reading(n * 0.5))
    assert view.known


def test_what_is_newest_is_not_trusted_once_the_view_is_hidden() -> None:
    view = known()
    trusted = len(view.entries)
    assert view.waiting
    view.distrust()
    assert not view.waiting and len(view.entries) == trusted
    assert view.judge(reading(40)).score < 0.5


def test_the_camera_s_bias_outlives_the_view() -> None:
    view = known(bias=3.5)
    view.turn()
    assert not view.known
    assert view.judge(shifted(reading(40, scene=2), 3.5)).score < 0.5
    assert view.judge(shifted(reading(40, 0.5, scene=2), 3.5)).score > 1.5


def test_old_readings_make_room() -> None:
    view = ClearView()
    for n in range(500):
        view.add(reading(n * 0.5))
    assert len(view.entries) == 120
    assert np.isfinite(view.judge(reading(300)).score)
