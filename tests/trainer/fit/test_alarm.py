"""The alarm: deaf to one wild batch, not to divergence."""

from __future__ import annotations

import pytest

from trainer.fit.alarm import Alarm
from trainer.fit.task import Diverged


def calm() -> Alarm:
    alarm = Alarm(factor=4, patience=5, window=50)
    for step in range(20):
        alarm.hear(step, 0.1 + 0.01 * (step % 3))
    return alarm


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_rings_at_once(value: float) -> None:
    with pytest.raises(Diverged, match="step 3"):
        Alarm().hear(3, value)


def test_one_wild_batch_does_not_ring_and_a_rise_that_stays_does() -> None:
    alarm = calm()
    for step in range(20, 24):
        alarm.hear(step, 2.0)
    alarm.hear(24, 0.1)
    for step in range(25, 29):
        alarm.hear(step, 2.0)
    with pytest.raises(Diverged, match="5 steps"):
        alarm.hear(29, 2.0)


def rings(alarm: Alarm, losses: list[float]) -> bool:
    try:
        for step, loss in enumerate(losses):
            alarm.hear(step, loss)
    except Diverged:
        return True
    return False


def test_a_rise_within_the_factor_and_a_young_run_do_not_ring() -> None:
    assert not rings(calm(), [0.3] * 100)
    assert rings(calm(), [0.6] * 100)
    assert not rings(Alarm(), [10.0 if step % 2 else 0.01 for step in range(9)])


def test_it_goes_on_as_it_was() -> None:
    alarm, again = calm(), Alarm(factor=4, patience=5, window=50)
    for step in range(3):
        alarm.hear(step, 2.0)
    again.load(alarm.state())
    again.hear(3, 2.0)
    with pytest.raises(Diverged):
        again.hear(4, 2.0)
