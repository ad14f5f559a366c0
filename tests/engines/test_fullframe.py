"""A full-frame network behind the restorer's contract: sizes, planes, strength, detection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import GAIN, SHAPE, tiny_bundle
from fakes import SMOKY, FakeRestorer
from nets import spec, steered

from engines import zoo
from engines.bundle import Bundle
from engines.colour import to_yuv420
from engines.errors import FeedsWrong
from engines.export import run_torch
from engines.fullframe import FullFrame
from engines.onnxrt import load
from engines.picture import Colour, Rgb, Yuv420
from engines.restorer import Analysis
from engines.zoo import Order, make

H, W = SHAPE[1:3]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def detector() -> FakeRestorer:
    return FakeRestorer()


@pytest.fixture
def restorer(bundle: Bundle, detector: FakeRestorer) -> FullFrame:
    return FullFrame(load(bundle), bundle.manifest, detector)


def frame() -> Rgb:
    return Rgb(np.random.default_rng(2).integers(0, 200, (H, W, 3), np.uint8))


def test_the_network_restores_and_the_detector_detects(restorer: FullFrame) -> None:
    picture = frame()
    analysis = restorer.analyse(picture)
    assert analysis.detection == SMOKY
    out = restorer.apply(picture, analysis)
    assert isinstance(out, Rgb)
    want = np.clip(picture.pixels.astype(np.float32) * GAIN, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(out.pixels, want)
    assert restorer.name == "tiny"


def test_strength_mixes(restorer: FullFrame) -> None:
    picture = frame()
    analysis = restorer.analyse(picture)
    full = restorer.apply(picture, analysis, 1.0)
    half = restorer.apply(picture, analysis, 0.5)
    none = restorer.apply(picture, analysis, 0.0)
    assert isinstance(full, Rgb)
    assert isinstance(half, Rgb)
    assert isinstance(none, Rgb)
    np.testing.assert_array_equal(none.pixels, picture.pixels)
    middle = (full.pixels.astype(int) + picture.pixels) / 2
    assert np.abs(half.pixels - middle).max() <= 1


def test_planes_come_back_as_planes(restorer: FullFrame) -> None:
    colour = Colour("bt601", True)
    planes = to_yuv420(frame(), colour)
    out = restorer.apply(planes, restorer.analyse(planes))
    assert isinstance(out, Yuv420)
    assert out.colour == colour
    assert out.y.shape == (H, W)


def test_another_size_is_refused_before_it_runs(restorer: FullFrame) -> None:
    other = Rgb(np.zeros((H, W + 2, 3), np.uint8))
    with pytest.raises(FeedsWrong, match="takes 6x4, not 8x4"):
        restorer.apply(other, restorer.analyse(other))
    with pytest.raises(FeedsWrong, match="--size 1280x720"):
        restorer.warm(1280, 720)
    restorer.warm(W, H)


def test_reference_and_end_reach_the_detector(restorer: FullFrame, detector: FakeRestorer) -> None:
    restorer.refer(frame())
    restorer.reset()
    restorer.close()
    assert detector.references == 1


def test_a_network_that_takes_a_reference_gets_the_last_clear_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: FakeRestorer
) -> None:
    """Through export and bundle: a reference changes the answer, forgetting it gives the plain one
    back, and a picture that was analysed beside one is restored beside it."""
    monkeypatch.setattr(zoo, "RESTORERS", {"small": spec(steered)})
    made = make(Order(name="small", size=(48, 64), contract="referred"), tmp_path).bundle
    restorer = FullFrame(load(made), made.manifest, detector)
    rng = np.random.default_rng(2)
    picture = Rgb(rng.integers(90, 200, (48, 64, 3), np.uint8))
    clear = Rgb(rng.integers(0, 90, (96, 100, 3), np.uint8))  # of any size

    def restored(analysis: Analysis | None = None) -> np.ndarray[Any, np.dtype[np.int16]]:
        out = restorer.apply(picture, analysis or restorer.analyse(picture))
        assert isinstance(out, Rgb)
        return out.pixels.astype(np.int16)

    plain = restored()
    assert np.abs(plain - run_torch(steered(), picture.pixels[None])[0]).max() <= 1
    restorer.refer(clear)
    beside, kept = restored(), restorer.analyse(picture)
    assert np.abs(beside - plain).mean() > 1
    restorer.refer(None)
    np.testing.assert_array_equal(restored(), plain)
    np.testing.assert_array_equal(restored(kept), beside)
    restorer.refer(to_yuv420(clear, Colour("bt709", False)))
    assert np.abs(restored() - beside).mean() < 1
    restorer.reset()
    np.testing.assert_array_equal(restored(), plain)
    restorer.warm(64, 48)


def test_a_further_input_is_refused(bundle: Bundle, detector: FakeRestorer) -> None:
    odd = replace(bundle.manifest.inputs[0], name="depth")
    manifest = replace(bundle.manifest, inputs=(*bundle.manifest.inputs, odd))
    with pytest.raises(FeedsWrong, match="more than frame and reference"):
        FullFrame(load(bundle), manifest, detector)


def test_an_engine_of_another_kind_is_refused(tmp_path: Path, detector: FakeRestorer) -> None:
    bundle = tiny_bundle(tmp_path / "maps")
    port = bundle.manifest.outputs[0]
    object.__setattr__(port, "dtype", "float32")
    with pytest.raises(FeedsWrong, match="RGB frames"):
        FullFrame(load(bundle), bundle.manifest, detector)
