"""Decoder planes through a network: on the host by ONNX Runtime, on a simulated GPU by TensorRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import tiny_bundle
from fakes import FakeRestorer
from gpus import FakeDevice
from planes import BRIGHTER, H, PlaneContext, PlaneTrt, W, expected, plane_bundle, planes

from engines.bundle import Bundle
from engines.colour import to_rgb
from engines.contract import COLOUR
from engines.cuda import Bytes
from engines.dlpack import take
from engines.errors import FeedsWrong, RunFailed
from engines.fullframe import FullFrame
from engines.nv12 import Nv12Repaint
from engines.ongpu import Frames, OnGpu
from engines.onnxrt import load
from engines.picture import Colour, Rgb, Yuv420
from engines.trt import TensorRt
from engines.verify import selftest


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return plane_bundle(tmp_path / "planes")


def on_host(seed: int = 0) -> Yuv420:
    luma, chroma = planes(seed)
    return Yuv420(luma, chroma[..., 0].copy(), chroma[..., 1].copy(), COLOUR)


def start(bundle: Bundle, seed: int = 0) -> tuple[TensorRt, FakeDevice, Frames]:
    device = FakeDevice(seed=seed)
    engine = TensorRt(bundle, b"plan", device, trt=PlaneTrt(bundle, PlaneContext(device)))
    return engine, device, Frames(device, W, H)


def taken(frames: Frames, seed: int) -> OnGpu:
    luma, chroma = planes(seed)
    return frames.picture(take(luma), take(chroma), COLOUR)


def padded(pixels: Bytes, pitch: int) -> Bytes:
    """The same pixels in longer rows, as decoders align them."""
    rows = np.full((pixels.shape[0], pitch), 0xEE, np.uint8)
    flat = pixels.reshape(pixels.shape[0], -1)
    rows[:, : flat.shape[1]] = flat
    strides = (pitch, *pixels.strides[1:])
    return np.lib.stride_tricks.as_strided(rows, pixels.shape, strides)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_planes_on_the_host(bundle: Bundle, strength: float) -> None:
    repaint, picture = Nv12Repaint(load(bundle), bundle.manifest), on_host()
    repaint.warm(W, H)
    out = repaint.apply(picture, strength)
    assert isinstance(out, Yuv420)
    y, uv = expected(*planes(), strength)
    np.testing.assert_array_equal(out.y, y)
    np.testing.assert_array_equal(np.stack([out.u, out.v], -1), uv)
    assert out.colour == COLOUR
    repaint.close()


def test_a_still_becomes_planes_and_back(bundle: Bundle) -> None:
    repaint, picture = Nv12Repaint(load(bundle), bundle.manifest), to_rgb(on_host())
    out = repaint.apply(picture)
    assert isinstance(out, Rgb)
    more = out.pixels.astype(int).mean() - picture.pixels.mean()
    assert 0.8 * BRIGHTER < more < 1.4 * BRIGHTER


@pytest.mark.parametrize("seed", range(8))
def test_planes_stay_on_the_gpu(bundle: Bundle, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, device, frames = start(bundle, seed)
    repaint = Nv12Repaint(engine, bundle.manifest, frames)
    luma, chroma = planes(seed)
    picture = frames.picture(take(padded(luma, 64)), take(padded(chroma, 48)), COLOUR)
    np.testing.assert_array_equal(picture.y, luma)
    np.testing.assert_array_equal(picture.v, chroma[..., 1])
    uploads: list[int] = []
    upload = device.upload

    def counted(address: int, host: Bytes, stream: int) -> None:
        uploads.append(host.nbytes)
        upload(address, host, stream)

    monkeypatch.setattr(device, "upload", counted)
    out = repaint.apply(picture, 0.5)
    assert uploads == [4]  # the strength; no pixel
    assert isinstance(out, OnGpu)
    y, uv = expected(luma, chroma, 0.5)
    np.testing.assert_array_equal(out.y, y)
    np.testing.assert_array_equal(np.stack([out.u, out.v], -1), uv)
    np.testing.assert_array_equal(device.memory[out.luma.address].reshape(H, W), y)
    assert engine.device_ms == 2.5


def test_buffers_are_used_again_when_nobody_holds_them(bundle: Bundle) -> None:
    engine, device, frames = start(bundle)
    repaint = Nv12Repaint(engine, bundle.manifest, frames)
    picture = taken(frames, 1)
    first = repaint.apply(picture)
    second = repaint.apply(picture)
    assert isinstance(first, OnGpu)
    assert isinstance(second, OnGpu)
    assert first.luma.address != second.luma.address
    address, held = first.luma.address, len(device.memory)
    del first
    third = repaint.apply(picture)
    assert isinstance(third, OnGpu)
    assert third.luma.address == address
    assert len(device.memory) == held
    np.testing.assert_array_equal(second.y, third.y)


def test_it_is_a_restorer_like_the_others(bundle: Bundle) -> None:
    engine, _, frames = start(bundle)
    restorer = FullFrame(engine, bundle.manifest, FakeRestorer(), frames)
    picture = taken(frames, 2)
    out = restorer.apply(picture, restorer.analyse(picture))
    assert isinstance(out, OnGpu)
    np.testing.assert_array_equal(out.y, expected(*planes(2))[0])
    host = FullFrame(load(bundle), bundle.manifest, FakeRestorer())
    same = host.apply(on_host(2), host.analyse(on_host(2)))
    assert isinstance(same, Yuv420)
    np.testing.assert_array_equal(same.y, out.y)


def test_the_self_test_runs_through_the_gpu(bundle: Bundle) -> None:
    engine, _, _ = start(bundle)
    assert all(difference.largest == 0 for difference in selftest(engine, bundle.vector))


def test_what_does_not_fit_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(FeedsWrong, match="take and give planes"):
        Nv12Repaint(load(bundle), tiny_bundle(tmp_path / "tiny").manifest)
    repaint = Nv12Repaint(load(bundle), bundle.manifest)
    with pytest.raises(FeedsWrong, match="takes 40x24, not 42x24"):
        repaint.warm(42, 24)
    other = Yuv420(on_host().y, on_host().u, on_host().v, Colour("bt601", False))
    with pytest.raises(FeedsWrong, match=r"BT\.709"):
        repaint.apply(other)
    engine, _, frames = start(bundle)
    with pytest.raises(ValueError, match="are not"):
        frames.picture(take(planes()[0][:-2]), take(planes()[1]), COLOUR)
    with pytest.raises(ValueError, match="even sides"):
        Frames(FakeDevice(), 41, 24)
    luma, chroma = map(take, planes())
    strength = {"strength": np.ones(1, np.float32)}
    outputs = dict(zip(("restored_luma", "restored_chroma"), frames.fresh(), strict=True))
    with pytest.raises(FeedsWrong, match="give"):
        engine.run_planes({"luma": chroma, "chroma": luma}, strength, outputs)
    with pytest.raises(FeedsWrong, match="a plane for each"):
        engine.run_planes({"luma": luma, "chroma": chroma}, strength, {})
    with pytest.raises(FeedsWrong):
        engine.run_planes({"luma": luma, "chroma": chroma}, {}, outputs)
    feeds = dict(bundle.vector.inputs)
    engine.submit(feeds)
    engine.submit(feeds)
    with pytest.raises(RunFailed, match="waits"):
        engine.run_planes({"luma": luma, "chroma": chroma}, strength, outputs)
