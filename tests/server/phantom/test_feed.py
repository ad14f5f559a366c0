"""The feed: exact truth, the same frames from the same seed, levels that mean what they say."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.picture import Colour, Yuv420, rgb_matrix
from engines.restorer import COVERED, KINDS, NOTHING, SPLASH_TYPES, Detection
from engines.restorer import level as level_of
from server.phantom.feed import GRAIN_LEVELS, Feed, PhantomFrame
from server.phantom.spec import PhantomSpec
from server.phantom.veil import STEP
from server.spec import Kind

SPEC = PhantomSpec(width=256, height=192, seconds=12.0, seed=3)
SHARED = Path(os.environ.get("SURGICLEAR_SHARED", str(Path(__file__).parents[3].parent / "shared")))


@pytest.fixture(scope="module")
def feed() -> Feed:
    return Feed(SPEC)


def held(spec: PhantomSpec, kind: Kind) -> int:
    """A frame in the middle of an episode."""
    episode = next(episode for episode in spec.timeline() if episode.kind == kind)
    return round((episode.start_s + episode.rise_s + 0.5 * episode.hold_s) * spec.fps)


def same(a: Yuv420, b: Yuv420) -> bool:
    planes = ((a.y, b.y), (a.u, b.u), (a.v, b.v))
    return all(np.array_equal(left, right) for left, right in planes)


def inside(width: int, height: int, share: float = 0.6) -> NDArray[np.bool_]:
    """Pixels well within the round view."""
    y, x = np.indices((height, width))
    side = min(width, height)
    found: NDArray[np.bool_] = np.hypot(x + 0.5 - width / 2, y + 0.5 - height / 2) < share * side
    return found


def luma_detail(picture: Yuv420) -> NDArray[np.float64]:
    y = picture.y.astype(np.float64)
    return np.asarray(y - cv2.GaussianBlur(y, (0, 0), 4.0), np.float64)


def test_the_same_seed_gives_the_same_frames(feed: Feed) -> None:
    other = Feed(SPEC)
    for index in (held(SPEC, "splash"), 0, held(SPEC, "smoke"), held(SPEC, "fog")):
        a, b = feed.frame(index), other.frame(index)
        assert same(a.picture, b.picture)
        assert same(a.truth, b.truth)
        assert np.array_equal(a.transmission, b.transmission)
        assert a.detection == b.detection
    different = Feed(replace(SPEC, seed=4)).frame(0).picture.y.astype(int)
    assert np.abs(different - feed.frame(0).picture.y).mean() > 8


def test_a_picture_alone_is_the_frames_picture(feed: Feed) -> None:
    for index in (0, held(SPEC, "smoke"), held(SPEC, "fog"), held(SPEC, "splash")):
        assert same(feed.picture(index), feed.frame(index).picture)


def test_the_loop_has_no_seam(feed: Feed) -> None:
    n = SPEC.frames
    assert same(feed.picture(n + 7), feed.picture(7))

    def apart(i: int, j: int) -> float:
        a, b = (feed.picture(k).y.astype(int) for k in (i, j))
        return float(np.abs(a - b).mean())

    usual = max(apart(i, i + 1) for i in range(0, 25, 5))
    assert apart(n - 1, n) <= 1.5 * usual
    assert apart(0, n // 2) > 1.5 * usual  # the check can fail


def test_truth_is_the_picture_exactly_where_nothing_is_in_the_way(feed: Feed) -> None:
    spans = [(e.start_s * float(SPEC.fps), e.end_s * float(SPEC.fps)) for e in SPEC.timeline()]
    clear = 0
    for index in range(0, SPEC.frames, 4):
        frame = feed.frame(index)
        if any(start < index < end for start, end in spans):
            assert frame.detection != NOTHING
            assert frame.detection.level >= 1
        else:
            clear += 1
            assert same(frame.picture, frame.truth)
            assert frame.detection == NOTHING
            assert (frame.transmission == 1.0).all()
    assert clear > 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_an_episode_reaches_the_level_asked_for(kind: Kind, level: int) -> None:
    spec = PhantomSpec(width=160, height=120, seconds=6.0, episodes=((kind,),), level=level)
    frame = Feed(spec).frame(held(spec, kind))
    found = getattr(frame.detection, kind)
    assert found.level == level
    assert found.level == level_of(found.coverage)
    assert found.probability == 1.0
    others = [getattr(frame.detection, other).level for other in KINDS if other != kind]
    assert others == [0, 0]
    # the coverage said is that of the transmission given
    view = inside(160, 120, 0.65)[STEP // 2 :: STEP, STEP // 2 :: STEP]
    measured = float((frame.transmission[view] <= 1 - COVERED).mean())
    assert measured == pytest.approx(found.coverage, abs=0.03)


def test_smoke_rises_and_clears_gradually(feed: Feed) -> None:
    (smoke, *_) = SPEC.timeline()
    first, last = (round(edge * SPEC.fps) for edge in (smoke.start_s, smoke.end_s))
    covers = [feed.frame(i).detection.smoke.coverage for i in range(first, last + 1, 3)]
    top = int(np.argmax(covers))
    assert covers[top] > 0.9
    assert np.diff(covers[: top + 1]).min() > -0.03
    assert np.diff(covers[top:]).max() < 0.03
    assert np.abs(np.diff(covers)).max() < 0.25


def test_a_picture_is_its_truth_through_its_transmission(feed: Feed) -> None:
    """Detail of the scene that survives is transmission times the truth's, place by place."""
    frame = feed.frame(held(SPEC, "smoke"))
    full = cv2.resize(frame.transmission, (SPEC.width, SPEC.height), interpolation=cv2.INTER_LINEAR)
    seen, true = luma_detail(frame.picture), luma_detail(frame.truth)
    view = inside(SPEC.width, SPEC.height)
    slopes = []
    for low, high in ((0.05, 0.3), (0.3, 0.5), (0.5, 0.8)):
        band = view & (full > low) & (full <= high)
        if band.sum() < 400:
            continue
        slopes.append(float((seen * true)[band].sum() / (true * true)[band].sum()))
        assert slopes[-1] == pytest.approx(float(full[band].mean()), abs=0.08)
    assert len(slopes) >= 2
    assert slopes == sorted(slopes)


