"""Real pairs are mixed on both sides alike, and synthetic smoke finds its way over real scenes."""

from __future__ import annotations

import numpy as np
import torch
import training

from trainer.samples import Cached, CachedPair, H, Mix, Samples, W, soft_part

RED, BLUE, GREEN = ((180, 30, 30), (30, 30, 180), (30, 160, 30))


def flat(colour: tuple[int, int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((180, 320, 3), colour, np.uint8)


def pair(scene: str, colour: tuple[int, int, int]) -> CachedPair:
    smoky = (flat(colour) * 0.5 + 110).astype(np.uint8)
    return CachedPair(smoky, flat(colour), scene, (flat(colour),))


def drawn(mix: Mix) -> list[dict[str, torch.Tensor]]:
    clear = [Cached(flat(GREEN), "p", 0.05)]
    samples = Samples(clear, [pair("1", RED), pair("2", BLUE)], mix, seed=5)
    return [samples[n] for n in range(24)]


def test_a_part_is_soft_and_has_two_sides() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        part = soft_part(rng)
        assert part.shape == (H, W, 1) and part.dtype == np.float32
        assert part.min() >= 0 and part.max() <= 1
        assert np.abs(np.diff(part, axis=1)).max() < 0.3  # no hard edge


def test_a_part_of_another_scene_comes_with_its_own_truth() -> None:
    mix = Mix(real=1.0, reference=0.0, other_camera=0.0, other_part=1.0)
    mixed = 0
    for sample in drawn(mix):
        image, clear = sample["image"], sample["clear"]
        # the pairs obey one law, so whatever was mixed obeys it too
        assert (image - (0.5 * clear + 110 / 255)).abs().max() < 0.02
        red, blue = clear[0], clear[2]
        mixed += bool((red > blue + 0.2).any() and (blue > red + 0.2).any())
    assert mixed > 5
    alone = drawn(Mix(real=1.0, reference=0.0, other_camera=0.0, other_part=0.0))
    assert all(s["clear"].flatten(1).std(1).max() < 0.01 for s in alone)


def test_synthetic_smoke_lies_over_real_scenes_as_often_as_asked() -> None:
    def green(mix: Mix) -> int:
        clear = [s["clear"].mean((1, 2)) for s in drawn(mix)]
        return sum(bool(c[1] > c[0] and c[1] > c[2]) for c in clear)

    assert green(Mix(real=0.0, clear=0.0, reference=0.0, over_real=1.0)) == 0
    assert green(Mix(real=0.0, clear=0.0, reference=0.0, over_real=0.0)) == 24


def test_sample_number_n_is_always_the_same() -> None:
    first, again = training.drawn()[17], training.drawn()[17]
    assert all(torch.equal(first[k], again[k]) for k in first)
    other = training.drawn()
    other.seed = 4
    assert not torch.equal(first["image"], other[17]["image"])


def test_every_kind_of_sample_is_drawn() -> None:
    samples = training.drawn()
    drawn = [samples[n] for n in range(60)]
    real = sum(float(d["real"]) for d in drawn)
    present = torch.stack([d["presence"] for d in drawn]).sum(0)
    known = sum(float(d["known"][0, 0, 0]) for d in drawn)
    assert 10 <= real <= 40 and 15 <= known <= 45
    assert (present > 0).all() and len({int(d["splash_type"]) for d in drawn}) > 1
