"""`surgiclear curate` and `surgiclear dataset` as a user meets them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import trees

import surgiclear

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["surgiclear", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            surgiclear.main()
        text = capsys.readouterr()
        return int(ended.value.code or 0), text.out, text.err

    return call


def test_a_sound_data_set_is_told_and_exits_0(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("dataset", "check", trees.surgclean(tmp_path))
    assert code == 0 and out.startswith("surgclean: 18 items")
    assert "level 2" in out and "no problem; every file opened" in out


def test_problems_exit_1_and_are_written(run: Run, tmp_path: Path) -> None:
    root = trees.pair_folders(tmp_path / "data")
    (root / "gt" / "a.png").write_bytes(b"nothing")
    code, out, _ = run("dataset", "check", root, "--json", tmp_path / "check.json")
    assert code == 1 and f"problem: {root / 'gt' / 'a.png'}: is damaged" in out
    problems = json.loads((tmp_path / "check.json").read_text())["problems"]
    assert [Path(p["path"]).name for p in problems] == ["a.png"]
    assert run("dataset", "check", root, "--names")[0] == 0


def test_packing_leaves_out_what_is_unsound(run: Run, tmp_path: Path) -> None:
    root = trees.surgclean(tmp_path / "data")
    next(root.rglob("Defog/train/gt/a0.png")).write_bytes(b"nothing")
    code, out, _ = run("dataset", "pack", root, "--out", tmp_path / "shards", "--per-shard", 10)
    assert code == 0 and "wrote 2 shards" in out and "1 unsound" in out
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 2
    code, out, _ = run("dataset", "check", tmp_path / "shards")
    assert code == 0 and out.startswith("surgclean, ") and "packed in 2 shard(s): 17 items" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dataset", "check", "."), "no data set"),
        (("dataset", "check", "absent"), "is no folder"),
        (("curate",), "name a video"),
        (("curate", "absent.mp4"), "not there"),
        (("curate", "--apply"), "run curate first"),
    ],
)
def test_mistakes_are_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words)
    assert code == 2 and said in err and err.count("\n") == 1


def test_training_says_what_is_wrong_with_kinds_and_checks(run: Run, tmp_path: Path) -> None:
    root = trees.desmokedata(tmp_path / "data")
    words = ("train", "surgclean-fourmer", "--data", root, "--out", tmp_path / "runs")
    for more, said in (
        (("--kinds", "fog"), "no fog, only smoke"),
        (("--kinds", "haze"), "--kinds takes smoke, fog, splash, not 'haze'"),
        (("--without", root / "images" / "paired_images.csv"), "is no report"),
        (("--without", tmp_path / "absent.json"), "absent.json"),
    ):
        code, _, err = run(*words, *more)
        assert code == 2 and said in err and err.count("\n") == 1


def test_a_cluster_without_ray_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run("curate", tmp_path, "--ray", "auto", "--out", tmp_path / "out")
    assert code == 2 and "surgiclear[cluster]" in err


def test_a_clear_video_gives_an_empty_data_set(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "clear.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for n in range(6):
            pixels = np.full((64, 64, 3), (150, 60, 50), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 2)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    code, out, err = run("curate", path, "--out", tmp_path / "out")
    assert code == 0 and "0 pairs accepted" in out and "clear.mp4" in err
    assert run("curate", "--apply", "--out", tmp_path / "out")[0] == 0
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"nothing")
    code, _, err = run("curate", tmp_path / "videos", "--out", tmp_path / "out")
    assert code == 2 and "bad.mp4" in err
