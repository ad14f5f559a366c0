"""Both pictures of one frame in one, and the view of a stream that is made of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from streams import HEIGHT, WIDTH, Live, code_of, coded, live, planes

from engines.picture import Colour, Rgb, Yuv420
from server import jpeg
from server.frame import Provenance
from server.manager import Outgoing
from server.pair import pair


def grey(height: int, level: int, colour: Colour | None = None) -> Yuv420:
    half = np.full(((height + 1) // 2, 4), 128, np.uint8)
    y = np.full((height, 8), level, np.uint8)
    return Yuv420(y, half, half.copy(), colour or Colour())


def test_raw_is_above_and_the_other_below() -> None:
    both = pair(coded(1, 2), coded(3, 4))
    assert isinstance(both, Rgb) and both.pixels.shape == (2 * HEIGHT, WIDTH, 3)
    assert code_of(Rgb(both.pixels[:HEIGHT])) == (1, 2)
    assert code_of(Rgb(both.pixels[HEIGHT:])) == (3, 4)


def test_planes_stay_planes() -> None:
    raw, chosen = planes(1), planes(2)
    both = pair(raw, chosen)
    assert isinstance(both, Yuv420) and both.colour == raw.colour
    for whole, upper, lower in zip(
        (both.y, both.u, both.v), (raw.y, raw.u, raw.v), (chosen.y, chosen.u, chosen.v), strict=True
    ):
        assert np.array_equal(whole, np.vstack([upper, lower]))


@pytest.mark.parametrize(
    ("height", "colour"), [(7, Colour()), (6, Colour("bt601", full_range=True))]
)
def test_planes_that_do_not_stack_become_rgb(height: int, colour: Colour) -> None:
    both = pair(grey(height, 100), grey(height, 100, colour))
    assert isinstance(both, Rgb) and both.height == 2 * height
    upper, lower = both.pixels[:height].mean(), both.pixels[height:].mean()
    expected = 100 if colour.full_range else (100 - 16) * 255 / 219
    assert abs(upper - (100 - 16) * 255 / 219) < 2
    assert abs(lower - expected) < 2


def test_two_sizes_are_no_pair() -> None:
    with pytest.raises(ValueError, match="one size"):
        pair(grey(6, 0), grey(8, 0))


async def next_of(run: Live, provenance: Provenance) -> Outgoing:
    """The next picture of the view `both` with this provenance."""
    viewer = run.manager.subscribe(run.id, "both")
    try:
        async for item in viewer:
            assert isinstance(item, Outgoing)
            if not item.card and item.provenance is provenance:
                return item
    finally:
        viewer.close()
    raise AssertionError("the stream ended")


def halves(item: Outgoing) -> tuple[Rgb, Rgb]:
    picture = jpeg.decode(item.payload)
    assert item.codec == "jpeg"
    assert (picture.width, picture.height) == (item.width, item.height) == (WIDTH, 2 * HEIGHT)
    return Rgb(picture.pixels[:HEIGHT]), Rgb(picture.pixels[HEIGHT:])


@pytest.mark.parametrize("source", ["push", "feed"])
def test_the_view_shows_both_of_the_same_frame(tmp_path: Path, source: str) -> None:
    async def scenario() -> None:
        async with live(tmp_path, source=source) as run:
            item = await asyncio.wait_for(next_of(run, Provenance.RESTORED), 60)
            raw, restored = halves(item)
            assert code_of(raw)[1] == code_of(restored)[1]  # one frame
            lift = restored.pixels[36:].astype(int) - raw.pixels[36:]
            assert 5 < lift.mean() < 11  # the fake engine brightens by 8
            await run.manager.bypass(run.id, True)
            raw, chosen = halves(await asyncio.wait_for(next_of(run, Provenance.RAW), 60))
            assert code_of(raw)[1] == code_of(chosen)[1]
            assert abs(raw.pixels.astype(int) - chosen.pixels).mean() < 1
            run.sound()

    asyncio.run(scenario())


def test_a_broken_jpeg_stops_nothing_but_this_view(tmp_path: Path) -> None:
    """It leaves as it came for the others; there is no pair to show, and nothing falls over."""

    def broken(stream: int, seq: int) -> bytes:
        whole = jpeg.encode(coded(stream, seq), 92)
        return whole[:-400] + bytes(range(200)) if seq % 2 else whole

    async def scenario() -> None:
        async with live(tmp_path, pictures=broken, ready=False) as run:
            await run.manager.bypass(run.id, True)
            for _ in range(3):
                item = await asyncio.wait_for(next_of(run, Provenance.RAW), 60)
                raw, _ = halves(item)
            assert run.state.restarts.get("stream", 0) == 0
            run.sound()

    asyncio.run(scenario())
