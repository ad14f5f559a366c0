"""What is measured of a frame: structure that a veil does not change, cuts, out of the body."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fakes import SMOKY, FakeRestorer
from numpy.typing import NDArray

from engines.restorer import NOTHING
from trainer.curate.measure import Reading, agreement, is_cut, read, sketch

Pixels = NDArray[np.uint8]


def scene(seed: int) -> Pixels:
    """Reddish texture at the measuring size."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.2, 1, (18, 32)).astype(np.float32)
    light = cv2.resize(coarse, (256, 144), interpolation=cv2.INTER_CUBIC)
    light += rng.normal(0, 0.05, light.shape).astype(np.float32)
    colour = np.array([200, 90, 80], np.float32)
    return np.asarray(np.clip(light[..., None] * colour, 0, 255), np.uint8)


def veiled(pixels: Pixels, share: float) -> Pixels:
    return (pixels * (1 - share) + 190 * share).astype(np.uint8)


def reading(pixels: Pixels, time_s: float = 0.0) -> Reading:
    return read(pixels, int(time_s * 1e9), FakeRestorer(detection=NOTHING), None)


def test_structure_is_the_same_through_a_veil_and_another_in_another_scene() -> None:
    def of(pixels: Pixels) -> NDArray[np.float32]:
        return sketch(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))

    here = of(scene(1))
    assert agreement(here, of(veiled(scene(1), 0.6))) > 0.8
    assert agreement(here, of(np.roll(scene(1), 8, 1))) > 0.8  # the scope has moved a little
    assert max(agreement(here, of(scene(n))) for n in range(2, 8)) < 0.35
    assert agreement(here, np.zeros_like(here)) == 0.0


def test_a_cut_is_told_from_smoke() -> None:
    now = reading(scene(1))
    assert is_cut(now, reading(scene(2)), veiled=False)
    assert not is_cut(now, reading(veiled(scene(1), 0.5)), veiled=False)
    # smoke hides structure: only a change of colour too is a cut then
    assert not is_cut(now, reading(scene(2)), veiled=True)
    green = scene(3)[..., [1, 0, 2]]
    assert is_cut(now, reading(green), veiled=True)


def test_out_of_the_body_is_dark_or_in_colours_of_no_tissue() -> None:
    assert reading(scene(1)).outside == ""
    assert reading(veiled(scene(1), 0.95)).outside == ""  # the densest smoke is not outside
    drape = scene(1)[..., [1, 0, 2]]  # green
    assert reading(drape).outside == "colours of no tissue"
    tool = scene(1)
    tool[:, :110] = (60, 110, 220)  # blue plastic over two fifths of the view
    assert reading(tool).outside == ""
    assert reading(np.full((144, 256, 3), 8, np.uint8)).outside == "dark"


def test_the_detector_looks_at_each_frame_with_the_reference_given() -> None:
    restorer = FakeRestorer(detection=SMOKY)
    found = read(scene(1), 5, restorer, scene(1))
    assert restorer.references == 1 and found.time_ns == 5
    assert found.logits[0] == pytest.approx(np.log(99), abs=1e-6)
    assert found.logits[1] < -8 + 1e-9 and found.coverage == SMOKY.smoke.coverage
    read(scene(1), 6, restorer, None)
    assert restorer.references == 1


def test_detail_and_floor_say_what_a_veil_does() -> None:
    clear, hidden = reading(scene(1)), reading(veiled(scene(1), 0.6))
    assert hidden.sharp < 0.6 * clear.sharp
    assert float(hidden.floor.mean()) > float(clear.floor.mean()) + 30
    assert replace(clear, lit=0.01).outside == "dark"
