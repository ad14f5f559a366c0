"""A restorer with several rungs: each repairs in its own way, and all are warm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from fakes import SMOKY, FakeRestorer, brighten

from engines.errors import FeedsWrong
from engines.picture import Picture, Rgb
from engines.repaint import Pixels
from engines.restorer import NOTHING, Analysis
from engines.rungs import Rungs

SIZE = (32, 24)


@dataclass
class FakeRepainter:
    """Adds grey levels; takes pictures of one size, or of any."""

    levels: int
    size: tuple[int, int] | None = None
    warmed: list[tuple[int, int]] = field(default_factory=list)
    beside: list[Pixels | None] = field(default_factory=list)
    closed: bool = False

    def apply(
        self, picture: Picture, strength: float = 1.0, reference: Pixels | None = None
    ) -> Picture:
        assert isinstance(picture, Rgb)
        self.beside.append(reference)
        return Rgb(picture.pixels + np.uint8(self.levels * strength))

    def warm(self, width: int, height: int) -> None:
        if self.size not in (None, (width, height)):
            raise FeedsWrong("another size")
        self.warmed.append((width, height))

    def close(self) -> None:
        self.closed = True


class Heard(FakeRestorer):
    """Keeps the analysis that it repairs by."""

    heard: Analysis | None = None

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        self.heard = analysis
        return super().apply(picture, analysis, strength)


def frame() -> Rgb:
    return Rgb(np.random.default_rng(4).integers(0, 180, (24, 32, 3), np.uint8))


def ladder(full: FakeRepainter | None = None, half: FakeRepainter | None = None) -> Rungs:
    networks = [("full", full or FakeRepainter(20)), ("half", half or FakeRepainter(30))]
    return Rungs("net", networks, FakeRestorer())


def test_each_rung_repairs_in_its_own_way() -> None:
    rungs, picture = ladder(), frame()
    rungs.warm(*SIZE)
    assert list(rungs.labels) == ["full", "half", "veil", "raw"]
    analysis = rungs.analyse(picture)
    assert analysis.detection == SMOKY
    for label, want in zip(
        rungs.labels,
        (picture.pixels + 20, picture.pixels + 30, brighten(picture), picture),
        strict=True,
    ):
        rungs.step_to(rungs.labels.index(label))
        assert rungs.label == label
        out = rungs.apply(picture, analysis)
        assert isinstance(out, Rgb)
        pixels = want.pixels if isinstance(want, Rgb) else want
        np.testing.assert_array_equal(out.pixels, pixels)
    rungs.step_to(9)
    assert rungs.label == "raw"
    rungs.step_to(-1)
    assert rungs.label == "full"


def test_the_networks_get_the_clear_frame_of_the_analysis() -> None:
    full, picture = FakeRepainter(20), frame()
    rungs = ladder(full)
    rungs.refer(picture)
    analysis = rungs.analyse(picture)
    rungs.reset()
    rungs.apply(picture, analysis)
    rungs.apply(picture, rungs.analyse(picture))
    rungs.refer(picture)
    rungs.refer(None)
    rungs.apply(picture, rungs.analyse(picture))
    first, *rest = full.beside
    assert first is not None and first.shape == (144, 256, 3)
    assert rest == [None, None]


def test_the_detector_repairs_by_its_own_maps_and_the_graded_word() -> None:
    """What comes between analysis and repair may change the word, and must be heard."""
    detector, picture = Heard(), frame()
    rungs = Rungs("net", [("full", FakeRepainter(20))], detector)
    rungs.refer(picture)
    rungs.step_to(1)
    assert rungs.label == "veil"
    rungs.apply(picture, replace(rungs.analyse(picture), detection=NOTHING))
    assert detector.heard == Analysis(detection=NOTHING, maps=0)


def test_every_rung_is_warmed_and_timed() -> None:
    def clock() -> Iterator[float]:
        now = 0.0
        for took in (0.010, 0.002, 5.0, 0.001):  # full twice, half once, veil once
            yield now
            now += took
            yield now

    times = clock()
    full, half = FakeRepainter(20), FakeRepainter(30)
    rungs = Rungs("net", [("full", full), ("half", half)], FakeRestorer(),
                  clock_s=lambda: next(times))  # fmt: skip
    rungs.step_to(2)
    rungs.warm(*SIZE)
    assert full.warmed == half.warmed == [SIZE]
    assert rungs.at == 0
    want = {"full": 2.0, "half": 5000.0, "veil": 1.0, "raw": 0.0}
    assert rungs.costs_ms == pytest.approx(want)


def test_a_half_that_does_not_take_the_size_is_left_out() -> None:
    rungs = ladder(half=FakeRepainter(30, size=(64, 48)))
    rungs.warm(*SIZE)
    assert list(rungs.labels) == ["full", "veil", "raw"]
    rungs.warm(64, 48)
    assert list(rungs.labels) == ["full", "half", "veil", "raw"]


def test_the_best_rung_decides_the_size() -> None:
    with pytest.raises(FeedsWrong):
        ladder(full=FakeRepainter(20, size=(64, 48))).warm(*SIZE)


def test_the_end_reaches_all() -> None:
    full, half = FakeRepainter(20), FakeRepainter(30)
    ladder(full, half).close()
    assert full.closed and half.closed
    with pytest.raises(ValueError, match="no network"):
        Rungs("net", [], FakeRestorer())
