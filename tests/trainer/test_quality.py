"""The shipped restorer against the data, in small: a later change must not lose what it had.

The full report is `surgiclear bench quality`; this keeps watch on a few dozen pictures. Real
pairs here were seen in training: they show that the chain is whole, not how good it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.picture import Rgb
from engines.veil import VeilRestorer, load
from trainer import dataset, quality
from trainer.metrics import psnr
from trainer.pixels import unit
from trainer.quality import Score, Table, farthest, restored, synthetic

DATA = dataset.shared_data()
needs_data = pytest.mark.skipif(DATA is None, reason="no surgical data: set SURGICLEAR_SHARED")


@pytest.fixture(scope="module")
def veil() -> VeilRestorer:
    return load()


@pytest.fixture
def data() -> Path:
    assert DATA is not None
    return DATA


@needs_data
def test_synthetic_smoke_is_thinned_and_light_smoke_not_harmed(
    veil: VeilRestorer, data: Path
) -> None:
    report = synthetic(data, veil, count=60)
    before, after = report.smoke.by_group("input"), report.smoke.by_group("veil")
    assert after["dense t<.5"].psnr > before["dense t<.5"].psnr + 3.5
    assert after["light t>.8"].psnr > before["light t>.8"].psnr - 0.2
    assert report.gain_found > 1.4
    assert report.recall["smoke"] > 0.7


@needs_data
def test_clear_frames_of_unseen_patients_hardly_change(veil: VeilRestorer, data: Path) -> None:
    frames = quality.held_out_frames(data)[::12]
    change, found = [], []
    for frame in frames:
        pixels = dataset.load(frame.path)
        change.append(psnr(restored(veil, pixels), unit(pixels)))
        veil.reset()
        found.append(veil.analyse(Rgb(pixels)).detection.level > 0)
    assert np.mean(change) > 38 and np.percentile(change, 10) > 28
    assert np.mean(found) <= 0.08  # 39 frames: three


@needs_data
def test_real_pairs_gain_and_more_so_with_a_reference(veil: VeilRestorer, data: Path) -> None:
    gains, with_reference = [], []
    for pair in dataset.pairs(data)[::15]:
        smoky, clear = dataset.load(pair.smoky), dataset.load(pair.clear)
        image, truth = unit(smoky), unit(clear)
        plain = Score.of(restored(veil, smoky), truth)
        gains.append(plain.psnr - psnr(image, truth))
        path = farthest(dataset.references(data, pair.scene), pair.clear)
        if path is not None:
            steered = Score.of(restored(veil, smoky, dataset.load(path)), truth)
            with_reference.append(steered.normalised - plain.normalised)
    assert np.mean(gains) > 1.5
    assert np.mean(with_reference) > 0.2


@needs_data
def test_no_patient_is_on_both_sides(data: Path) -> None:
    frames = dataset.clear_frames(data)
    held = {f.patient for f in frames if f.held_out}
    trained = {f.patient for f in frames if not f.held_out}
    assert held and trained and not held & trained
    assert len(frames) > 2000 and 300 < sum(f.held_out for f in frames) < 700


def test_another_frame_is_the_next_of_the_same_patient() -> None:
    a1, a2, a3, b1 = (dataset.ClearFrame(Path(n), n[0]) for n in ("a1", "a2", "a3", "b1"))
    frames = [a1, a2, a3, b1]
    assert [quality.another(f, frames) for f in frames] == [a2, a3, a1, None]
    assert quality.another(a2, [a1, b1]) == a1  # whether it is among them or not


@needs_data
def test_a_reference_tells_smoke_from_a_clear_view(veil: VeilRestorer, data: Path) -> None:
    pair = next(p for p in dataset.pairs(data) if p.scene == "7")
    path = farthest(dataset.references(data, "7"), pair.clear)
    assert path is not None
    smoky, clear, other = (dataset.load(p) for p in (pair.smoky, pair.clear, path))
    alone, beside = (quality.detected(veil, smoky, r).smoke.probability for r in (None, other))
    assert beside != alone  # it was looked at
    assert quality.detected(veil, smoky).smoke.probability == alone  # and is forgotten
    assert beside > quality.detected(veil, clear, other).smoke.probability


def test_the_mean_weighs_every_group_alike() -> None:
    table = Table()
    for value in (10.0, 20.0, 30.0):
        table.add("m", "a", Score(value, 0.5, value))
    table.add("m", "b", Score(40.0, 0.7, 40.0))
    assert table.overall("m").psnr == pytest.approx(30.0)
    assert table.overall("m").ssim == pytest.approx(0.6)
    assert "a (3)" in table.text() and table.count("b") == 1
