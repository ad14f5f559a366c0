"""The measurement's own camera and player, through a server with nothing between them."""

from __future__ import annotations

import pytest
from relays import missing, relay

from server.rtsp_bench import _latencies
from server.rtsp_ends import Camera, Coded, Format, Player, recorded

FORM = Format(480, 64, 25)
NEEDS_SERVER = pytest.mark.skipif(bool(missing()), reason=missing() or "there")


@pytest.fixture(scope="module")
def pictures() -> list[Coded]:
    return recorded(FORM)


def test_the_recording_can_be_played_over_and_over(pictures: list[Coded]) -> None:
    assert len(pictures) == 2 * 8 * 25 - 2
    assert pictures[0].key
    assert sum(coded.key for coded in pictures) >= 8


@NEEDS_SERVER
def test_every_picture_is_seen_once_and_dated(pictures: list[Coded]) -> None:
    with relay("camera") as served:
        camera = Camera(served.entry("camera"), FORM, pictures)
        camera.on()
        with Player(served.exit("camera"), camera) as player:
            assert player.wait(lambda: len(player.sights) >= 50, 60)
            camera.off()
            first = camera.on()
            assert first % 25 == 0
            assert player.wait(lambda: (player.unrolled.last or 0) >= first, 60)
        camera.off()
        numbers = [sight.number for sight in player.sights[:50]]
        assert numbers == list(range(numbers[0] or 0, (numbers[0] or 0) + 50))
        assert player.unrolled.disordered == 0
        assert all(ms > 0 for ms in _latencies(player.sights, camera))


def test_a_camera_says_what_is_wrong(pictures: list[Coded]) -> None:
    camera = Camera("rtsp://u:canary@127.0.0.1:1/x", FORM, pictures)
    camera.on()
    camera.off()
    assert "refuses the connection" in camera.trouble
    assert "canary" not in camera.trouble
