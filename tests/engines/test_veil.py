"""The restorer around the net: what it is fed, what it makes of the answer, what it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.engine import Info
from engines.errors import BundleMissing
from engines.picture import Colour, Rgb, Yuv420, rgb_matrix
from engines.veil import INPUT_SIZE, Prediction, VeilRestorer, load, shrink, small_rgb

Array = NDArray[Any]
H, W = INPUT_SIZE


def answer(t: float = 0.5, presence: float = 3.0, coverage: float = 0.5) -> dict[str, Array]:
    return {
        "transmission": np.full((1, 1, H // 4, W // 4), t, np.float32),
        "withheld": np.zeros((1, 1, H // 4, W // 4), np.float32),
        "veil": np.full((1, 3, H // 16, W // 16), 0.7, np.float32),
        "exposure": np.array([[1, 1, 0, 0, 0]], np.float32),
        "presence": np.array([[presence, -5, -5]], np.float32),
        "coverage": np.array([[coverage, 0, 0]], np.float32),
        "splash_type": np.array([[0, 1, 0, 0]], np.float32),
    }


@dataclass
class FakeEngine:
    """Gives the answers it was given, the last one again and again; keeps what it was fed."""

    answers: list[dict[str, Array]]
    fed: list[dict[str, Array]] = field(default_factory=list)
    info: Info = Info(name="fake", version="0.0.0", sha256="", provider="cpu", detail="")
    closed: bool = False

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self.fed.append(dict(feeds))
        return self.answers[min(len(self.fed), len(self.answers)) - 1]

    def close(self) -> None:
        self.closed = True


def picture(seed: int = 0, h: int = 180, w: int = 320) -> Rgb:
    small = np.random.default_rng(seed).integers(20, 200, (9, 16, 3), dtype=np.uint8)
    return Rgb(cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC))


def planes(source: Rgb, colour: Colour) -> Yuv420:
    low, span, cspan = (0, 255, 255) if colour.full_range else (16, 219, 224)
    yuv = (source.pixels / 255.0) @ np.linalg.inv(rgb_matrix(colour.matrix)).T
    u, v = (cv2.resize(yuv[..., n], None, fx=0.5, fy=0.5, interpolation=3) for n in (1, 2))
    return Yuv420(
        np.round(yuv[..., 0] * span + low).astype(np.uint8),
        np.round(u * cspan + 128).astype(np.uint8),
        np.round(v * cspan + 128).astype(np.uint8),
        colour,
    )


@pytest.mark.parametrize("colour", [Colour("bt601", True), Colour("bt709", False)])
def test_planes_and_rgb_look_the_same_to_the_net(colour: Colour) -> None:
    source = picture()
    assert np.abs(small_rgb(planes(source, colour)) - small_rgb(source)).mean() < 0.01


@pytest.mark.parametrize("size", [(720, 1280), (1080, 1920), (480, 854), (90, 160), (1000, 300)])
def test_shrinking_counts_every_pixel(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    small = shrink(plane)
    assert small.shape == INPUT_SIZE
    assert abs(float(small.mean()) - float(plane.mean())) < 1.5
    stripes = np.zeros(size, np.uint8)
    stripes[:, ::2] = 255  # sampling without averaging would see black or white
    if size[1] >= 2 * W:
        assert shrink(stripes).min() > 100 and shrink(stripes).max() < 155


def test_the_law_is_inverted() -> None:
    """t = 0.5, A = 0.7: a picture veiled so comes back."""
    clear = picture().pixels / 255.0 * 0.6 + 0.1
    veiled = Rgb(np.round((clear * 0.5 + 0.35) * 255).astype(np.uint8))
    restorer = VeilRestorer(FakeEngine([answer(0.5)]))
    out = restorer.apply(veiled, restorer.analyse(veiled))
    assert isinstance(out, Rgb)
    error = np.abs(out.pixels / 255.0 - clear)
    assert error.mean() < 0.01 and np.percentile(error, 99) < 0.03


def test_coefficients_are_those_of_the_training() -> None:
    torch = pytest.importorskip("torch")
    from models.veil import coefficients

    rng = np.random.default_rng(2)
    t = rng.uniform(0.22, 1, (1, 1, 36, 64)).astype(np.float32)
    held = rng.uniform(0, 1, (1, 1, 36, 64)).astype(np.float32)
    veil = rng.uniform(0, 1, (1, 3, 9, 16)).astype(np.float32)
    exposure = np.array([[1.2, 0.8, 0.05, -0.02, 0.03]], np.float32)
    want = coefficients(*(torch.from_numpy(x) for x in (t, held, veil, exposure)))[0].numpy()
    have = Prediction(t[0, 0], held[0, 0], veil[0], exposure[0]).coefficients()
    assert np.abs(have - want).max() < 1e-4


def test_bounds_are_those_of_the_training() -> None:
    pytest.importorskip("torch")
    import engines.apply as run_time
    import models.veil as net

    assert pytest.approx(1 / net.T_MIN) == run_time.GAIN_MAX
    for name in ("CHROMA_GAIN_MAX", "SHADOW_KEEP", "HIGHLIGHT", "GAMUT_SLACK"):
        assert getattr(run_time, name) == getattr(net, name)
    assert net.MAP_INPUT == INPUT_SIZE


def test_a_nervous_net_over_a_still_scene_is_calmed() -> None:
    rng = np.random.default_rng(3)
    nervous = [answer(float(t)) for t in 0.5 + 0.05 * rng.standard_normal(60)]
    restorer = VeilRestorer(FakeEngine(nervous))
    still = picture()
    gains = [float(restorer.analyse(still).maps[0].mean()) for _ in range(60)]
    alone = [1 / float(a["transmission"].mean()) for a in nervous]
    assert np.abs(np.diff(gains[5:])).mean() < 0.45 * np.abs(np.diff(alone[5:])).mean()
    assert abs(np.mean(gains[20:]) - np.mean(alone[20:])) < 0.1


def test_the_net_looks_at_every_second_frame_of_a_still_scene() -> None:
    engine = FakeEngine([answer(0.5, coverage=0.1 * n) for n in range(1, 9)])
    restorer = VeilRestorer(engine)
    found = [restorer.analyse(picture()).detection.smoke.coverage for _ in range(6)]
    assert found == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    restorer.refer(picture(1))
    assert restorer.analyse(picture()).detection.smoke.coverage == pytest.approx(0.4)


def test_a_changed_view_is_looked_at_at_once() -> None:
    engine = FakeEngine([answer()])
    restorer = VeilRestorer(engine)
    first = picture()
    for step in range(6):  # the light rises by more than HOLD a frame
        restorer.analyse(Rgb(np.clip(first.pixels.astype(int) + 15 * step, 0, 255).astype("u1")))
    assert len(engine.fed) == 6


def test_a_cut_is_followed_at_once() -> None:
    restorer = VeilRestorer(FakeEngine([answer(1.0)] * 3 + [answer(0.4)]))
    for _ in range(5):
        restorer.analyse(picture(0))
    other = Rgb(255 - picture(0).pixels)
    assert restorer.analyse(other).maps[0].mean() == pytest.approx(2.5, rel=1e-3)


def test_smoke_that_comes_is_followed_within_half_a_second() -> None:
    restorer = VeilRestorer(FakeEngine([answer(1.0)] * 3 + [answer(0.4)]))
    for _ in range(3):
        restorer.analyse(picture())
    gains = [float(restorer.analyse(picture()).maps[0].mean()) for _ in range(12)]
    assert gains[0] < 2.0  # no jump in a still picture
    assert gains[-1] > 0.95 * 2.5  # 12 frames are 0.48 s at 25 fps
    assert all(b >= a for a, b in zip(gains, gains[1:], strict=False))


def test_the_reference_reaches_the_net_and_is_forgotten() -> None:
    engine = FakeEngine([answer()])
    restorer = VeilRestorer(engine)
    restorer.analyse(picture(0))
    restorer.refer(picture(1))
    restorer.analyse(picture(0))
    restorer.reset()
    restorer.analyse(picture(0))
    assert [float(f["known"].mean()) for f in engine.fed] == [0.0, 1.0, 0.0]
    assert np.array_equal(engine.fed[1]["reference"][0], small_rgb(picture(1)))
    assert engine.fed[2]["reference"].max() == 0


def test_levels_come_from_coverage_and_the_calibrated_presence() -> None:
    def smoke(presence: float, coverage: float, offset: float = 0.0) -> int:
        engine = FakeEngine([answer(presence=presence, coverage=coverage)])
        restorer = VeilRestorer(engine, presence_offset=(offset, 0.0, 0.0))
        return restorer.analyse(picture()).detection.smoke.level

    assert [smoke(3, c) for c in (0.1, 0.5, 0.8, 0.95)] == [1, 2, 3, 4]
    assert smoke(-1, 0.9) == 0
    assert smoke(1, 0.9, offset=2.0) == 0


def test_warming_leaves_no_trace() -> None:
    engine = FakeEngine([answer(0.4)])
    restorer = VeilRestorer(engine)
    restorer.refer(picture(1))
    restorer.warm(64, 48)
    restorer.analyse(picture(0))
    assert np.array_equal(engine.fed[-1]["reference"][0], small_rgb(picture(1)))
    restorer.close()
    assert engine.closed


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(BundleMissing, match="nosuch"):
        load("nosuch")


# from here on with the bundle that ships


@pytest.fixture(scope="module")
def shipped() -> VeilRestorer:
    return load()


def test_a_reference_paints_no_edge_into_the_picture(shipped: VeilRestorer) -> None:
    """A flat veiled picture with a hard-edged reference: no edge of the reference appears."""
    flat = np.full((360, 640, 3), 150, np.uint8)
    board = (np.indices((360, 640)).sum(0) // 40 % 2 * 200 + 20).astype(np.uint8)
    shipped.reset()
    shipped.refer(Rgb(np.repeat(board[..., None], 3, 2)))
    out = shipped.apply(Rgb(flat), shipped.analyse(Rgb(flat)))
    assert isinstance(out, Rgb)
    steps = np.abs(np.diff(out.pixels.astype(int), axis=1)).max()
    assert steps <= 4  # the board's own edges are 200 levels


def test_static_noise_gets_no_structure(shipped: VeilRestorer) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    shipped.reset()
    out = shipped.apply(Rgb(noise), shipped.analyse(Rgb(noise)))
    assert isinstance(out, Rgb)
    coarse_in = cv2.blur(noise, (41, 41)).astype(int)[30:-30, 30:-30]
    coarse_out = cv2.blur(out.pixels, (41, 41)).astype(int)[30:-30, 30:-30]
    rise = coarse_out.std((0, 1)).max() / coarse_in.std((0, 1)).max()
    assert rise < 5  # at most the gain bound: what is smooth stays smooth


def test_a_still_picture_does_not_flicker(shipped: VeilRestorer) -> None:
    shipped.reset()
    rng = np.random.default_rng(5)
    base = picture(6, 360, 640).pixels.astype(np.int16) // 2 + 90
    frames = []
    for _ in range(12):
        noisy = np.clip(base + rng.normal(0, 2, base.shape), 0, 255).astype(np.uint8)
        out = shipped.apply(Rgb(noisy), shipped.analyse(Rgb(noisy)))
        assert isinstance(out, Rgb)
        frames.append(cv2.blur(out.pixels, (31, 31)).astype(np.float32))
    change = [float(np.abs(b - a).mean()) for a, b in zip(frames[4:], frames[5:], strict=False)]
    assert max(change) < 0.6  # grey levels, after the sensor noise is averaged away
