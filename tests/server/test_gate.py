"""The gate opens on the case's own smoke, not on a camera's habits, and never pumps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.restorer import ABSENT, NOTHING, Degradation, Detection
from server.gate import Baseline, CaseGate, GateSettings, OpenGate, StillGate, evidence, level

FRAME_NS = 40_000_000


def sure(probability: float) -> float:
    """The same verdict with three times the logit: detectors are quite sure, or not at all."""
    odds = (probability / (1 - probability)) ** 3 if 0 <= probability < 1 else probability
    return odds / (1 + odds) if 0 <= probability < 1 else odds


def seen(probability: float, coverage: float = 0.5, lvl: int = 1, kind: str = "smoke") -> Detection:
    found = {kind: Degradation(sure(probability), coverage, lvl)}
    return Detection(
        smoke=found.get("smoke", ABSENT),
        fog=found.get("fog", ABSENT),
        splash=found.get("splash", ABSENT),
        splash_type=None,
    )


def run(gate: CaseGate, detections: list[Detection], start: int = 0) -> list[float]:
    return [gate.step(d, (start + i) * FRAME_NS) for i, d in enumerate(detections)]


def test_a_clear_case_stays_untouched() -> None:
    assert run(CaseGate(), [seen(0.05, 0.0, 0)] * 100) == [0.0] * 100


def test_smoke_opens_and_its_end_closes() -> None:
    gate = CaseGate()
    strengths = run(gate, [seen(0.05, 0, 0)] * 50 + [seen(0.9)] * 100 + [seen(0.05, 0, 0)] * 100)
    assert max(strengths[:50]) == 0.0
    assert strengths[149] == 1.0
    assert strengths[-1] == 0.0
    assert gate.clear


def test_a_camera_with_a_high_clear_score_stays_untouched_and_still_opens() -> None:
    """An absolute threshold between 0.05 and 0.9 would fail here."""
    gate = CaseGate()
    clear = seen(0.45, 0.3, 1)
    settled = run(gate, [clear] * 200)
    assert settled[-1] == 0.0
    assert run(gate, [seen(0.95, 0.6, 2)] * 60, start=200)[-1] == 1.0


def test_a_case_that_starts_in_smoke_is_restored_from_its_first_frame() -> None:
    strengths = run(CaseGate(), [seen(0.95, 0.8, 3)] * 500)
    assert strengths[0] == 1.0
    assert min(strengths) == 1.0


def test_strength_never_jumps() -> None:
    """A detector that flips on every frame must not make the picture pump."""
    rng = np.random.default_rng(3)
    flips = [seen(float(p)) for p in rng.choice([0.05, 0.9], 400)]
    strengths = run(CaseGate(), [seen(0.05, 0, 0)] * 20 + flips)
    steps = np.abs(np.diff(strengths))
    assert steps.max() <= 0.04 / 0.4 + 1e-9
    turns = np.sum(np.diff(np.sign(np.diff(strengths)[steps > 0])) != 0)
    flips_of_the_detector = sum(a != b for a, b in zip(flips, flips[1:], strict=False))
    assert turns < flips_of_the_detector / 2


def test_hysteresis_holds_between_its_two_thresholds() -> None:
    settings = GateSettings(open_rise=0.3, close_rise=0.1)
    calm, between = seen(0.05, 0, 0), seen(0.35, 0.4)
    gate = CaseGate(settings)
    assert run(gate, [calm] * 50 + [between] * 50)[-1] == 0.0
    run(gate, [seen(0.95)] * 50, start=100)
    assert run(gate, [between] * 50, start=150)[-1] == 1.0


def test_only_the_kinds_asked_for_count() -> None:
    gate = CaseGate(GateSettings(kinds=("fog",)))
    assert max(run(gate, [seen(0.95, 0.9, 4)] * 30)) == 0.0
    assert run(gate, [seen(0.95, 0.9, 4, "fog")] * 60, start=30)[-1] == 1.0
    assert level(seen(0.9, 0.5, 3), ("splash",)) == 0


def test_fade_takes_the_same_time_at_any_frame_rate() -> None:
    def frames_to_full(step_ns: int) -> int:
        gate = CaseGate()
        gate.step(seen(0.05, 0, 0), 0)
        count = 0
        while gate.step(seen(0.95), (count + 1) * step_ns) < 1.0:
            count += 1
        return count

    slow, fast = frames_to_full(40_000_000), frames_to_full(10_000_000)
    assert fast == pytest.approx(4 * slow, rel=0.25)


@pytest.mark.parametrize("jump_ns", [-(10**12), 0, 10**12])
def test_time_that_jumps_is_survived(jump_ns: int) -> None:
    gate = CaseGate()
    run(gate, [seen(0.05, 0, 0)] * 10)
    assert 0.0 <= gate.step(seen(0.9), 10 * FRAME_NS + jump_ns) <= 0.5


def test_a_score_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="0-1"):
        CaseGate().step(seen(1.7, 1.0), 0)


def test_each_kind_has_its_own_baseline() -> None:
    """A camera on which the fog detector never rests must not hide thin smoke."""

    def both(smoke: float) -> Detection:
        return Detection(
            smoke=Degradation(sure(smoke), 0.2, 0),
            fog=Degradation(sure(0.2), 0.0, 0),
            splash=ABSENT,
            splash_type=None,
        )

    gate = CaseGate()
    assert max(run(gate, [both(0.01)] * 50)) == 0.0
    assert run(gate, [both(0.2)] * 30, start=50)[-1] == 1.0


def test_one_kind_pressed_down_by_another_does_not_hold_the_gate_open() -> None:
    """Dense smoke makes the detector surer than ever that no splash is there."""

    def pair(smoke: float, splash: float) -> Detection:
        return replace(seen(smoke), splash=Degradation(sure(splash), 0.0, 0))

    gate = CaseGate()
    clear = [pair(0.03, 0.02)] * 100
    run(gate, clear + [pair(0.95, 0.0001)] * 200)
    assert run(gate, clear, start=300)[-1] == 0.0


def test_evidence_is_linear_in_the_logit() -> None:
    assert evidence(0.5) == pytest.approx(0.5)
    assert evidence(1e-2) - evidence(1e-4) > 0.12 > 5 * (evidence(0.6) - evidence(0.51))
    assert evidence(0.0) == 0.0 and evidence(1.0) == 1.0


def test_reset_forgets_the_case() -> None:
    gate = CaseGate()
    run(gate, [seen(0.01, 0.0, 0)] * 500)
    learned = gate.baselines["smoke"]
    gate.reset()
    assert gate.baselines["smoke"] > learned


def test_a_thin_veil_that_one_threshold_misses_opens_a_case_that_was_clear() -> None:
    """It is under the detector's own threshold, but far above this case's clear frames."""
    gate = CaseGate()
    assert max(run(gate, [seen(0.01, 0.0, 0)] * 50)) == 0.0
    assert run(gate, [seen(0.2, 0.1, 0)] * 30, start=50)[-1] == 1.0
    assert max(run(CaseGate(), [seen(0.2, 0.1, 0)] * 30)) == 0.0  # a case that never was clear


def test_levels_are_those_of_the_case() -> None:
    """Shown and told are what is restored: neither a thin veil at level 0, nor a camera's habit."""
    gate = CaseGate()
    run(gate, [seen(0.01, 0.0, 0)] * 50)
    thin = seen(0.2, 0.4, 0)
    run(gate, [thin] * 30, start=50)
    assert gate.grade(thin).smoke.level == 2
    habit = seen(0.45, 0.4, 1)
    other = CaseGate()
    run(other, [habit] * 200)
    assert other.clear and other.grade(habit).level == 0
    assert StillGate().grade(habit) == habit == OpenGate().grade(habit)


def test_a_kind_nobody_asked_for_keeps_its_level() -> None:
    gate = CaseGate(GateSettings(kinds=("fog",)))
    run(gate, [seen(0.9, 0.5, 2)] * 5)
    assert gate.grade(seen(0.9, 0.5, 2)).smoke.level == 2


def test_the_baseline_forgets_and_is_capped() -> None:
    baseline = Baseline(cap=0.4)
    for _ in range(1000):
        baseline.add(0.9, 0.2)
    assert baseline.value == 0.4
    for _ in range(40_000):
        baseline.add(0.05, 0.2)
    assert baseline.value < 0.1


def test_stills_use_the_absolute_level() -> None:
    gate = StillGate()
    assert gate.step(seen(0.9, 0.1, 1), 0) == 1.0
    assert not gate.clear
    assert gate.step(seen(0.9, 0.1, 0), 0) == 0.0
    assert gate.clear


def test_the_open_gate_is_open() -> None:
    assert OpenGate().step(NOTHING, 0) == 1.0