def test_smoke_adds_light_that_truth_and_transmission_explain(feed: Feed) -> None:
    """I = J t + A (1 - t) with a smooth A of one hue: solve for A and look at it."""
    frame = feed.frame(held(SPEC, "smoke"))
    t = cv2.resize(frame.transmission, (SPEC.width, SPEC.height), interpolation=cv2.INTER_LINEAR)
    thick = inside(SPEC.width, SPEC.height) & (t < 0.6)
    assert thick.sum() > 2000
    seen, true = (p.y.astype(np.float64) - 16 for p in (frame.picture, frame.truth))
    light = (seen - true * t) / np.maximum(1 - t, 0.05)
    assert np.abs(light - cv2.GaussianBlur(light, (0, 0), 3.0))[thick].mean() < 3.0
    assert 60 < light[thick].mean() < 190


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_the_way_lowers_local_contrast(feed: Feed, kind: Kind) -> None:
    frame = feed.frame(held(SPEC, kind))
    t = cv2.resize(frame.transmission, (SPEC.width, SPEC.height), interpolation=cv2.INTER_LINEAR)
    view = inside(SPEC.width, SPEC.height)
    hidden, open_ = view & (t < 0.3), view & (t > 0.97)
    seen, true = luma_detail(frame.picture), luma_detail(frame.truth)
    assert hidden.sum() > 300
    assert seen[hidden].std() < 0.6 * true[hidden].std()
    if open_.sum() > 300:
        assert seen[open_].std() == pytest.approx(true[open_].std(), rel=0.1)


def test_kinds_together_are_all_there() -> None:
    spec = replace(SPEC, episodes=(("smoke", "splash"),), level=2, splash_type="fat")
    feed = Feed(spec)
    frame = feed.frame(round((held(spec, "smoke") + held(spec, "splash")) / 2))
    found: Detection = frame.detection
    assert (found.smoke.level, found.fog.level, found.splash.level) == (2, 0, 2)
    assert found.splash_type == "fat"
    alone = Feed(replace(spec, episodes=(("splash",),))).frame(held(spec, "splash"))
    assert frame.transmission.mean() < alone.transmission.mean() - 0.05


