"""The preflight finds what is broken, and what works it says plainly."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from fakes import FakeRestorer

from engines.engine import Info
from engines.store import PACKAGE_FOLDER, Store
from server import doctor
from server.choose import Chosen
from server.doctor import Check, Status, check_bundles, check_clock, examine, healthy, to_json
from server.errors import EngineUnavailable, SourceUnreadable

INFO = Info(name="fake", version="1.0.0", sha256="", provider="cpu", detail="")


def test_a_sound_machine_passes() -> None:
    closed = []

    class Closing(FakeRestorer):
        def close(self) -> None:
            closed.append(True)

    checks = list(examine(lambda: Chosen(Closing(), INFO)))
    names = [check.name for check in checks]
    assert names[:7] == ["python", "cpu", "memory", "disk", "clock", "encode", "decode"]
    assert {"bundle", "runtime", "budget"} <= set(names)
    parts = [c for c in checks if c.name in ("python", "clock", "encode", "decode", "runtime")]
    assert [c.status for c in parts] == [Status.PASS] * 5
    assert closed == [True]
    assert all("\n" not in check.line() for check in checks)


def test_an_engine_that_does_not_load_fails() -> None:
    def broken() -> Chosen:
        raise EngineUnavailable("veil does not verify", "fetch it again")

    checks = list(examine(broken))
    assert checks[-1] == Check("runtime", Status.FAIL, "veil does not verify", "fetch it again")
    assert not healthy(checks)


def test_an_engine_that_raises_on_a_frame_fails() -> None:
    restorer = FakeRestorer(script={0: RuntimeError("no maps")})
    check = doctor.check_budget(Chosen(restorer, INFO), (160, 96))
    assert (check.status, check.detail) == (Status.FAIL, "RuntimeError: no maps")


def test_a_slow_engine_is_warned_of() -> None:
    restorer = FakeRestorer(script=dict.fromkeys(range(99), 0.06))
    check = doctor.check_budget(Chosen(restorer, INFO), (160, 96))
    assert check.status is Status.WARN
    assert "restore 6" in check.detail


def test_clocks_that_go_back_or_stand_still_fail() -> None:
    ticks = count(10**9, -1)
    assert check_clock(lambda: next(ticks)).status is Status.FAIL
    assert check_clock(lambda: 5).status is Status.FAIL
    coarse = count(0)
    assert check_clock(lambda: next(coarse) // 100 * 10**7).status is Status.WARN
    assert check_clock().status is Status.PASS


def test_a_damaged_bundle_fails_and_a_sound_one_passes(tmp_path: Path) -> None:
    assert [c.status for c in check_bundles(Store(user=tmp_path))] == [Status.PASS]
    damaged = tmp_path / "veil"
    damaged.mkdir()
    for file in (PACKAGE_FOLDER / "veil").iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    with (damaged / "veil.onnx").open("r+b") as model:
        model.seek(100)
        model.write(b"\0\1\2\3")
    checks = check_bundles(Store(user=tmp_path))
    assert [c.status for c in checks] == [Status.FAIL, Status.PASS]
    assert "veil" in checks[0].detail


def test_no_bundle_at_all_fails(tmp_path: Path) -> None:
    checks = check_bundles(Store(user=tmp_path, package=tmp_path))
    assert [c.status for c in checks] == [Status.FAIL]


def test_a_decoder_that_loses_frames_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "Decoder", lambda media: iter(()))
    encode, decode = doctor.check_video(tmp_path)
    assert (encode.status, decode.status) == (Status.PASS, Status.FAIL)
    assert "0 of 8" in decode.detail

    def unreadable(media: object) -> None:
        raise SourceUnreadable("no frame decodes")

    monkeypatch.setattr(doctor, "Decoder", unreadable)
    assert doctor.check_video(tmp_path)[1].status is Status.FAIL


def test_json_says_whether_all_is_well() -> None:
    good, bad = Check("a", Status.WARN, "slow", "wait"), Check("b", Status.FAIL, "gone")
    assert json.loads(to_json([good])) == {
        "ok": True,
        "checks": [{"name": "a", "status": "WARN", "detail": "slow", "do": "wait"}],
    }
    assert json.loads(to_json([good, bad]))["ok"] is False
    assert good.line() == "WARN  a         slow: wait"


def test_the_real_command_says_the_same_twice() -> None:
    command = [sys.executable, str(Path(__file__).parents[2] / "surgiclear.py"), "doctor"]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    answer = json.loads(told.stdout)
    assert told.returncode == (0 if answer["ok"] else 1)
    assert {"decode", "bundle", "runtime", "budget"} <= {c["name"] for c in answer["checks"]}
    assert told.stderr == ""
