"""The generator: the picture is what the truth says, levels mean coverage, time flows."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.restorer import SPLASH_TYPES, Kind, SplashType, level
from trainer.degrade import Camera, Recipe, Sequence, degrade
from trainer.degrade.camera import h264, jpeg
from trainer.degrade.write import write
from trainer.metrics import psnr
from trainer.pixels import Image, grey_levels


def tissue(h: int = 72, w: int = 128, seed: int = 0) -> Image:
    """A reddish textured picture."""
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.random((h // 6, w // 6)).astype(np.float32), (w, h))
    return np.stack((0.3 + 0.5 * texture, 0.1 + 0.3 * texture, 0.1 + 0.2 * texture), 2)


@pytest.mark.parametrize("severity", [0.1, 0.5, 1.0])
def test_smoke_is_the_law_with_the_truth_it_gives(severity: float) -> None:
    clear = tissue()
    done = degrade(clear, Recipe(smoke=severity), np.random.default_rng(1))
    t = done.truth.transmission[..., None]
    assert np.allclose(done.image, clear * t + done.truth.veil * (1 - t), atol=1e-5)
    assert np.array_equal(done.truth.clear, clear)


def test_fog_and_smoke_together_keep_one_transmission() -> None:
    """Over a flat scene both veils together follow the law, but for the fog's blur of the smoke."""
    clear = np.full((72, 128, 3), 0.4, np.float32)
    done = degrade(clear, Recipe(smoke=0.5, fog=0.6), np.random.default_rng(2))
    t = done.truth.transmission[..., None]
    error = np.abs(done.image - (clear * t + done.truth.veil * (1 - t)))
    assert error.mean() < 0.01 and error.max() < 0.1


def test_more_severity_hides_more() -> None:
    for kind in ("smoke", "fog", "splash"):
        covered = [
            np.mean(
                [
                    degrade(tissue(), Recipe.of(kind, s), np.random.default_rng(n)).truth.coverage[
                        kind
                    ]
                    for n in range(6)
                ]
            )
            for s in (0.05, 0.5, 1.0)
        ]
        assert covered[0] < covered[1] < covered[2]


@pytest.mark.parametrize("kind", ["smoke", "fog", "splash"])
def test_every_level_occurs(kind: Kind) -> None:
    levels = set()
    for n in range(60):
        rng = np.random.default_rng(n)
        done = degrade(tissue(36, 64), Recipe.of(kind, rng.uniform(0.02, 1.0)), rng)
        levels.add(level(done.truth.coverage[kind], done.truth.coverage[kind] > 0))
    assert {1, 2, 3, 4} <= levels


def test_levels_are_shares_of_the_view() -> None:
    assert [level(c) for c in (0.1, 0.32, 0.34, 0.66, 0.67, 0.89, 0.95)] == [1, 1, 2, 2, 3, 3, 4]
    assert level(0.9, present=False) == 0


def test_dense_smoke_takes_contrast() -> None:
    clear = tissue()
    done = degrade(clear, Recipe(smoke=1.0), np.random.default_rng(3))
    assert done.truth.transmission.mean() < 0.5
    assert done.image.std() < 0.8 * clear.std()


@pytest.mark.parametrize("splash_type", SPLASH_TYPES)
def test_a_splash_hides_where_it_is_and_nowhere_else(splash_type: SplashType) -> None:
    clear = tissue()
    recipe = Recipe(splash=0.4, splash_type=splash_type)
    done = degrade(clear, recipe, np.random.default_rng(4))
    assert done.truth.splash_type == splash_type
    away = cv2.dilate(done.truth.soiling, np.ones((9, 9))) == 0
    assert away.any() and np.allclose(done.image[away], clear[away], atol=1e-6)
    assert np.abs(done.image - clear)[done.truth.soiling > 0.3].mean() > 0.02


def test_the_same_seed_gives_the_same_picture_and_another_gives_another() -> None:
    first, again, other = (
        degrade(tissue(), Recipe(smoke=0.5, splash=0.3), np.random.default_rng(s)).image
        for s in (5, 5, 6)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_sequence_moves_without_jumps() -> None:
    clear = tissue()
    episode = Sequence(np.random.default_rng(7), 72, 128, Recipe(smoke=0.6))
    frames = [episode.frame(clear, n / 25).image for n in range(12)]
    steps = [float(np.abs(b - a).mean()) for a, b in zip(frames, frames[1:], strict=False)]
    assert min(steps) > 1e-5  # it does move
    assert max(steps) < 6 * np.median(steps)  # and never jumps
    far = float(np.abs(episode.frame(clear, 2.0).image - frames[0]).mean())
    assert far > 2 * max(steps)


def test_an_episode_grows_from_nothing() -> None:
    clear = tissue()
    played = list(
        Sequence(np.random.default_rng(8), 72, 128, Recipe(smoke=0.8, fog=0.5, splash=0.5)).play(
            iter([clear] * 6), fps=5, rise_s=1.0
        )
    )
    assert np.allclose(played[0].image, clear, atol=1e-6)
    hidden = [1 - d.truth.transmission.mean() for d in played]
    assert hidden[0] == 0 and hidden[1] < hidden[3] < hidden[5]


def test_the_camera_blackens_outside_its_mask_on_both_sides() -> None:
    camera = Camera(mask_radius=0.75)
    done = degrade(tissue(), Recipe(smoke=0.7), np.random.default_rng(9), camera)
    outside = camera.mask(72, 128) == 0
    assert outside.any()
    assert done.image[outside].max() == 0 and done.truth.clear[outside].max() == 0
    assert np.all(done.truth.transmission[outside] == 1)


def test_compression_costs_quality_in_order() -> None:
    image = tissue(144, 256)
    good, bad = psnr(jpeg(image, 95), image), psnr(jpeg(image, 20), image)
    assert good > bad > 20
    fine, coarse = h264([image] * 3, 18), h264([image] * 3, 40)
    assert len(fine) == len(coarse) == 3
    assert psnr(fine[1], image) > psnr(coarse[1], image) > 18


def test_pictures_are_written_with_their_truth(tmp_path: Path) -> None:
    source = tmp_path / "clear"
    source.mkdir()
    cv2.imwrite(str(source / "a.png"), grey_levels(tissue())[..., ::-1])
    rows = write(source, tmp_path / "out", Recipe(smoke=0.8), 1, lambda _: None)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {
        "a.png", "a_clear.png", "a_transmission.png", "a_soiling.png", "truth.json",
    }  # fmt: skip
    share = cv2.imread(str(tmp_path / "out" / "a_transmission.png"), cv2.IMREAD_UNCHANGED)
    assert share is not None and share.dtype == np.uint16
    mean = float(rows[0]["mean_transmission"])  # type: ignore[arg-type]
    assert abs(float(share.mean()) / 65535 - mean) < 1e-3
    assert json.loads((tmp_path / "out" / "truth.json").read_text()) == rows


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(ValueError, match="neither"):
        write(text, tmp_path / "out", Recipe(smoke=0.5), 1, lambda _: None)
