"""One published session, as another player of the same server sees it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from fakes import flat
from relays import Relay, missing, number_of, relay, watched
from streams import HEIGHT, WIDTH, coded, planes

from engines.picture import Colour, Rgb, Yuv420
from server import broadcast
from server.broadcast import KEY_EVERY_S, Broadcast
from server.errors import SinkUnwritable
from server.jpeg import to_rgb

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there")

PERIOD_NS = 40_000_000
CODE_AS = Colour("bt601", full_range=False)


@pytest.fixture(scope="module")
def served() -> Iterator[Relay]:
    with relay("shown,odd") as one:
        yield one


def test_a_player_gets_every_picture_in_order_and_colour(served: Relay) -> None:
    """Planes as they are, and RGB as the session's own colour."""
    seen: list[tuple[int, bool]] = []
    enough = threading.Event()

    def watch() -> None:
        for number, key, _ in watched(served.exit("shown")):
            seen.append((number, key))
            if len(seen) >= 60:
                break
        enough.set()

    watcher = threading.Thread(target=watch)
    one = Broadcast(served.entry("shown"), WIDTH, HEIGHT, Colour("bt601", full_range=True))
    watcher.start()
    seq, began_ns = 0, time.monotonic_ns()
    while not enough.is_set():
        picture = planes(seq) if seq % 2 else coded(0, seq)
        one.send(picture, began_ns + seq * PERIOD_NS)
        seq += 1
        time.sleep(0.01)
    watcher.join()
    one.close()
    numbers = [number for number, _ in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 60))
    every = round(KEY_EVERY_S * 1e9 / PERIOD_NS)
    assert [number for number, key in seen if key] == [n for n in numbers if n % every == 0]


def test_no_piece_of_a_picture_waits_for_an_acknowledgement(served: Relay) -> None:
    one = Broadcast(served.entry("odd"), 64, 48, CODE_AS)
    (fd,) = one._connection
    with socket.socket(fileno=os.dup(fd)) as connection:
        assert connection.getpeername()[1] == served.port
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    one.close()


def test_odd_sizes_and_others_are_made_to_fit(served: Relay) -> None:
    one = Broadcast(served.entry("odd"), 65, 49, CODE_AS)
    assert one.size == (64, 48)
    for picture in (coded(0, 1, 65, 49), coded(0, 1, 640, 360), flat(planes(1))):
        image = one._image(picture)
        assert (image.width, image.height, image.format.name) == (64, 48, "yuv420p")
    one.close()


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full", [False, True])
def test_colour_stays_what_it_was(served: Relay, matrix: str, full: bool) -> None:
    """A strong colour, given as RGB, and read back with the session's own matrix and range."""
    colour = Colour("bt709" if matrix == "bt709" else "bt601", full)
    one = Broadcast(served.entry("odd"), 64, 48, colour)
    wanted = np.full((48, 64, 3), (200, 60, 40), np.uint8)
    image = one._image(Rgb(wanted))
    pixels = image.to_ndarray()
    y, u, v = pixels[:48], pixels[48:60].reshape(24, 32), pixels[60:].reshape(24, 32)
    back = to_rgb(Yuv420(y, u, v, colour)).pixels.astype(int)
    assert np.abs(back - wanted).max() <= 4
    one.close()


@pytest.mark.parametrize(
    ("path", "said"), [("nothing", "has nothing at this path"), ("", "refuses the connection")]
)
def test_what_is_wrong_is_said_in_words(served: Relay, path: str, said: str) -> None:
    url = served.entry(path) if path else "rtsp://u:canary@127.0.0.1:1/x"
    with pytest.raises(SinkUnwritable, match=said) as caught:
        Broadcast(url, 64, 48, CODE_AS)
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_frozen_server_shows_as_congestion(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has not taken lies in the kernel's queue, and is counted there."""
    monkeypatch.setattr(broadcast, "UNSENT_MOST", 20_000)
    with relay("shown") as served:
        one = Broadcast(served.entry("shown"), 640, 480, CODE_AS)
        one.send(coded(0, 0, 640, 480), 0)
        assert not one.congested
        served.freeze(True)
        noise = np.random.default_rng(0)
        sent = 0
        while not one.congested:
            pixels = noise.integers(0, 255, (480, 640, 3), dtype=np.uint8)
            sent += 1
            one.send(Rgb(pixels), sent * PERIOD_NS)
            assert sent < 2000, "never congested"
        served.vanish()


def test_numbers_survive_the_codec() -> None:
    assert number_of(planes(12345).y) == 12345
