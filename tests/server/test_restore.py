"""The real command, as a user meets it: one line on stderr, an exit code, nothing half done."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make, picture, read
from fakes import FakeRestorer
from PIL import Image
from rich.console import Console

from engines.engine import Info
from server.choose import Chosen
from server.errors import SettingInvalid, SinkUnwritable, SourceUnreadable
from server.restore import ended_by_signals, order_of, restore

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "surgiclear.py"), "restore"]
INFO = Info(name="fake", version="1.0.0", sha256="", provider="cpu", detail="")


def run(
    *words: str | Path, preexec: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=preexec,
        check=False,
    )


def smoky(path: Path) -> Path:
    """A picture under dense, turbulent smoke."""
    clear = picture(0, 640, 360).astype(np.float32)
    rng = np.random.default_rng(1)
    t = cv2.resize(rng.random((4, 6)).astype(np.float32), (640, 360)) * 0.4 + 0.15
    hazy = clear * t[..., None] + 215 * (1 - t[..., None])
    Image.fromarray(hazy.astype(np.uint8)).save(path)
    return path


def test_a_video_is_restored_with_its_report(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", frames=8, audio="aac")
    done = run(source, tmp_path / "b.mp4", "--report", tmp_path / "r.json", "--compare", "side")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "of 8 frames" in done.stdout
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames"] == 8 == report["restored"] + sum(report["raw"].values())
    assert report["engine"]["name"] == "veil"
    assert len(report["engine"]["sha256"]) == 64
    assert read(tmp_path / "b.mp4").sizes == {(192, 64)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "r.json"]


def test_a_smoky_picture_gains_contrast(tmp_path: Path) -> None:
    source = smoky(tmp_path / "a.png")
    done = run(source, tmp_path / "b.png")
    assert done.returncode == 0, done.stderr
    before = np.asarray(Image.open(source).convert("L"), float)
    after = np.asarray(Image.open(tmp_path / "b.png").convert("L"), float)
    assert after.shape == before.shape
    assert after.mean() < before.mean() - 3


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bad inputs and one good one."""
    folder = tmp_path_factory.mktemp("shelf")
    good = make(folder / "good.mp4", frames=40, width=320, height=240)
    make(folder / "long.mp4", frames=200, width=320, height=240)
    (folder / "text.mp4").write_text("hello\n" * 100)
    (folder / "zero.mp4").touch()
    data = good.read_bytes()
    (folder / "codec.mp4").write_bytes(data.replace(b"avc1", b"zzzz"))
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    (folder / "cut.mkv").write_bytes(make(folder / "good.mkv", frames=40).read_bytes()[:-900])
    (folder / "text.png").write_text("hello")
    return folder


BAD = [
    ("text.mp4", "out.mp4", [], "not a video"),
    ("zero.mp4", "out.mp4", [], "is empty"),
    ("codec.mp4", "out.mp4", [], "no decoder"),
    ("cut.mp4", "out.mp4", [], "cut short"),
    ("cut.mkv", "out.mp4", [], "--salvage"),
    ("text.png", "out.png", [], "not a png picture"),
    ("gone.mp4", "out.mp4", [], "does not exist"),
    ("good.mp4", "none/out.mp4", [], "is no folder"),
    ("good.mp4", "out.mp4", ["--encoder", "libx264:preset=warp"], "does not take"),
    ("good.mp4", "out.mp4", ["--engine", "nobody"], "nobody"),
    ("good.mp4", "out.mp4", ["--kinds", "steam"], "steam"),
    ("good.mp4", "out.mp4", ["--bogus"], "--bogus"),
]


@pytest.mark.parametrize(("source", "output", "options", "words"), BAD)
def test_a_mistake_is_one_clear_line_and_exit_2(
    shelf: Path, tmp_path: Path, source: str, output: str, options: list[str], words: str
) -> None:
    done = run(shelf / source, tmp_path / output, *options)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("surgiclear: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_output_same_as_input_leaves_the_input_alone(shelf: Path) -> None:
    before = (shelf / "good.mp4").read_bytes()
    done = run(shelf / "good.mp4", shelf / "good.mp4")
    assert done.returncode == 2
    assert "the input itself" in done.stderr
    assert (shelf / "good.mp4").read_bytes() == before


def test_a_full_disk_is_exit_1_and_leaves_nothing(shelf: Path, tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    # compiled code is cached by now: the limit must meet the video alone
    assert run(shelf / "good.mp4", tmp_path / "out.mp4").returncode == 0
    (tmp_path / "out.mp4").unlink()
    done = run(
        shelf / "good.mp4", tmp_path / "out.mp4", "--encoder", "libx264:qp=0", preexec=little_room
    )
    assert done.returncode == 1, done.stderr
    assert "no room to write" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(
    shelf: Path, tmp_path: Path, number: int, code: int
) -> None:
    source, output = str(shelf / "long.mp4"), str(tmp_path / "b.mp4")
    words = [*COMMAND, source, output, "--encoder", "libx264:preset=placebo"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 200
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(process.pid, number)
        _, words_said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in words_said
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_got_lost_is_found_at_the_next_step() -> None:
    """As when it comes while a compiler calls back into Python, where exceptions are dropped."""
    steps: list[int] = []
    before = signal.getsignal(signal.SIGINT)  # ignored where the suite runs in the background
    with pytest.raises(SystemExit) as ended, ended_by_signals() as ending:
        advance = ending.heeded(lambda done, total: steps.append(done))
        advance(1, None)
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        advance(2, None)
    assert ended.value.code == 143
    assert steps == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_words_make_an_order() -> None:
    order = order_of("a", Path("b"), kinds="splash, smoke", strength=0.5)
    assert order.kinds == ("smoke", "splash")
    with pytest.raises(SettingInvalid, match="no kind is called"):
        order_of("a", Path("b"), kinds="smoke,dust")
    with pytest.raises(SettingInvalid, match="no kind to restore"):
        order_of("a", Path("b"), kinds=",")


class Closing(FakeRestorer):
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_each_kind_of_source_goes_its_way_and_the_engine_is_closed(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", frames=3)
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(0, 80, 60)).save(tmp_path / "in" / "a.png")
    console = Console(file=io.StringIO())
    for source, target in (("a.mp4", "b.mp4"), ("in", "out"), ("in/a.png", "b.png")):
        restorer = Closing()
        order = order_of(str(tmp_path / source), tmp_path / target, kinds="smoke")
        done = restore(order, lambda r=restorer: Chosen(r, INFO), console)  # type: ignore[misc]
        assert done.restored == done.frames > 0
        assert restorer.closed == 1
        assert (tmp_path / target).exists()


def test_a_report_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", frames=3)
    order = order_of(str(source), tmp_path / "b.mp4", kinds="smoke")

    def unused() -> Chosen:
        raise AssertionError("the work has begun")

    with pytest.raises(SinkUnwritable):
        restore(order, unused, Console(), tmp_path / "none" / "r.json")
    with pytest.raises(SourceUnreadable):
        restore(order_of("gone", tmp_path / "b.mp4", kinds="smoke"), unused, Console())
