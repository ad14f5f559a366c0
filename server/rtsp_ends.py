"""The two ends of an RTSP measurement: a camera that publishes, and a player that watches."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.error
import numpy as np

from engines.picture import Yuv420
from server import rtsp, tcp
from server.broadcast import CLOCK_HZ
from server.broadcast import OPTIONS as CODING
from server.encode import write_planes
from server.refusal import meaning
from server.rtsp_numbers import Unrolled, read_number, write_number

KEY_EVERY = 25  # pictures
EPISODE_S = 8.0  # of smoke, played to and fro
PLAYER = rtsp.OPTIONS | {"analyzeduration": "300000", "fpsprobesize": "0"}
WAIT = (10.0, 10.0)
PLAYER_NICE = 5


@dataclass(frozen=True, slots=True)
class Format:
    """Of the camera's pictures."""

    width: int
    height: int
    fps: int


@dataclass(frozen=True, slots=True)
class Coded:
    """One picture as the camera sends it."""

    data: bytes
    key: bool


def recorded(form: Format) -> list[Coded]:
    """One episode of smoke of the phantom, to and fro, so that it can be played over and over."""
    from server.phantom.feed import Feed
    from server.phantom.spec import PhantomSpec

    feed = Feed(
        PhantomSpec(
            width=form.width, height=form.height, fps=Fraction(form.fps), seconds=EPISODE_S,
            episodes=(("smoke",),), level=3,
        )
    )  # fmt: skip
    pictures = [feed.picture(n) for n in range(feed.spec.frames)]
    coder = _coder(av.CodecContext.create("libx264", "w"), form)
    out: list[Coded] = []
    for number, picture in enumerate(chain(pictures, pictures[-2:0:-1])):
        luma = picture.y.copy()
        write_number(luma, number)
        image = av.VideoFrame(form.width, form.height, "yuv420p")
        write_planes(image, Yuv420(luma, picture.u, picture.v, picture.colour))
        image.pts = number * CLOCK_HZ // form.fps
        image.time_base = Fraction(1, CLOCK_HZ)
        out += [Coded(bytes(p), p.is_keyframe) for p in coder.encode(image)]
    return out


def _coder(context: Any, form: Format) -> Any:
    context.width, context.height, context.pix_fmt = form.width, form.height, "yuv420p"
    context.framerate, context.time_base = Fraction(form.fps), Fraction(1, CLOCK_HZ)
    context.gop_size = KEY_EVERY
    context.options = dict(CODING)
    return context


class Camera:
    """Publishes the recorded pictures; `sent` holds when, by number (monotonic s)."""

    def __init__(self, url: str, form: Format, pictures: list[Coded]) -> None:
        self.url, self.form, self.pictures = url, form, pictures
        self.sent: dict[int, float] = {}
        self.next = 0
        self.trouble = ""
        self._off = threading.Event()
        self._thread: threading.Thread | None = None

    def on(self) -> int:
        """Returns the first number that it will send: a key frame's."""
        self.next += -self.next % KEY_EVERY
        first = self.next
        self._off.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return first

    def off(self) -> None:
        self._off.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            self._send()
        except (av.error.FFmpegError, OSError) as error:
            self.trouble = f"the camera's server {meaning(error)[0]}"

    def _send(self) -> None:
        with av.open(self.url, "w", format="rtsp", options=dict(rtsp.OPTIONS)) as container:
            stream = container.add_stream("libx264", rate=self.form.fps, options=dict(CODING))
            stream.width, stream.height = self.form.width, self.form.height
            stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, CLOCK_HZ)
            stream.codec_context.gop_size = KEY_EVERY
            container.start_encoding()
            tcp.send_at_once(tcp.connections())  # a camera's network is not what is measured
            began, first = time.monotonic(), self.next
            while not self._off.is_set():
                coded = self.pictures[self.next % len(self.pictures)]
                packet = av.Packet(coded.data)
                packet.pts = packet.dts = (self.next - first) * CLOCK_HZ // self.form.fps
                packet.time_base, packet.is_keyframe = Fraction(1, CLOCK_HZ), coded.key
                packet.stream = stream
                self.sent[self.next] = time.monotonic()
                container.mux(packet)
                self.next += 1
                due = began + (self.next - first) / self.form.fps
                self._off.wait(max(0.0, due - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Sight:
    """One picture at the player: when it was decoded; number: None for a card."""

    at_s: float
    number: int | None


class Player:
    """Plays an address and notes every picture."""

    def __init__(self, url: str, camera: Camera) -> None:
        self.url, self.camera = url, camera
        self.sights: list[Sight] = []
        self.unrolled = Unrolled(len(camera.pictures))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(sum(WAIT))

    def wait(self, reached: Callable[[], bool], most_s: float) -> bool:
        end = time.monotonic() + most_s
        while not reached() and time.monotonic() < end:
            time.sleep(0.005)
        return reached()

    def _run(self) -> None:
        mine = threading.get_native_id()  # in use it stands elsewhere, and takes nobody's time
        os.setpriority(os.PRIO_PROCESS, mine, os.getpriority(os.PRIO_PROCESS, mine) + PLAYER_NICE)
        while not self._over.is_set():
            with contextlib.suppress(av.error.FFmpegError, OSError):  # it is not there yet
                self._play()
            self._over.wait(0.1)

    def _play(self) -> None:
        before = tcp.connections()
        with av.open(self.url, options=dict(PLAYER), timeout=WAIT) as container:
            connection = [fd for fd in tcp.connections() if fd not in before]
            video = container.streams.video[0]
            video.codec_context.thread_type, video.codec_context.thread_count = "SLICE", 1
            for image in container.decode(video):
                at_s = time.monotonic()
                tcp.acknowledge_at_once(connection)  # the measurement adds no delay of its own
                plane = image.planes[0]
                luma = np.ndarray(
                    (image.height, image.width), np.uint8, plane, strides=(plane.line_size, 1)
                )
                number = read_number(luma)
                if number is not None:
                    number = self.unrolled.place(number, self.camera.next)
                self.sights.append(Sight(at_s, number))
                if self._over.is_set():
                    return
