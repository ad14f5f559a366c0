"""The ladder: down when answers come late, up after a calm stretch, never to and fro."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from server.controls import Controls, Limits
from server.hold import Hold, HoldState
from server.ladder import Ladder, LadderSettings, Move

SECOND = 10**9
FRAME = SECOND // 25
LABELS = ("full", "half", "veil", "raw")
FREE = (5.0, 3.0, 1.0, 0.0)


class Played:
    """A ladder whose rungs take as long as told, at 25 answers a second. log: (second, rung)."""

    def __init__(self, costs: dict[str, float], settings: LadderSettings | None = None) -> None:
        self.costs = costs
        self.ladder = Ladder(40.0, settings or LadderSettings(calm_s=10.0))
        self.now = 0
        self.log: list[tuple[float, str, str]] = []
        self._note(self.ladder.begin(FREE, 0))

    @property
    def rung(self) -> str:
        return LABELS[self.ladder.at]

    def play(self, seconds: float) -> None:
        for _ in range(int(seconds * 25)):
            self.now += FRAME
            self._note(self.ladder.saw(self.costs[self.rung], self.now))

    def _note(self, move: Move | None) -> None:
        if move is not None:
            self.log.append((self.now / SECOND, LABELS[move.to], move.why))


def costs(full: float, half: float = 10, veil: float = 5) -> dict[str, float]:
    return {"full": full, "half": half, "veil": veil, "raw": 1.0}


def test_a_quick_engine_stays_where_it_is() -> None:
    played = Played(costs(20))
    played.play(60)
    assert played.log == [(0.0, "full", "warm")]


def test_a_slow_engine_steps_down_at_the_third_late_answer() -> None:
    played = Played(costs(100))
    played.play(2 / 25)
    assert played.rung == "full"
    played.play(1 / 25)
    assert played.rung == "half"
    assert played.log[-1] == (0.12, "half", "late")


def test_each_rung_gives_way_to_the_next_and_raw_to_none() -> None:
    played = Played(costs(100, 90, 80))
    played.play(9 / 25)
    assert [rung for _, rung, _ in played.log] == ["full", "half", "veil", "raw"]
    played.play(5)
    assert played.rung == "raw"


def test_a_single_late_answer_is_chance() -> None:
    ladder = Ladder(40.0)
    ladder.begin(FREE, 0)
    now = 0
    for number in range(1000):
        now += FRAME
        assert ladder.saw(300.0 if number % 150 == 70 else 10.0, now) is None


def test_it_climbs_after_a_calm_stretch_and_stays_where_it_is_quick_again() -> None:
    played = Played(costs(100))
    played.play(1)
    played.costs = costs(20)
    played.play(9)
    assert played.rung == "half"
    played.play(2)
    assert played.rung == "full"
    assert played.log[-1][2] == "calm"
    played.play(120)
    assert played.rung == "full"


def test_failed_trials_become_rare() -> None:
    """An engine that is always too slow is tried after 10 s, 20 s, 40 s ... and not more often."""
    played = Played(costs(100))
    played.play(20 * 60)
    tries = [at for at, rung, why in played.log if (rung, why) == ("full", "calm")]
    gaps = [b - a for a, b in zip(tries, tries[1:], strict=False)]
    assert 4 <= len(tries) <= 8
    assert all(later > 1.5 * earlier for earlier, later in zip(gaps, gaps[1:], strict=False)
               if later < 600)  # fmt: skip


def test_its_trials_never_latch_the_stream() -> None:
    """Two rungs that are always late, tried again and again: each late frame counts for the
    automatic bypass, and three trips in a minute would make the stream raw for good."""
    states: list[HoldState] = []
    hold = Hold(Limits(), Controls(), lambda state, why, now: states.append(state))
    played = Played(costs(100, 90), LadderSettings())
    for seq in range(30 * 60 * 25):
        rung = played.rung
        played.play(1 / 25)
        if played.costs[rung] > 40:
            hold.late(played.now)
        else:
            hold.good((0, seq), played.now)
    assert len([move for move in played.log if move[2] == "calm"]) >= 4
    assert HoldState.HOLD in states
    assert HoldState.LATCHED not in states


def test_no_room_means_no_trial() -> None:
    """On time, but with nothing to spare: a better rung would only be slower."""
    played = Played(costs(100, 36))
    played.play(300)
    assert [rung for _, rung, _ in played.log] == ["full", "half"]


def test_it_begins_on_the_best_rung_that_fits_and_never_tries_a_hopeless_one() -> None:
    ladder = Ladder(40.0, LadderSettings(calm_s=10.0))
    assert ladder.begin((6500.0, 1600.0, 8.0, 0.0), 0) == Move(2, "warm", 0.0)
    now = 0
    for _ in range(25 * 120):
        now += FRAME
        assert ladder.saw(8.0, now) is None
    assert ladder.begin((6500.0, 1600.0, 100.0, 0.0), now).to == 3
    assert ladder.begin((55.0, 20.0, 8.0, 0.0), now).to == 1  # close: worth a trial
    for _ in range(25 * 11):
        now += FRAME
        ladder.saw(8.0, now)
    assert ladder.at == 0


def test_too_few_answers_prove_nothing() -> None:
    ladder = Ladder(40.0, LadderSettings(enough=25, calm_s=10.0))
    ladder.begin((50.0, 10.0, 5.0, 0.0), 0)
    assert ladder.at == 1
    now = 0
    for _ in range(24):
        now += SECOND  # a clear scene: an answer that counts now and then
        assert ladder.saw(10.0, now) is None
    assert ladder.saw(10.0, now + SECOND) is not None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 200), min_size=1, max_size=400))
def test_it_never_leaves_the_ladder_and_moves_by_one(ages: list[float]) -> None:
    ladder = Ladder(40.0, LadderSettings(calm_s=0.2, enough=3))
    ladder.begin(FREE, 0)
    now = 0
    for age in ages:
        before, now = ladder.at, now + FRAME
        move = ladder.saw(age, now)
        assert 0 <= ladder.at < len(FREE)
        assert abs(ladder.at - before) == (move is not None)