def test_splashes_take_turns_unless_one_is_asked_for() -> None:
    base = PhantomSpec(width=64, height=64, seconds=4.0, episodes=(("splash",), ("splash",)))

    def kinds(spec: PhantomSpec) -> list[str | None]:
        feed = Feed(spec)
        frames = [feed.frame(i).detection.splash_type for i in range(spec.frames)]
        return [kind for kind in dict.fromkeys(frames) if kind]

    assert kinds(base) == ["blood", "fat"]
    assert kinds(replace(base, seed=2)) == list(SPLASH_TYPES[2:4])
    assert kinds(replace(base, splash_type="bile")) == ["bile"]


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (65, 67), (101, 64), (64, 333), (333, 77), (200, 120)]
)
def test_every_size_is_rendered(width: int, height: int) -> None:
    spec = PhantomSpec(width=width, height=height, seconds=4.0, level=3)
    feed = Feed(spec)
    for kind in KINDS:
        frame: PhantomFrame = feed.frame(held(spec, kind))
        for picture in (frame.picture, frame.truth):
            assert (picture.width, picture.height) == (width, height)
            assert picture.y.flags.c_contiguous
        assert frame.transmission.shape == (-(-height // STEP), -(-width // STEP))
        assert frame.transmission.dtype == np.float32
        assert getattr(frame.detection, kind).level == 3
        seen = inside(width, height)
        assert frame.truth.y[seen].std() > 15


def test_outside_the_round_view_all_is_black() -> None:
    spec = PhantomSpec(width=256, height=128, seconds=6.0)
    feed = Feed(spec)
    outside = ~inside(256, 128, 0.69)
    for kind in KINDS:
        frame = feed.frame(held(spec, kind))
        for picture in (frame.picture, frame.truth):
            assert (picture.y[outside] == 16).all()
            assert (picture.u[outside[::2, ::2]] == 128).all()
            assert (picture.v[outside[::2, ::2]] == 128).all()
        assert (frame.transmission[outside[2::4, 2::4]] == 1.0).all()


def test_pictures_are_in_limited_range_bt709(feed: Feed) -> None:
    for index in (0, held(SPEC, "smoke"), held(SPEC, "splash")):
        picture = feed.picture(index)
        assert picture.colour == Colour("bt709", full_range=False)
        assert picture.y.min() >= 16
        assert picture.y.max() <= 235
        assert min(picture.u.min(), picture.v.min()) >= 16
        assert max(picture.u.max(), picture.v.max()) <= 240


def test_grain_changes_with_each_frame_and_is_faint(feed: Feed) -> None:
    scene = feed.scene.render(0)
    view = inside(SPEC.width, SPEC.height, 0.6) & (scene.y > 20) & (scene.y < 200)
    grains = [
        (feed.picture(i).y.astype(int) - 16 - feed.scene.render(i).y)[
            view & (feed.scene.render(i).y < 200)
        ]
        for i in (0, 1)
    ]
    for grain in grains:
        assert grain.std() == pytest.approx(GRAIN_LEVELS, rel=0.15)
    n = min(map(len, grains))
    assert abs(np.corrcoef(grains[0][:n], grains[1][:n])[0, 1]) < 0.1


def test_pictures_play_as_often_as_asked() -> None:
    spec = PhantomSpec(width=64, height=64, seconds=1.0, episodes=(), loops=2)
    pictures = list(Feed(spec).pictures())
    assert len(pictures) == 2 * spec.frames
    assert same(pictures[3], pictures[3 + spec.frames])
    endless = Feed(replace(spec, loops=0)).pictures()
    assert sum(1 for _ in islice(endless, 3 * spec.frames)) == 3 * spec.frames


def rgb_of(picture: Yuv420) -> NDArray[np.float64]:
    """0-255, h w 3."""
    shape = (picture.width, picture.height)
    y = (picture.y.astype(np.float64) - 16) / 219
    u, v = (cv2.resize(p.astype(np.float64) - 128, shape) / 224 for p in (picture.u, picture.v))
    found: NDArray[np.float64] = 255 * np.clip(
        np.stack([y, u, v], -1) @ rgb_matrix("bt709").T, 0, 1
    )
    return found


def colours(rgb: NDArray[np.float64]) -> dict[str, float]:
    """Statistics of what is not black."""
    luma = rgb @ (0.299, 0.587, 0.114)
    seen = luma > 20
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 6.0)
    return {
        **{name: float(rgb[..., k][seen].mean()) for k, name in enumerate("rgb")},
        "deviation": float(luma[seen].std()),
        "fine": float(fine[seen].std()),
        "white": float((luma > 240).mean()),
    }


def test_colours_are_those_of_the_inside_of_a_body() -> None:
    for seed in range(2):
        spec = PhantomSpec(width=480, height=360, seconds=4.0, seed=seed, episodes=())
        found = colours(rgb_of(Feed(spec).picture(10)))
        assert 100 < found["r"] < 165
        assert 0.48 < found["g"] / found["r"] < 0.78
        assert 0.40 < found["b"] / found["r"] < 0.80
        assert 28 < found["deviation"] < 70
        assert 6 < found["fine"] < 26
        assert 0.0005 < found["white"] < 0.05


def test_colours_lie_within_those_of_real_frames() -> None:
    files = sorted((SHARED / "data" / "clean").glob("*.jpg"))
    if not files:
        pytest.skip("no shared/data/clean: set SURGICLEAR_SHARED")
    real = []
    for path in files[:: max(1, len(files) // 40)]:
        image = cv2.imread(str(path))
        assert image is not None
        scale = 360 / image.shape[0]
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        real.append(colours(image[..., ::-1].astype(np.float64)))
    spec = PhantomSpec(width=480, height=360, seconds=4.0, episodes=())
    found = colours(rgb_of(Feed(spec).picture(10)))
    for name, value in found.items():
        low, high = np.quantile([one[name] for one in real], (0.02, 0.98))
        assert low <= value <= high, name
