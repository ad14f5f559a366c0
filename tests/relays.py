"""A real RTSP server for tests, a camera that sends coded pictures, and somebody who watches."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import av.error
import numpy as np
from streams import HEIGHT, WIDTH, code_of, coded

from engines.picture import Plane, Rgb

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).parent / "rtsp_relay.py"
NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('GstApp', '1.0'); "
    "from gi.repository import Gio, Gst, GstRtspServer; Gst.init(None); "
    "assert Gio.TlsBackend.get_default().supports_tls(); "
    "assert all(map(Gst.ElementFactory.find, ('appsrc', 'h264parse', 'rtph264depay')))"
)
OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "300000", "fpsprobesize": "0"}
RATE = 25
START_S = 60.0


@cache
def missing() -> str:
    """Why there is no RTSP server to test against, "" where there is one."""
    try:
        done = subprocess.run(
            [SYSTEM_PYTHON, "-W", "ignore", "-c", NEEDS], capture_output=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no RTSP server for tests: {error}"
    return "" if done.returncode == 0 else (
        "no RTSP server for tests: install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp"
        " glib-networking"
        " gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
    )  # fmt: skip


class Relay:
    """Publish to `entry(name)`, play from `exit(name)`. It keeps its port over restarts."""

    def __init__(self, names: str, login: str = "", tls: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._options = ["--names", names, "--login", login, "--tls", tls]
        self._scheme = "rtsps" if tls else "rtsp"
        self._user = f"{login}@" if login else ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        end = time.monotonic() + START_S
        while not self._started():
            assert time.monotonic() < end, "the relay does not start"

    def _started(self) -> bool:
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, "-W", "ignore", str(SCRIPT), "--port", str(self.port), *self._options],
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().startswith("ready"):
            return True
        self.vanish()
        return False

    def vanish(self) -> None:
        """At once, as by a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self, frozen: bool) -> None:
        """It keeps its connections, and does nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def entry(self, name: str) -> str:
        return f"{self._scheme}://{self._user}127.0.0.1:{self.port}/in/{name}"

    def exit(self, name: str) -> str:
        return f"{self._scheme}://{self._user}127.0.0.1:{self.port}/out/{name}"


@contextmanager
def relay(names: str, login: str = "", tls: str = "") -> Iterator[Relay]:
    """tls: a PEM file with a certificate and its key; then it speaks rtsps:// only."""
    one = Relay(names, login, tls)
    one.start()
    try:
        yield one
    finally:
        one.vanish()


class Camera:
    """Sends pictures that say their number, RATE a second. Numbers go on over its pauses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.number = 0
        self._off = threading.Event()
        self._thread: threading.Thread | None = None

    def on(self) -> None:
        self._off.clear()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def off(self) -> None:
        self._off.set()
        if self._thread is not None:
            self._thread.join(START_S)
            self._thread = None

    def _send(self) -> None:
        try:
            container = av.open(self.url, "w", format="rtsp", options={"rtsp_transport": "tcp"})
            stream = container.add_stream(
                "libx264",
                rate=RATE,
                options={
                    "preset": "ultrafast", "tune": "zerolatency", "crf": "16", "bf": "0", "g": "10",
                    "x264-params": "sliced-threads=0:threads=1",
                },
            )  # fmt: skip
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 90_000)
            began = time.monotonic()
            due = 0
            while not self._off.is_set():
                rgb = coded(1, self.number).pixels
                image = av.VideoFrame.from_ndarray(rgb, "rgb24")
                image.pts, image.time_base = due * 90_000 // RATE, Fraction(1, 90_000)
                container.mux(stream.encode(image))
                self.number, due = self.number + 1, due + 1
                self._off.wait(max(0.0, began + due / RATE - time.monotonic()))
            container.close()
        except (av.error.FFmpegError, OSError) as error:
            sys.stderr.write(f"the test's camera stops: {type(error).__name__}\n")


def number_of(luma: Plane) -> int:
    """Of the picture whose luma (limited range) this is."""
    return code_of(Rgb(np.repeat(luma[..., None], 3, axis=2)))[1]


def watched(url: str, over: threading.Event | None = None) -> Iterator[tuple[int, bool, Plane]]:
    """What a player sees: number, whether it is a key frame, luma. Waits until there is something,
    ends when the server ends it, or when it is over."""
    end = time.monotonic() + START_S
    while True:
        if over is not None and over.is_set():
            return
        try:
            container = av.open(url, options=dict(OPTIONS), timeout=(10, 3))
            break
        except (av.error.FFmpegError, OSError):
            assert time.monotonic() < end, "nothing is played there"
            time.sleep(0.1)
    with container:
        try:
            for image in container.decode(video=0):
                luma = image.to_ndarray()[: image.height]
                yield number_of(luma), bool(image.key_frame), luma
        except (av.error.FFmpegError, OSError):
            return
