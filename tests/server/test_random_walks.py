"""Nobody's wishes: random conversations and random requests never break a promise."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Listening, jpeg, listening
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from server.messages import SUBPROTOCOL
from server.wire import WireFrame

PICTURE = jpeg(16, 16)


@pytest.fixture(scope="module")
def service() -> Iterator[Listening]:
    with listening() as running:
        yield running


Step = tuple[str, Any]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("frame"), st.sampled_from([1, 1, 1, 2, 5, 0, -1])),  # how seq moves on
    st.tuples(st.just("broken"), st.just(1)),
    st.tuples(st.just("bypass"), st.booleans()),
    st.tuples(st.just("want"), st.sampled_from(["raw", "restored", "split", "both"])),
    st.tuples(st.just("strength"), st.sampled_from([0, 0.5, 1])),
    st.tuples(st.just("ping"), st.integers(0, 2**40)),
    st.tuples(st.just("deed"), st.sampled_from(["restore", "raw", "lose"])),
    st.tuples(st.just("hear"), st.just(0)),
)


def said(wire: ClientConnection, step: Step, seq: int) -> None:
    kind, value = step
    if kind in ("frame", "broken"):
        payload = PICTURE if kind == "frame" else b"no picture"
        wire.send(
            WireFrame(
                codec="jpeg", seq=seq, capture_ts_ns=seq, width=16, height=16, payload=payload
            ).pack()
        )
    elif kind == "ping":
        wire.send(json.dumps({"type": "ping", "t": value}))
    else:
        key = {"bypass": "on", "want": "want", "strength": "strength"}[kind]
        wire.send(json.dumps({"type": kind, key: value}))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(STEPS, max_size=40), st.integers(1, 8))
def test_every_frame_of_a_random_conversation_has_exactly_one_answer(
    service: Listening, steps: list[Step], credits: int
) -> None:
    service.manager.deed = "restore"
    url = service.url.replace("http", "ws") + "/v1/stream"
    asked: Counter[int] = Counter()
    answered: Counter[int] = Counter()
    pings = pongs = 0
    with connect(
        url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, proxy=None
    ) as wire:
        wire.send(json.dumps({"type": "hello", "credits": credits}))
        assert json.loads(wire.recv(20))["type"] == "welcome"

        def hear(timeout_s: float) -> bool:
            nonlocal pongs
            try:
                message = wire.recv(timeout_s)
            except TimeoutError:
                return False
            if isinstance(message, bytes):
                answered[WireFrame.unpack(message).seq] += 1
            else:
                fields = json.loads(message)
                assert fields["type"] in ("dropped", "pong"), fields
                if fields["type"] == "pong":
                    pongs += 1
                else:
                    answered[fields["seq"]] += 1
            return True

        seq = 0
        for step in steps:
            kind, value = step
            if kind == "deed":
                service.manager.deed = value
            elif kind == "hear":
                hear(0.01)
            else:
                if kind in ("frame", "broken"):
                    seq = max(0, seq + value)
                    asked[seq] += 1
                pings += kind == "ping"
                said(wire, step, seq)
        while answered.total() < asked.total() or pongs < pings:
            assert hear(20), (asked - answered, pings - pongs)
        assert not hear(0.02)
    assert answered == asked


def test_random_bytes_end_a_conversation_in_order(service: Listening) -> None:
    rng = random.Random(3)
    url = service.url.replace("http", "ws") + "/v1/stream"
    codes: Counter[int] = Counter()
    for number in range(60):
        with connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None) as wire:
            if number % 3:
                wire.send('{"type":"hello"}')
            size = rng.choice([0, 1, 47, 52, 300, 5000])
            data = rng.randbytes(size)
            wire.send(data if number % 2 else data.decode("latin-1"))
            try:
                while True:
                    wire.recv(20)
            except ConnectionClosed as closed:
                assert closed.rcvd is not None
                codes[closed.rcvd.code] += 1
    assert set(codes) == {4400}


TEXT = st.text(max_size=12)
VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.lists(TEXT, max_size=2),
    st.sampled_from(["phantom:", "file:x", "rtsp://x", "veil", "raw", "smoke", "live"]),
)  # fmt: skip
KEYS = st.sampled_from(
    ["source", "engine", "mode", "strength", "kinds", "on", "name", "deadline_ms", "max_age_ms"]
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def test_random_requests_get_an_answer_that_is_described(
    service: Listening,
    described: dict[tuple[str, str], set[int]],
    http: httpx.Client,
    data: st.DataObject,
) -> None:
    method, path = data.draw(st.sampled_from(sorted(described)))
    name = service.begin() if data.draw(st.booleans()) else data.draw(TEXT) or "x"
    params = data.draw(
        st.dictionaries(
            st.sampled_from(["view", "engine", "strength", "kinds", "format"]), TEXT, max_size=2
        )
    )
    body = data.draw(st.dictionaries(KEYS, VALUE, max_size=3) | VALUE)
    where = path.replace("{stream_id}", quote(name, safe=""))
    response = http.request(
        method,
        where,
        params=params,
        content=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    # a name with a slash or of dots is another path, and there a page may be, or nothing
    elsewhere = {200, 404, 405, 307} if "/" in name or not name.strip(".") else set()
    allowed = described[(method, path)] | elsewhere
    assert response.status_code in allowed, (method, where, params, body, response.text)
    if response.status_code >= 400 and not elsewhere and path not in ("/healthz", "/readyz"):
        assert set(response.json()) == {"error"}


@pytest.fixture(scope="module")
def http(service: Listening) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def described(http: httpx.Client) -> dict[tuple[str, str], set[int]]:
    paths = http.get("/openapi.json").json()["paths"]
    return {
        (method.upper(), path): {int(status) for status in operation["responses"]}
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
