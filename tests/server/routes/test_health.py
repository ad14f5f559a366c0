"""Health: it knows a dead engine, it tells how far the warm-up is, and it names nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from scripted import Listening, listening
from states import sink


@pytest.fixture(scope="module")
def running() -> Iterator[Listening]:
    with listening() as service:
        yield service


@pytest.fixture
def service(running: Listening) -> Listening:
    running.reset()
    return running


def get(service: Listening, path: str) -> tuple[int, Any]:
    response = httpx.get(service.url + path, trust_env=False)
    return response.status_code, response.json()


def test_alive(service: Listening) -> None:
    assert get(service, "/livez") == (200, {"status": "ok"})


def test_well_with_and_without_streams(service: Listening) -> None:
    assert get(service, "/healthz") == (200, {"status": "ok", "streams": 0, "problems": []})
    name = service.begin()
    assert get(service, "/healthz")[0] == 200
    service.manager.change(name, engine_state="warming")
    assert get(service, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"engine_state": "down"}, "engine down"),
        ({"engine_state": "refused"}, "engine refused"),
        ({"alarms": ("STREAM_DOWN",)}, "alarm STREAM_DOWN"),
        ({"alarms": ("STALE", "INVARIANT")}, "alarm INVARIANT"),
        ({"sinks": (sink("up"), sink("connecting"), sink("down"))}, "sink 2 down"),
    ],
)
def test_what_is_down_is_said(service: Listening, change: dict[str, Any], what: str) -> None:
    name = service.begin()
    service.begin()
    service.manager.change(name, **change)
    number = service.manager.number(name)
    status, body = get(service, "/healthz")
    assert status == 503
    assert body == {
        "status": "degraded",
        "streams": 2,
        "problems": [{"stream": number, "what": what}],
    }
    assert name not in str(body)


def test_ready_when_every_engine_is_warm(service: Listening) -> None:
    assert get(service, "/readyz") == (200, {"ready": True, "progress": 1.0, "waiting": []})
    first, second = service.begin(), service.begin()
    assert get(service, "/readyz")[0] == 200
    service.manager.change(first, engine_state="warming")
    status, body = get(service, "/readyz")
    assert (status, body["ready"], body["progress"]) == (503, False, 0.5)
    assert len(body["waiting"]) == 1 and "warming" in body["waiting"][0]
    service.manager.change(second, engine_state="down")
    assert get(service, "/readyz")[1]["progress"] == 0.0
