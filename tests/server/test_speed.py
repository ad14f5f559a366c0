"""The benchmark times what it says: every frame restored, beside the same clip transcoded."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import make
from fakes import FakeRestorer, flat
from rich.console import Console

from engines.engine import Info
from engines.restorer import NOTHING
from server.choose import Chosen
from server.errors import SettingInvalid, SourceUnreadable
from server.speed import PeakMemory, bench, live_share, measure, median_run, parse_size

INFO = Info(name="fake", version="1.0.0", sha256="ab", provider="cpu", detail="")


def test_every_frame_is_restored_though_the_gate_would_not(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", frames=10)
    speed = measure(FakeRestorer(detection=NOTHING), INFO, video=clip, rounds=2)
    assert [run.restored for run in speed.restored] == [10, 10]
    assert [run.restored for run in speed.bare] == [0, 0]
    assert [run.frames for run in speed.bare] == [10, 10]
    assert speed.ratio > 0
    assert "NOT A FAIR FIGURE" not in "\n".join(speed.lines())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]


def test_refused_frames_spoil_the_figure_and_it_says_so(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", frames=10)
    speed = measure(FakeRestorer(otherwise=flat), INFO, video=clip, rounds=1)
    assert speed.lines()[-1] == "NOT A FAIR FIGURE: 10 frames were not restored"


def test_a_slow_engine_shows_in_the_figures(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", frames=10)
    slow = FakeRestorer(script=dict.fromkeys(range(20), 0.03))
    speed = measure(slow, INFO, video=clip, rounds=1)
    assert speed.restored[0].stage_ms["restore"].p50 >= 30
    assert speed.restored[0].fps <= 34


def test_fields_are_plain_and_complete(tmp_path: Path) -> None:
    speed = measure(FakeRestorer(), INFO, size=(64, 64), seconds=0.4, rounds=3)
    fields = json.loads(speed.to_json())
    assert (fields["width"], fields["height"], fields["mbit_s"] > 0) == (64, 64, True)
    assert set(fields["stage_ms"]) == {"decode", "detect", "restore", "guard", "encode"}
    assert len(fields["runs"]["bare"]) == len(fields["runs"]["restored"]) == 3
    assert fields["machine"]["cpus"] >= 1
    assert fields["peak_mib"] > 10
    assert fields["engine"] == {
        "name": "fake", "version": "1.0.0", "sha256": "ab", "provider": "cpu",
    }  # fmt: skip
    ratios = sorted(
        r["fps"] / b["fps"]
        for r, b in zip(fields["runs"]["restored"], fields["runs"]["bare"], strict=True)
    )
    assert fields["ratio"] == pytest.approx(ratios[1], abs=1e-3)


def test_the_middle_run_counts(tmp_path: Path) -> None:
    run = measure(FakeRestorer(), INFO, size=(64, 64), seconds=0.4, rounds=1).restored[0]
    assert median_run([replace(run, fps=f) for f in (9.0, 1.0, 5.0)]).fps == 5.0
    assert live_share(24.0) == 0.3  # 24 ms of 80


def test_peak_memory_sees_what_is_freed_again() -> None:
    with PeakMemory() as memory:
        before = memory.mib
        block = np.ones(60 << 20, np.uint8)
        time.sleep(0.3)
        del block
    assert memory.mib > before + 40


@pytest.mark.parametrize("text", ["12", "12x", "x12", "31x32", "64x65", "5000x64", "axb"])
def test_sizes_that_make_no_sense(text: str) -> None:
    with pytest.raises(SettingInvalid):
        parse_size(text)


def test_bench_writes_its_figures_and_closes_the_engine(tmp_path: Path) -> None:
    closed = []

    class Closing(FakeRestorer):
        def close(self) -> None:
            closed.append(True)

    options = {"seconds": 0.4, "rounds": 1, "encoder": None, "size": "64x64", "video": None}
    console = Console(file=io.StringIO())
    bench(
        lambda: Chosen(Closing(), INFO),
        console,
        json_file=tmp_path / "s.json",
        **options,  # type: ignore[arg-type]
    )
    assert json.loads((tmp_path / "s.json").read_text())["engine"]["name"] == "fake"
    assert closed == [True]


def test_bench_refuses_before_it_loads_an_engine(tmp_path: Path) -> None:
    def unused() -> Chosen:
        raise AssertionError("the engine was loaded")

    console = Console(file=io.StringIO())
    with pytest.raises(SourceUnreadable):
        bench(
            unused, console, video=tmp_path / "gone.mp4", size="64x64", seconds=1.0, rounds=1,
            encoder=None, json_file=None,
        )  # fmt: skip
    with pytest.raises(SettingInvalid):
        measure(FakeRestorer(), INFO, rounds=0)


def test_the_real_command_prints_its_table() -> None:
    words = ["bench", "speed", "--size", "128x96", "--seconds", "0.4", "--rounds", "1"]
    command = [sys.executable, str(Path(__file__).parents[2] / "surgiclear.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "of the bare transcode" in done.stdout
    assert "engine veil" in done.stdout
