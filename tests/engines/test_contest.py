"""A bundle through every run time that is there; those that are not say why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort
import pytest
from bundles import tiny_bundle
from gpus import FakeDevice

import surgiclear
from engines import contest as module
from engines.bundle import Bundle
from engines.contest import contest
from engines.cuda import Device, Gpu
from engines.errors import BackendMissing, FeedsWrong
from engines.store import PACKAGE_FOLDER, Store
from engines.work import GPUS, Peak
from models import RESTORERS


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "tiny")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "cpu_peak", lambda: Peak(1e12, 1e9, "made up"))
    yield


def no_gpu() -> Device:
    raise BackendMissing("no NVIDIA GPU can be used")


def test_one_row_for_each_run_time(bundle: Bundle) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this machine has CUDA")
    told: list[str] = []
    sheet = contest(bundle, ["cpu", "cuda"], size=(4, 6), runs=4, progress=told.append,
                    device=no_gpu)  # fmt: skip
    cpu, cuda = sheet.rows
    assert (cpu.info.provider, cpu.runs, cpu.stopped) == ("cpu", 4, "")
    assert cuda.info.provider == "cuda"
    assert "CUDAExecutionProvider" in cuda.stopped
    assert sheet.size == (4, 6)
    assert sheet.peak == Peak(1e12, 1e9, "made up")
    assert "no NVIDIA GPU can be used" in told


def test_a_gpu_is_measured_against_its_own_data_sheet(bundle: Bundle) -> None:
    device = FakeDevice(gpu=Gpu("NVIDIA GeForce RTX 4090", "sm89", "13020"))
    sheet = contest(bundle, ["cuda"], runs=3, device=lambda: device)
    assert sheet.machine == "NVIDIA GeForce RTX 4090"
    assert sheet.peak == GPUS["NVIDIA GeForce RTX 4090"]
    assert device.closed
    unknown = FakeDevice(gpu=Gpu("NVIDIA Next", "sm130", "14000"))
    assert contest(bundle, ["cuda"], runs=3, device=lambda: unknown).peak is None


def test_torch_runs_the_same_network_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from nets import Convolutions

    net = replace(RESTORERS["focalnet"], make=lambda variant: Convolutions())
    monkeypatch.setitem(RESTORERS, "focalnet", net)
    bundle = tiny_bundle(tmp_path / "tiny", architecture="focalnet")
    sheet = contest(bundle, ["cpu"], ["eager"], runs=3)
    assert [row.info.provider for row in sheet.rows] == ["cpu"] * 3
    details = [row.info.detail for row in sheet.rows]
    assert "fp32" in details[1] and "fp16" in details[2]
    assert all(row.wall_ms is not None for row in sheet.rows)
    other = contest(tiny_bundle(tmp_path / "other"), ["cpu"], ["eager"], runs=3)
    assert "no network of the zoo" in other.rows[1].stopped


def test_another_size_or_another_kind_is_refused(bundle: Bundle) -> None:
    with pytest.raises(FeedsWrong, match="takes 6x4"):
        contest(bundle, ["cpu"], size=(720, 1280))
    if not (PACKAGE_FOLDER / "veil").is_dir():
        pytest.skip("the package has no veil bundle")
    with pytest.raises(FeedsWrong, match="no 8-bit frames"):
        contest(Store().find("veil"), ["cpu"])


def command(*words: str | Path) -> int:
    """`surgiclear bench ...` as its entry point runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["surgiclear", "bench", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            surgiclear.main()
    return exit_.value.code if isinstance(exit_.value.code, int) else -1


def test_the_command_prints_a_table_and_writes_the_figures(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    words = ["speed", "--engine", bundle.folder, "--provider", "cpu", "--runs", "3"]
    assert command(*words, "--json", out, "--size", "16x16") == 1  # it takes 6x4
    assert "takes 6x4" in capsys.readouterr().err
    assert not out.exists()
    assert command(*words, "--json", out) == 0
    assert "roofline" in capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert figures["rows"][0]["runs"] == 3
    assert figures["work"] == {"flop": 0.0, "fused_bytes": 0.0,
                               "unfused_bytes": figures["work"]["unfused_bytes"]}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["speed", "--provider", "cpu"], "no engine is named"),
        (["speed", "--engine", "veil", "--provider", "abacus"], "'abacus' is not known"),
        (["speed", "--engine", "veil", "--against", "hope"], "'hope' is not known"),
        (["zoo", "--nets", "ramitt"], "no restorer is named 'ramitt'"),
        (["zoo", "--nets", "veil"], "no restorer is named 'veil'"),
    ],
)
def test_a_slip_is_a_users_mistake(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*words) == 2
    assert told in capsys.readouterr().err


def test_the_zoo_is_timed_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["zoo", "--nets", "focalnet", "--size", "16x16", "--threads", "1", "--rounds", "1"]
    assert command(*words) == 0
    said = capsys.readouterr().out
    assert said.startswith("focalnet at 16x16, 1 threads")
    assert "products of" in said
