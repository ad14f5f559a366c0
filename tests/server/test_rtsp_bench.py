"""What `bench rtsp` says, and what it refuses."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from server.errors import SettingInvalid, SourceUnreadable
from server.live_bench import Cost, Spread
from server.rtsp_bench import RtspMeasured, RtspPlan, _less, _middle, _stages, bench
from server.rtsp_ends import Camera, Format, Sight
from surgiclear import app

FORM = Format(480, 64, 25)


def measured(**changes: object) -> RtspMeasured:
    values: dict[str, object] = {
        "form": FORM, "seconds": 60.0, "sent": 1500, "seen": 1490, "lost": 10, "disordered": 0,
        "cards": 0, "latency_ms": Spread.of([90.0, 110.0]), "alone_ms": Spread.of([40.0]),
        "growth_ms": 1.5, "latched": True, "restored": 1400, "raw": {"LATE": 90}, "drops": {},
        "sink": {},
        "violations": {}, "stages_ms": {"decode": 4.25}, "back_s": [1.25], "unseen": 1,
        "cost": Cost(cpu_cores=1.0, cores=2, memory_mb=300.0, slope_mb_per_min=0.1,
                     other_cores=0.4, load_1min=1.0),
    }  # fmt: skip
    return RtspMeasured(**{**values, **changes})  # type: ignore[arg-type]


def test_everything_is_said() -> None:
    said = "\n".join(measured().lines())
    for words in ("1500 sent", "10 lost", "0 out of order", "90 LATE (latched): 94.0% of",
                  "p50 100", "growth +1.5 ms", "alone, once: p50 40", "load 1.0",
                  "decode 4.2", "1.2 s, 1 times"):  # fmt: skip
        assert words in said


def test_nothing_wrong_is_no_verdict() -> None:
    assert measured(unseen=0, raw={"LATE": 90, "CLEAR": 5000}).verdict is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"restored": 0, "raw": {"CLEAR": 7, "LATE": 1471}}, "only 0% .* 1471 LATE"),
        ({"restored": 800, "raw": {"LATE": 100, "WARMING": 50, "CLEAR": 5000}}, "only 84%"),
        ({"restored": 0, "raw": {"CLEAR": 1500}}, "only 0%"),
        ({"unseen": 2}, "2 times not back"),
        ({"disordered": 3}, "3 out of order"),
        ({"violations": {"I5": 1}}, "violated.*I5"),
    ],
)
def test_a_bench_that_shows_a_fault_says_so(changes: dict[str, object], said: str) -> None:
    verdict = measured(**{"unseen": 0, **changes}).verdict
    assert verdict is not None
    assert re.search(said, verdict)


def test_the_middle_is_of_what_was_sent_and_seen() -> None:
    camera = Camera("rtsp://h/x", FORM, [])
    camera.sent = {0: 1.0, 1: 2.0, 2: 3.0}
    sights = [Sight(1.1, 0), Sight(2.3, 1), Sight(3.2, 2), Sight(9.0, None), Sight(9.0, 77)]
    assert _middle(sights, camera) == pytest.approx(200.0)


def test_counts_are_of_the_time_between() -> None:
    assert _less({"LATE": 5, "CLEAR": 2}, {"LATE": 5, "CLEAR": 1}) == {"CLEAR": 1}


def test_stages_are_means_of_the_time_between() -> None:
    before, after = {"decode": (1.0, 100.0)}, {"decode": (1.5, 200.0), "guard": (0.1, 50.0)}
    assert _stages(before, after) == {"decode": 5.0, "guard": 2.0}
    assert _stages(after, after) == {}


def test_no_server_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.rtsp_bench.recorded", lambda form: [])
    monkeypatch.setattr("server.rtsp_bench.PLAY_S", 0.5)
    nowhere = "rtsp://127.0.0.1:1"
    with pytest.raises(SourceUnreadable, match="refuses the connection"):
        bench(RtspPlan(publish=nowhere, play=nowhere, form=FORM), lambda line: None)
    with pytest.raises(SettingInvalid):
        bench(RtspPlan(publish="http://x", play=nowhere, form=FORM), lambda line: None)


@pytest.mark.parametrize("size", ["big", "320x180", "1281x720"])
def test_a_size_that_holds_no_number_is_refused(size: str) -> None:
    done = CliRunner().invoke(app, ["bench", "rtsp", "rtsp://x", "rtsp://x", "--size", size])
    assert isinstance(done.exception, SettingInvalid)
