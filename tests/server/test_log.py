"""The log: one JSON object a line, no secrets, no flood."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from server.log import Bridge, make_log


def lines(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_a_line_is_json_with_stream_and_sequence() -> None:
    file = io.StringIO()
    make_log(file=file).bind(stream=3).info("frame late", seq=17, age_ms=41.5)
    (line,) = lines(file)
    assert (line["event"], line["stream"], line["seq"], line["level"]) == (
        "frame late", 3, 17, "info",
    )  # fmt: skip
    assert line["timestamp"].endswith("Z")


def test_the_level_holds() -> None:
    file = io.StringIO()
    log = make_log("warning", file=file)
    log.info("no")
    log.warning("yes")
    assert [line["event"] for line in lines(file)] == ["yes"]


def test_a_flood_is_counted_not_written() -> None:
    now = 0.0
    file = io.StringIO()
    log = make_log(file=file, lines_per_s=5, clock=lambda: now)
    for seq in range(1000):
        log.warning("frame late", stream=1, seq=seq)
        log.warning("frame late", stream=2, seq=seq)
    assert len(lines(file)) == 10
    now = 1.0
    log.warning("frame late", stream=1)
    assert lines(file)[-1]["suppressed"] == 995
    log.warning("another", stream=1)
    assert "suppressed" not in lines(file)[-1]


def test_errors_are_never_suppressed() -> None:
    file = io.StringIO()
    log = make_log(file=file, lines_per_s=1, clock=lambda: 0.0)
    for _ in range(20):
        log.error("violated", stream=1)
    assert len(lines(file)) == 20


CANARY = "c4n4ry-S3CRET"


@pytest.mark.parametrize(
    "fields",
    [
        {"token": CANARY},
        {"Authorization": f"Bearer {CANARY}"},
        {"header": f"Bearer {CANARY}"},
        {"source": f"rtsp://user:{CANARY}@10.0.0.1/cam"},
        {"source": f"rtsp://{CANARY}@10.0.0.1/cam"},
        {"text": f"sgc_{CANARY}"},
        {"nested": {"url": f"rtsp://a:{CANARY}@b/c"}},
        {"error": ValueError(f"cannot open rtsp://a:{CANARY}@b/c")},
    ],
)
def test_no_secret_is_written(fields: dict[str, Any]) -> None:
    file = io.StringIO()
    make_log(file=file).info("x", **fields)
    make_log(file=file).info(f"opening rtsp://a:{CANARY}@b/c")
    assert CANARY not in file.getvalue()
    assert len(lines(file)) == 2


def test_a_traceback_holds_no_secret() -> None:
    file = io.StringIO()
    try:
        raise ValueError(f"rtsp://a:{CANARY}@b/c")
    except ValueError:
        make_log(file=file).exception("failed")
    (line,) = lines(file)
    assert "ValueError" in line["exception"] and CANARY not in file.getvalue()


def test_a_huge_value_is_cut() -> None:
    file = io.StringIO()
    make_log(file=file).info("x", value="y" * 100_000)
    assert len(file.getvalue()) < 5000


def test_a_librarys_lines_come_over() -> None:
    file = io.StringIO()
    bridge = Bridge(make_log(file=file))
    bridge.emit(logging.LogRecord("uvicorn.error", logging.WARNING, "", 1, "a %s", ("b",), None))
    (line,) = lines(file)
    assert (line["level"], line["text"], line["logger"]) == ("warning", "a b", "uvicorn.error")
