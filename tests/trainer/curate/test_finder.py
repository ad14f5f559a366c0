"""Episodes out of readings: what counts, what is refused and why, and what is kept meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from readings import SMALL, S, outside, reading

from trainer.curate.finder import Episode, Finder, Settings, kind_of, steady_level
from trainer.curate.measure import Pixels, Reading

SETTINGS = Settings(longest_s=60)


class Shelf:
    """Remembers what is kept and the most that ever was."""

    def __init__(self) -> None:
        self.kept: set[int] = set()
        self.most = 0

    def put(self, time_ns: int, picture: Pixels) -> None:
        assert time_ns not in self.kept
        self.kept.add(time_ns)
        self.most = max(self.most, len(self.kept))

    def drop(self, time_ns: int) -> None:
        self.kept.remove(time_ns)


def smoke(start: float, end: float, most: float = 0.7, kind: int = 0) -> Callable[[float], Reading]:
    """Rises and falls within 4 s, else clear."""

    def at(t: float) -> Reading:
        share = min(1.0, (t - start) / 4, (end - t) / 4)
        return reading(t, most * max(0.0, share), kind=kind)

    return at


def run(
    at: Callable[[float], Reading], until_s: float, shelf: Shelf | None = None
) -> list[Episode]:
    shelf = shelf or Shelf()
    finder = Finder(SETTINGS, shelf)
    found = []
    for n in range(round(until_s * 2)):
        episode = finder.step(at(n / 2), SMALL, lambda: np.zeros((1, 1, 3), np.uint8))
        if episode is not None:
            pictures = {k.time_ns for k in episode.frames}
            pictures |= {episode.clear.time_ns} if episode.clear else set()
            assert pictures <= shelf.kept  # still there when they are to be written
            finder.forget(episode)
            found.append(episode)
    last = finder.end()
    if last is not None:
        finder.forget(last)
        found.append(last)
    left = {kept.time_ns for kept in (*finder.ring, *([finder.spare] if finder.spare else []))}
    assert shelf.kept == left  # nothing is left behind
    return found


@pytest.mark.parametrize(("kind", "name"), [(0, "smoke"), (1, "fog"), (2, "splash")])
def test_clear_degraded_clear_is_an_episode(kind: int, name: str) -> None:
    shelf = Shelf()
    (episode,) = run(smoke(20, 40, kind=kind), 60, shelf)
    assert episode.refusal == "" and episode.kind == name
    assert episode.splash_type == ("bile" if name == "splash" else None)
    assert 17 * S <= episode.start_ns <= 22 * S and 37 * S <= episode.end_ns <= 42 * S
    assert episode.clear is not None and 12 * S < episode.clear.time_ns < 20 * S
    assert {k.level for k in episode.frames} == {1, 2, 3}
    assert min(episode.agreements) > 0.9
    assert all(20 * S < k.time_ns < 40 * S for k in episode.frames)
    assert shelf.most <= 12 + 1 + 8  # a few seconds of clear frames and the best of each level


def test_a_clear_case_has_none() -> None:
    assert run(lambda t: reading(t), 120) == []


def test_what_begins_hidden_has_no_clear_frame() -> None:
    def at(t: float) -> Reading:
        return reading(t, 0.7 if t < 10 else 0.0)

    (episode,) = run(at, 30)
    assert episode.refusal == "no clear frame was seen before it" and episode.clear is None


def test_a_cut_ends_it(kind: int = 0) -> None:
    def at(t: float) -> Reading:
        return smoke(20, 40)(t) if t < 30 else reading(t, 0.7 if t < 35 else 0.0, scene=2)

    episodes = run(at, 70)
    assert episodes[0].refusal == "the camera cut to another view"
    assert all(e.refusal for e in episodes)


def test_turning_to_another_view_in_smoke_ends_it_too() -> None:
    def at(t: float) -> Reading:
        # scene 4 has the colours of scene 1
        return smoke(20, 80)(t) if t < 30 else reading(t, 0.5 if t < 50 else 0.0, scene=4)

    episodes = run(at, 80)
    assert episodes[0].refusal == "the camera turned to another view"
    assert all(e.refusal for e in episodes)


def test_leaving_the_body_ends_it_but_a_glare_does_not() -> None:
    inside = smoke(20, 40)
    gone = run(lambda t: outside(t) if 30 <= t < 34 else inside(t), 60)
    assert gone[0].refusal == "the scope left the body (colours of no tissue)"
    glare = run(lambda t: outside(t) if t == 30 else inside(t), 60)
    assert [e.refusal for e in glare] == [""]


def test_clear_frames_out_of_the_body_are_no_reference() -> None:
    def at(t: float) -> Reading:
        return outside(t) if t < 20 else reading(t, 0.7 if t < 30 else 0.0)

    (episode,) = run(at, 50)
    assert episode.clear is None


def test_what_has_not_ended_is_refused() -> None:
    (episode,) = run(smoke(20, 40), 30)
    assert episode.refusal == "the video ended before it was clear"
    assert episode.frames and episode.clear is not None


def test_what_never_clears_is_another_view() -> None:
    episodes = run(lambda t: reading(t, 0.6 if t > 20 else 0.0), 100)
    assert episodes[0].refusal == "it lasted too long to be one episode"


def test_two_in_a_row_share_their_clear_frame() -> None:
    def at(t: float) -> Reading:
        return smoke(20, 40)(t) if t < 40 else smoke(42, 60)(t)

    first, second = run(at, 80)
    assert first.refusal == second.refusal == ""
    assert first.clear is not None and second.clear is not None
    assert second.clear.time_ns in (first.clear.time_ns, 41 * S)


def test_a_flash_is_none() -> None:
    assert [e for e in run(lambda t: reading(t, 0.6 if t == 20 else 0), 40) if not e.refusal] == []


def test_levels_hold_on_to_where_they_are() -> None:
    level = 1
    seen = []
    for covered in (0.32, 0.34, 0.32, 0.30, 0.27, 0.70, 0.63, 0.60, 0.95):
        level = steady_level(level, covered)
        seen.append(level)
    assert seen == [1, 2, 2, 2, 1, 3, 3, 2, 4]


def test_kinds_by_what_rose_most() -> None:
    assert kind_of([(3.0, 0.5, 0.1, 2.0, 2.0)]) == "smoke"
    assert kind_of([(1.0, 2.5, 0.1, 2.0, 2.0), (1.2, 2.0, 0, 0, 0)]) == "fog"
    assert kind_of([(0.1, 0.2, 0.3, 2.0, 1.0)]) == "splash"  # detail lost, the detector is blind
    assert kind_of([(0.1, 0.2, 0.3, 1.0, 2.0)]) == "smoke"
    assert kind_of([]) == "smoke"
