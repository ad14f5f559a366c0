"""Calls to people: smoke that lasts, a lens that stays dirty."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.spec import Levels
from server.timeline import Call, Lasting, Timeline

S = 1_000_000_000
FRAME_NS = S // 25


def play(timeline: Timeline, *parts: tuple[float, Levels], start_s: float = 0.0) -> list[Call]:
    """Parts: seconds, and the levels in them."""
    calls: list[Call] = []
    at = int(start_s * S)
    for seconds, levels in parts:
        for _ in range(round(seconds * 25)):
            calls += timeline.step(levels, at)
            at += FRAME_NS
    return calls


def test_smoke_of_level_three_for_two_seconds_calls_once() -> None:
    timeline = Timeline()
    calls = play(timeline, (1.0, Levels()), (1.9, Levels(smoke=3)), (1.0, Levels(smoke=2)))
    assert calls == []
    calls = play(timeline, (6.0, Levels(smoke=4)), (5.0, Levels()), start_s=4)
    assert [name for name, _ in calls] == ["smoke.persistent", "smoke.cleared"]
    assert calls[0][1] == {"level": 4}


def test_a_flicker_neither_raises_nor_clears() -> None:
    timeline = Timeline()
    flicker = [(0.2, Levels(smoke=3)), (0.04, Levels())] * 30
    assert play(timeline, *flicker) == []
    play(timeline, (3.0, Levels(smoke=3)), start_s=10)
    flicker = [(0.2, Levels()), (0.04, Levels(smoke=3))] * 30
    assert play(timeline, *flicker, start_s=13) == []


def test_fog_or_a_splash_that_stays_calls_to_clean_the_lens() -> None:
    for cause, levels in (("fog", Levels(fog=3)), ("splash", Levels(splash=2))):
        timeline = Timeline()
        calls = play(timeline, (4.9, levels), (1.0, Levels()))
        assert calls == []
        assert not timeline.clean_lens
        calls = play(timeline, (5.2, levels), start_s=6)
        assert calls == [("lens.clean", {"cause": cause, "level": 3 if cause == "fog" else 2})]
        assert timeline.clean_lens
        calls = play(timeline, (3.0, Levels()), start_s=11.2)
        assert calls == [("lens.cleared", {})]
        assert not timeline.clean_lens


def test_smoke_alone_does_not_call_to_clean() -> None:
    timeline = Timeline()
    assert [c[0] for c in play(timeline, (20.0, Levels(smoke=4)))] == ["smoke.persistent"]


def test_the_timeline_keeps_changes_and_is_bounded() -> None:
    timeline = Timeline()
    play(timeline, (1.0, Levels()), (1.0, Levels(smoke=1)), (1.0, Levels(smoke=1, fog=2)))
    assert [point.levels for point in timeline.points] == [
        Levels(),
        Levels(smoke=1),
        Levels(smoke=1, fog=2),
    ]
    restless = [(0.28, Levels(smoke=n % 5)) for n in range(9000)]
    play(timeline, *restless, start_s=3)
    assert len(timeline.points) == timeline.settings.points
    gaps = [b.at_ns - a.at_ns for a, b in zip(timeline.points, list(timeline.points)[1:],
                                              strict=False)]  # fmt: skip
    assert min(gaps) >= S // 4


@given(st.lists(st.tuples(st.booleans(), st.integers(1, S)), max_size=100))
def test_lasting_switches_only_after_its_time(steps: list[tuple[bool, int]]) -> None:
    lasting, at, since, last = Lasting(2.0, 1.0), 0, 0, None
    for there, ns in steps:
        at += ns
        if there != last:
            since, last = at, there
        if lasting.step(there, at):
            assert lasting.on == there
            assert at - since >= (2 * S if there else S)
