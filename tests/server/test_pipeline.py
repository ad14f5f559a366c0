"""Exactly one result per frame, raw unless proven restored, whatever the engine does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import SMOKY, FakeRestorer, brighten, flat, identity, swap_chroma, wrong_shape

from engines.errors import FeedsWrong
from engines.picture import Colour, Picture, Rgb, Yuv420
from engines.restorer import NOTHING, Analysis, Degradation
from server.frame import Frame, Provenance, Reason
from server.gate import CaseGate, OpenGate, StillGate
from server.guard import Cause
from server.pipeline import Pipeline, PipelineSettings

FRAME_NS = 40_000_000


def scene(seed: int = 0, height: int = 72, width: int = 128) -> Yuv420:
    rng = np.random.default_rng(seed)
    y = rng.integers(40, 180, (height, width)).astype(np.uint8)
    u = rng.integers(95, 125, (height // 2, width // 2)).astype(np.uint8)
    v = rng.integers(135, 170, (height // 2, width // 2)).astype(np.uint8)
    return Yuv420(y, u, v, Colour("bt709", False))


def frame(seq: int, picture: Picture | None = None, epoch: int = 0) -> Frame:
    return Frame(0, epoch, seq, seq * FRAME_NS, scene() if picture is None else picture)


def nan_planes(picture: Picture) -> Picture:
    assert isinstance(picture, Yuv420)
    broken = picture.y.astype(np.float32)
    broken[::8, ::8] = np.nan
    wrong: Any = broken
    return replace(picture, y=wrong)


def test_a_restored_frame_is_the_restorers() -> None:
    chain = Pipeline(FakeRestorer(), gate=OpenGate())
    result = chain.step(frame(0))
    assert result.provenance is Provenance.RESTORED
    assert isinstance(result.picture, Yuv420)
    assert np.array_equal(result.picture.y, np.minimum(scene().y + 8, 235))
    assert chain.tally.restored == 1


def test_a_clear_frame_is_the_very_same_picture() -> None:
    chain = Pipeline(FakeRestorer(detection=NOTHING))
    source = frame(0)
    result = chain.step(source)
    assert result.picture is source.picture
    assert result.reason is Reason.CLEAR


@pytest.mark.parametrize(
    ("step", "cause"),
    [
        (flat, Cause.FLAT),
        (wrong_shape, Cause.SHAPE),
        (swap_chroma, Cause.SWAPPED),
        (nan_planes, Cause.NON_FINITE),
        (RuntimeError("engine fell over"), Cause.RAISED),
        (lambda p: Rgb(np.zeros((p.height, p.width, 3), np.uint8)), Cause.TYPE),
    ],
)
def test_a_bad_frame_is_replaced_by_the_raw_one_and_counted(
    step: Callable[[Picture], Picture] | Exception, cause: Cause
) -> None:
    chain = Pipeline(FakeRestorer(script={1: step}), gate=OpenGate())
    results = [chain.step(frame(i)) for i in range(3)]
    assert [r.provenance for r in results] == ["RESTORED", "RAW", "RESTORED"]
    assert results[1].reason is Reason.GUARD
    assert results[1].picture is results[1].frame.picture
    assert chain.tally.trips == {cause: 1}
    assert chain.tally.raw == {Reason.GUARD: 1}
    assert chain.tally.frames == chain.tally.restored + chain.tally.raw.total()


def test_the_two_halves_are_the_step() -> None:
    """The second half of a frame may come after the first half of the next one."""
    script: dict[int, Callable[[Picture], Picture] | float | Exception] = {
        1: flat,
        3: RuntimeError("fell over"),
    }
    whole = Pipeline(FakeRestorer(script=script), gate=OpenGate())
    halves = Pipeline(FakeRestorer(script=script), gate=OpenGate())
    frames = [frame(i, scene(i)) for i in range(5)]
    stepped = [whole.step(f) for f in frames]
    judged = [halves.judge(f) for f in frames]
    assert halves.tally.frames == 0
    finished = [halves.finish(half) for half in judged]
    assert [r.reason for r in finished] == [r.reason for r in stepped]
    assert halves.tally == whole.tally


def test_a_late_frame_still_comes() -> None:
    chain = Pipeline(FakeRestorer(script={0: 0.02}), gate=OpenGate())
    assert chain.step(frame(0)).provenance is Provenance.RESTORED


def test_an_analysis_that_raises_gives_the_raw_frame() -> None:
    class Broken(FakeRestorer):
        def analyse(self, picture: Picture) -> Analysis:
            raise ZeroDivisionError("no maps")

    chain = Pipeline(Broken())
    result = chain.step(frame(0))
    assert result.reason is Reason.GUARD
    assert result.detection == NOTHING
    assert "ZeroDivisionError: no maps" in chain.tally.first_error


def test_a_detection_that_is_no_number_does_not_poison_the_gate() -> None:
    broken = replace(NOTHING, fog=Degradation(float("nan"), 0.5, 2))
    chain = Pipeline(FakeRestorer(detection=SMOKY, detections={0: broken}))
    first = chain.step(frame(0))
    assert (first.reason, chain.tally.trips) == (Reason.GUARD, {Cause.NON_FINITE: 1})
    assert chain.step(frame(1)).provenance is Provenance.RESTORED


def test_strength_reaches_the_restorer_and_zero_is_bypass() -> None:
    asked: list[float] = []

    class Asked(FakeRestorer):
        def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
            asked.append(strength)
            return identity(picture)

    half = Pipeline(Asked(), gate=OpenGate(), settings=PipelineSettings(strength=0.5))
    half.step(frame(0))
    assert asked == [0.5]
    none = Pipeline(Asked(), gate=OpenGate(), settings=PipelineSettings(strength=0.0))
    assert none.step(frame(0)).reason is Reason.BYPASS
    assert asked == [0.5]
    with pytest.raises(ValueError, match="strength"):
        PipelineSettings(strength=1.5)


class Remembering(FakeRestorer):
    """Keeps what it was referred to, and how often it was reset."""

    def __init__(self, **script: Any) -> None:
        super().__init__(**script)
        self.referred: list[Picture | None] = []
        self.resets = 0

    def refer(self, picture: Picture | None) -> None:
        self.referred.append(picture)

    def reset(self) -> None:
        self.resets += 1


def test_the_last_clear_frame_is_referred_to_throttled_and_copied() -> None:
    restorer = Remembering(detection=NOTHING)
    chain = Pipeline(restorer)
    pictures = [scene(i) for i in range(100)]
    for i, picture in enumerate(pictures):
        chain.step(frame(i, picture))
    given = [p for p in restorer.referred if p is not None]
    assert 3 <= len(given) <= 4  # 4 s of video, one a second
    first = given[0]
    assert isinstance(first, Yuv420)
    assert np.array_equal(first.y, pictures[0].y)
    assert not np.shares_memory(first.y, pictures[0].y)


def test_the_onset_of_smoke_never_becomes_the_reference() -> None:
    """Frames within half a second before the gate opens are already thinly veiled."""
    restorer = Remembering(detections=dict.fromkeys(range(30), NOTHING))
    chain = Pipeline(restorer)
    for i in range(80):
        chain.step(frame(i, scene(i)))
    given = [p for p in restorer.referred if p is not None]
    assert len(given) == 1
    assert isinstance(given[0], Yuv420)
    assert np.array_equal(given[0].y, scene(0).y)


def test_a_new_epoch_forgets_and_keeps_the_given_reference() -> None:
    restorer = Remembering(detection=NOTHING)
    reference = scene(9)
    chain = Pipeline(restorer, gate=CaseGate(), reference=reference)
    for i in range(3):
        chain.step(frame(i, epoch=7))
    assert (restorer.resets, restorer.referred) == (1, [reference])
    chain.step(frame(0, epoch=8))
    assert (restorer.resets, restorer.referred) == (2, [reference, reference])


def test_stages_are_told() -> None:
    class Told(dict[str, int]):
        def add(self, stage: str, ns: int) -> None:
            self[stage] = ns

    told = Told()
    Pipeline(FakeRestorer(), gate=StillGate(), watch=told).step(frame(0))
    assert set(told) == {"detect", "restore", "guard"}
    assert min(told.values()) >= 0


def test_rgb_pictures_take_the_same_chain() -> None:
    pixels = np.random.default_rng(1).integers(30, 200, (48, 64, 3)).astype(np.uint8)
    result = Pipeline(FakeRestorer(otherwise=brighten), gate=StillGate()).step(
        frame(0, Rgb(pixels))
    )
    assert result.provenance is Provenance.RESTORED


def test_a_size_that_the_engine_does_not_take_is_said() -> None:
    fake = FakeRestorer(script={0: FeedsWrong("takes 6x4, not 64x48"), 1: RuntimeError("broken")})
    pipeline = Pipeline(fake, gate=StillGate())
    refused, broken = pipeline.step(frame(0)), pipeline.step(frame(1))
    assert (refused.provenance, refused.reason) == (Provenance.RAW, Reason.SHAPE)
    assert broken.reason is Reason.GUARD
    assert "takes 6x4" in pipeline.tally.first_error
