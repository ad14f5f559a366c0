"""The clear scene: any frame by itself, moving, lit, round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.phantom.scene import CELL, VIEW_RADIUS, Moment, Planes, Scene, View
from server.phantom.spec import PhantomSpec

SPEC = PhantomSpec(width=192, height=144, seconds=8.0, seed=1)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(SPEC)


def apart(a: Planes, b: Planes) -> float:
    return float(np.abs(a.y.astype(int) - b.y.astype(int)).mean())


def test_a_frame_does_not_depend_on_those_before(scene: Scene) -> None:
    first = scene.render(17)
    for index in (3, 99, 16):
        scene.render(index)
    again = scene.render(17)
    fresh = Scene(SPEC).render(17)
    for planes in (again, fresh):
        assert np.array_equal(first.y, planes.y)
        assert np.array_equal(first.u, planes.u)
        assert np.array_equal(first.v, planes.v)


def test_the_loop_has_no_seam(scene: Scene) -> None:
    assert scene.moment(SPEC.frames) == scene.moment(0)
    steps = [apart(scene.render(i), scene.render(i + 1)) for i in range(5, 200, 20)]
    assert apart(scene.render(SPEC.frames - 1), scene.render(0)) <= 1.5 * max(steps)
    assert apart(scene.render(0), scene.render(100)) > 2.0 * max(steps)  # it does move


def test_everything_that_should_move_moves(scene: Scene) -> None:
    moments = [scene.moment(i) for i in range(0, SPEC.frames, 5)]
    for name in Moment.__slots__:
        values = {getattr(moment, name) for moment in moments}
        assert len(values) > 10, name
    tips = np.asarray([moment.hook.tip for moment in moments])
    assert np.ptp(tips, axis=0).max() > 0.05
    assert np.hypot(*tips.T).max() < VIEW_RADIUS


def test_highlights_follow_the_light(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = scene.moment(0)
    before = scene.render(0)
    moved = replace(now, glint=(now.glint[0] + 0.25, now.glint[1]))
    monkeypatch.setattr(scene, "moment", lambda index: moved)
    after = scene.render(0)
    change = after.y.astype(int) - before.y.astype(int)
    assert (change > 60).any()
    assert (change < -60).any()
    assert (np.abs(change) < 8).mean() > 0.6  # the tissue itself stays


def test_highlights_are_white(scene: Scene) -> None:
    many = [scene.render(i) for i in range(0, SPEC.frames, 20)]
    small = np.stack([planes.y.reshape(72, 2, 96, 2).min(axis=(1, 3)) for planes in many])
    u, v = (np.stack([getattr(planes, name) for planes in many]).astype(int) for name in "uv")
    colour = np.abs(u - 128) + np.abs(v - 128)
    bright = small > 195
    assert bright.sum() > 20
    assert np.median(colour[bright]) < 0.6 * np.median(colour[small > 40])


def test_the_light_falls_off_towards_the_edge(scene: Scene) -> None:
    mean = np.mean([scene.render(i).y for i in range(0, SPEC.frames, 25)], axis=0)
    x, y = scene.view.points(1)
    r = np.hypot(x, y)
    assert mean[r < 0.25].mean() > 1.25 * mean[(r > 0.55) & (r < 0.64)].mean()


def test_the_view_is_round_and_padded_to_cells() -> None:
    view = View(201, 99)
    assert view.padded == (104, 208)
    mask = view.mask(1)
    assert mask.shape == view.padded
    assert mask[49, 100] == 1.0
    assert mask[49, 30] == 0.0
    spans = view.spans()
    for row, (first, last) in enumerate(spans):
        touched = np.flatnonzero(mask[row * CELL : (row + 1) * CELL].max(axis=0) > 0)
        if touched.size:
            assert first * CELL <= touched.min()
            assert touched.max() < last * CELL


def test_a_view_far_above_its_circle_has_empty_rows() -> None:
    spans = View(64, 640).spans()
    assert (spans[0] == spans[0][0]).all()
    assert (spans[40] == (0, 8)).all()
