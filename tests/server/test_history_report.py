"""`surgiclear doctor --history FILE`: sound or not, said plainly, and by the exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from simulated import Reply, Simulation

from server.events import EventKind, save
from server.history_report import examine_history, lines, sound, to_json

ROOT = Path(__file__).parents[2]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.jsonl"
    late = Simulation(frames=30, late_ms=lambda n: 700.0 * (n == 5), engine=lambda n: Reply())
    save(late.run().events, path)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Every mark is missing."""
    path = tmp_path / "bad.jsonl"
    events = Simulation(frames=30).run().events
    save(
        [
            replace(e, data={**e.data, "mark": None}) if e.kind is EventKind.EMIT else e
            for e in events
        ],
        path,
    )
    return path


def test_a_sound_history_is_called_so(good: Path) -> None:
    finding = examine_history(good)
    assert sound(finding)
    told = lines(finding)
    assert "30 frames in, 29 out, 1 dropped (1 AGE), 0 under way" in told[0]
    assert told[-1] == "no invariant is violated"


def test_a_violation_is_named_with_its_frame(bad: Path) -> None:
    finding = examine_history(bad)
    told = lines(finding)
    assert not sound(finding)
    assert "violated: I6 x30" in told
    assert any("I6 at epoch 0 seq 3" in line for line in told)
    assert told[-1] == "  and 10 more"
    assert len(json.loads(to_json(finding))["violations"]) == 30


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "surgiclear.py"), "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_command_tells_by_its_exit_status(good: Path, bad: Path, tmp_path: Path) -> None:
    assert doctor("--history", str(good)).returncode == 0
    found = doctor("--history", str(bad), "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)["violations"][0]["rule"] == "I6"
    missing = doctor("--history", str(tmp_path / "none"))
    assert missing.returncode == 2
    assert len(missing.stderr.splitlines()) == 1
