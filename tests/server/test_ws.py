"""The sockets by their contract: one answer a frame, credits, close codes, slow readers."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted import Listening, config_of, jpeg, listening
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from server.auth import Role, new_token
from server.messages import SUBPROTOCOL
from server.spec import Flag
from server.wire import WireFrame


@pytest.fixture(scope="module")
def running() -> Iterator[Listening]:
    with listening() as service:
        yield service


@pytest.fixture
def service(running: Listening) -> Listening:
    running.reset()
    return running


@contextmanager
def dialled(
    service: Listening,
    path: str = "/v1/stream",
    *,
    hello: dict[str, Any] | None = None,
    **more: Any,
) -> Iterator[ClientConnection]:
    """A socket, after its hello (none is said for {})."""
    wire = connect(
        service.url.replace("http", "ws") + path,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        proxy=None,
        **more,
    )
    with wire:
        if hello != {}:
            wire.send(json.dumps({"type": "hello", **(hello or {})}))
        yield wire


def frame(seq: int, payload: bytes | None = None, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "codec": "jpeg", "seq": seq, "capture_ts_ns": 1000 + seq, "width": 64, "height": 48,
        "payload": payload or jpeg(),
    }  # fmt: skip
    return WireFrame(**fields | changes).pack()


def heard(wire: ClientConnection, timeout_s: float = 10) -> WireFrame | dict[str, Any]:
    message = wire.recv(timeout_s)
    return WireFrame.unpack(message) if isinstance(message, bytes) else json.loads(message)


def text(wire: ClientConnection) -> dict[str, Any]:
    message = heard(wire)
    assert isinstance(message, dict)
    return message


def closed(wire: ClientConnection) -> tuple[int, list[Any]]:
    """The close code, and what was said before."""
    said = []
    try:
        while True:
            said.append(heard(wire))
    except ConnectionClosed as error:
        assert error.rcvd is not None
        return error.rcvd.code, said


def test_every_frame_gets_its_answer_with_its_own_numbers(service: Listening) -> None:
    with dialled(service) as wire:
        welcome = text(wire)
        assert welcome["type"] == "welcome" and welcome["credits"] == 2
        assert welcome["engine"] == "veil" and welcome["deadline_ms"] == 40.0
        for seq in range(20):
            before = time.monotonic_ns()
            wire.send(frame(seq))
            answer = heard(wire)
            assert isinstance(answer, WireFrame)
            assert (answer.seq, answer.capture_ts_ns) == (seq, 1000 + seq)
            assert answer.flags == Flag.RESTORED and answer.mask == 2
            assert bytes(answer.payload) == jpeg()
            assert before <= answer.server_in_ns <= answer.server_out_ns <= time.monotonic_ns()
            assert answer.stream == welcome["stream"]


def test_lost_frames_are_answered_too(service: Listening) -> None:
    service.manager.deed = lambda seq: "lose" if seq % 2 else "restore"
    with dialled(service, hello={"credits": 8}) as wire:
        text(wire)
        for seq in range(8):
            wire.send(frame(seq))
        answers = [heard(wire) for _ in range(8)]
    told = {a["seq"]: a["reason"] for a in answers if isinstance(a, dict)}
    shown = [a.seq for a in answers if isinstance(a, WireFrame)]
    assert set(told) | set(shown) == set(range(8)) and not set(told) & set(shown)
    assert {told[s] for s in (1, 3, 5, 7)} == {"AGE"}


def test_a_frame_beyond_the_credits_is_answered_at_once(service: Listening) -> None:
    service.manager.deed = "hold"
    with dialled(service, hello={"credits": 3}) as wire:
        text(wire)
        for seq in range(6):
            wire.send(frame(seq))
        told = [text(wire) for _ in range(3)]
        assert told == [{"type": "dropped", "seq": s, "reason": "CREDITS"} for s in (3, 4, 5)]
        service.manager.deed = "restore"
        assert service.do(lambda: [len(v._owed) for v in the_line(service).viewers]) == [3]


def the_line(service: Listening) -> Any:
    (line,) = service.manager.lines.values()
    return line


def test_a_seq_that_does_not_grow_is_answered_and_not_shown(service: Listening) -> None:
    with dialled(service) as wire:
        text(wire)
        wire.send(frame(5))
        assert isinstance(heard(wire), WireFrame)
        for seq in (5, 4, 0):
            wire.send(frame(seq))
            assert text(wire) == {"type": "dropped", "seq": seq, "reason": "OLDER"}
        wire.send(frame(6))
        assert isinstance(heard(wire), WireFrame)


@pytest.mark.parametrize(
    ("payload", "changes", "reason"),
    [(b"no jpeg", {}, "UNREADABLE"), (None, {"width": 4000, "height": 10}, "TOO_LARGE")],
)
def test_a_picture_that_cannot_be_taken_is_answered(
    service: Listening, payload: bytes | None, changes: dict[str, Any], reason: str
) -> None:
    with dialled(service, hello={"credits": 1}) as wire:
        text(wire)
        for seq in range(3):  # the credit comes back each time
            wire.send(frame(seq, payload, **changes))
            assert text(wire) == {"type": "dropped", "seq": seq, "reason": reason}


def test_bypass_holds_for_the_next_frame(service: Listening) -> None:
    with dialled(service) as wire:
        text(wire)
        for seq, on in enumerate([False, True, True, False]):
            wire.send(json.dumps({"type": "bypass", "on": on}))
            wire.send(frame(seq))
            answer = heard(wire)
            assert isinstance(answer, WireFrame)
            assert answer.flags == (Flag.BYPASS if on else Flag.RESTORED)


def test_the_view_changes_at_the_next_frame_and_no_answer_is_lost(service: Listening) -> None:
    with dialled(service, hello={"credits": 4}) as wire:
        text(wire)
        wants: list[Any] = []
        for seq in range(12):
            if seq % 3 == 0:
                want = ("raw", "split", "restored", "raw")[seq // 3]
                wire.send(json.dumps({"type": "want", "want": want}))
            wire.send(frame(seq))
            wants.append(heard(wire))
        assert [a.seq for a in wants] == list(range(12))
        assert service.do(lambda: [v.want for v in the_line(service).viewers]) == ["raw"]


def test_strength_and_engine_go_to_the_own_stream(service: Listening) -> None:
    with dialled(service) as wire:
        name = text(wire)["stream_id"]
        wire.send(json.dumps({"type": "strength", "strength": 0.5}))
        wire.send(json.dumps({"type": "engine", "name": "other"}))
        wire.send(json.dumps({"type": "engine", "name": "nobody"}))
        assert text(wire)["code"] == "engine_unknown"
        wire.send(json.dumps({"type": "ping", "t": 5}))
        pong = text(wire)
        assert pong["type"] == "pong" and pong["t"] == 5
        assert abs(pong["server_ns"] - time.monotonic_ns()) < 60e9
    assert ("strength", name, 0.5) in service.manager.calls
    assert ("engine", name, "other") in service.manager.calls


def test_the_stream_lives_as_long_as_its_socket(service: Listening) -> None:
    with dialled(service, hello={"engine": "other", "strength": 0.25, "kinds": ["fog"]}) as wire:
        name = text(wire)["stream_id"]
        spec = service.manager.state(name).spec
        assert (spec.source, spec.engine, spec.strength) == ("push", "other", 0.25)
        assert spec.kinds == {"fog"}
    until(lambda: ("stop", name) in service.manager.calls)
    assert not service.manager.list() and service.service.sockets.open == 0


def until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    "hello", ["{", '{"type":"bypass","on":true}', '{"type":"hello","credits":9}']
)
def test_a_wrong_hello_is_a_protocol_error(service: Listening, hello: str) -> None:
    with dialled(service, hello={}) as wire:
        wire.send(hello)
        code, said = closed(wire)
    assert code == 4400 and said[0]["type"] == "error"


def test_a_frame_before_the_hello_is_a_protocol_error(service: Listening) -> None:
    with dialled(service, hello={}) as wire:
        wire.send(frame(0))
        assert closed(wire)[0] == 4400


def test_no_hello_in_time_is_too_slow() -> None:
    with (
        listening(config_of(limits={"hello_s": 0.2})) as service,
        dialled(service, hello={}) as wire,
    ):
        assert closed(wire)[0] == 4408


@pytest.mark.parametrize(
    "message",
    [b"", b"x" * 60, frame(1)[:-1], frame(1) + b"x", frame(1)[:4] + b"\0" * 60, "{}", "x" * 9000],
)
def test_a_message_that_is_not_of_the_protocol_ends_it(
    service: Listening, message: str | bytes
) -> None:
    with dialled(service) as wire:
        text(wire)
        wire.send(message)
        code, said = closed(wire)
    assert code == 4400 and said[-1]["type"] == "error" and said[-1]["code"]


def test_a_message_that_is_too_big_is_1009() -> None:
    config = config_of(limits={"max_bytes": 4096})
    with listening(config) as service, dialled(service) as wire:
        text(wire)
        wire.send(frame(0, jpeg() + b"\0" * 5000))
        assert closed(wire)[0] == 1009


def test_a_message_in_fragments_is_one_message(service: Listening) -> None:
    with dialled(service) as wire:
        text(wire)
        message = frame(3)
        wire.send([message[:10], message[10:700], b"", message[700:]])
        answer = heard(wire)
        assert isinstance(answer, WireFrame) and answer.seq == 3


def test_fragments_that_are_too_big_together_are_1009() -> None:
    with listening(config_of(limits={"max_bytes": 4096})) as service, dialled(service) as wire:
        text(wire)
        with contextlib.suppress(ConnectionClosed):
            wire.send([b"x" * 1500] * 4)
        assert closed(wire)[0] == 1009


def test_without_the_subprotocol_there_is_no_conversation(service: Listening) -> None:
    url = service.url.replace("http", "ws") + "/v1/stream"
    with connect(url, proxy=None) as wire:
        assert closed(wire)[0] == 4400


def test_no_room_for_a_stream_is_try_later(service: Listening) -> None:
    service.manager.full = True
    with dialled(service) as wire:
        code, said = closed(wire)
    assert code == 1013 and said[0]["code"] == "streams_full"


def test_no_room_for_a_socket_is_try_later() -> None:
    with listening(config_of(limits={"max_sockets": 1})) as service, dialled(service) as first:
        text(first)
        with dialled(service) as second:
            assert closed(second)[0] == 1013
        first.send(frame(0))
        assert isinstance(heard(first), WireFrame)


def test_an_unknown_engine_is_said(service: Listening) -> None:
    with dialled(service, hello={"engine": "nobody"}) as wire:
        code, said = closed(wire)
    assert code == 4400 and said[0]["code"] == "engine_unknown"


def test_a_stream_that_is_stopped_ends_its_sockets(service: Listening) -> None:
    with dialled(service) as wire:
        name = text(wire)["stream_id"]
        with dialled(service, f"/v1/streams/{name}/view") as viewer:
            text(viewer)
            service.do(lambda: service.loop.create_task(service.manager.stop(name)))
            assert closed(viewer)[0] == 1001
        assert closed(wire)[0] == 1001


def test_the_service_says_goodbye() -> None:
    with listening() as service, dialled(service) as wire:
        text(wire)
        service.stop()
        code, said = closed(wire)
    assert code == 1001 and said[-1]["code"] == "stopping"
    assert not service.manager.list()


# viewers


def test_a_viewer_gets_the_pictures_and_nothing_else(service: Listening) -> None:
    name = service.begin()
    with dialled(service, f"/v1/streams/{name}/view", hello={"want": "split"}) as wire:
        welcome = text(wire)
        assert welcome["stream_id"] == name and welcome["want"] == "split"
        assert welcome["stale_warn_ms"] == 100.0
        for _ in range(5):
            seq = service.do(lambda: service.manager.feed(name))
            answer = heard(wire)
            assert isinstance(answer, WireFrame) and answer.seq == seq


def test_a_viewer_of_nothing_is_told_so(service: Listening) -> None:
    with dialled(service, "/v1/streams/nobody/view") as wire:
        code, said = closed(wire)
    assert code == 4404 and said[0]["code"] == "stream_unknown"


def test_a_viewer_may_not_push(service: Listening) -> None:
    name = service.begin()
    with dialled(service, f"/v1/streams/{name}/view") as wire:
        text(wire)
        wire.send(frame(0))
        assert closed(wire)[0] == 4400


def test_a_viewer_is_never_sent_more_than_its_credits(service: Listening) -> None:
    name = service.begin()
    with dialled(service, f"/v1/streams/{name}/view", hello={"credits": 2}) as wire:
        text(wire)
        seen = []
        for _ in range(30):
            service.do(lambda: service.manager.feed(name))
            time.sleep(0.005)
        for _ in range(2):
            answer = heard(wire)
            assert isinstance(answer, WireFrame)
            seen.append(answer.seq)
        with pytest.raises(TimeoutError):
            wire.recv(0.2)
        wire.send(json.dumps({"type": "ack", "seq": seen[0]}))
        newest = heard(wire)
    assert isinstance(newest, WireFrame)
    assert seen[-1] < 30 and newest.seq == 30  # the newest, not the next
    until(lambda: skipped(service) > 0)


def skipped(service: Listening) -> float:
    (metric,) = service.service.metrics.skipped.collect()
    return metric.samples[0].value


def test_a_viewer_that_acknowledges_nothing_is_cut_off() -> None:
    with listening(config_of(limits={"slow_s": 0.3})) as service:
        name = service.begin()
        with dialled(service, f"/v1/streams/{name}/view", hello={"credits": 1}) as wire:
            text(wire)
            service.do(lambda: service.manager.feed(name))
            assert isinstance(heard(wire), WireFrame)
            assert closed(wire)[0] == 4408


def raw_socket(service: Listening, path: str) -> socket.socket:
    """A WebSocket by hand, whose owner decides when to read. Its buffer is small."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", service.port))
    sock.sendall(
        (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        ).encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert b" 101 " in head
    return sock


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame (RFC 6455 section 5.2), masked with zeros."""
    size = len(payload)
    length = (
        struct.pack("!B", 0x80 | size)
        if size < 126
        else struct.pack("!BH", 0xFE, size)
        if size < 65536
        else struct.pack("!BQ", 0xFF, size)
    )
    return bytes([opcode]) + length + b"\0\0\0\0" + payload


def test_a_viewer_that_reads_nothing_hinders_nobody_and_is_cut_off() -> None:
    config = config_of(limits={"slow_s": 0.4})
    with listening(config) as service:
        name = service.begin()
        stuck = raw_socket(service, f"/v1/streams/{name}/view")
        with stuck, dialled(service, f"/v1/streams/{name}/view") as wire:
            stuck.sendall(masked(0x81, b'{"type":"hello"}'))
            text(wire)
            until(lambda: service.service.sockets.open == 2)
            big = jpeg() + b"\0" * 500_000
            seen = []
            while service.service.sockets.open == 2:
                seq = service.do(lambda: service.manager.feed(name, big))
                answer = heard(wire)
                assert isinstance(answer, WireFrame)
                seen.append((seq, answer.seq))
                assert len(seen) < 20_000
            assert all(a == b for a, b in seen) and len(seen) > 2
    assert '"code": 4408' in service.logged.getvalue()


def test_a_slow_viewer_gets_new_pictures_not_old_ones() -> None:
    """It stops reading while a hundred pictures pass; then at most what the kernel held is old."""
    with listening() as service:
        name = service.begin()
        with dialled(service, f"/v1/streams/{name}/view", max_queue=1) as fast:
            text(fast)
            slow = raw_socket(service, f"/v1/streams/{name}/view")
            with slow:
                slow.sendall(masked(0x81, b'{"type":"hello"}'))
                until(lambda: service.service.sockets.open == 2)
                big = jpeg() + b"\0" * 600_000
                for _ in range(100):
                    service.do(lambda: service.manager.feed(name, big))
                    heard(fast)
                seqs: list[int] = []
                while 100 not in seqs:
                    seqs += read_seqs(slow)
    assert len(seqs) < 12 and seqs == sorted(set(seqs))  # the newest is among the first few


def read_seqs(sock: socket.socket) -> list[int]:
    """The seq of the next message, if it is a frame."""
    opcode, size = read_exactly(sock, 2)
    if size == 126:
        (size,) = struct.unpack("!H", read_exactly(sock, 2))
    elif size == 127:
        (size,) = struct.unpack("!Q", read_exactly(sock, 8))
    payload = read_exactly(sock, size)
    return [WireFrame.unpack(payload).seq] if opcode == 0x82 else []


def read_exactly(sock: socket.socket, size: int) -> bytes:
    sock.settimeout(10)
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(1 << 16, size - len(data)))
        assert chunk
        data += chunk
    return bytes(data)


# who may


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Listening, dict[Role, str]]]:
    made = {role: new_token(role.value, role) for role in Role}
    path = tmp_path_factory.mktemp("auth") / "tokens"
    path.write_text("\n".join(line for _, line in made.values()))
    with listening(config_of(auth={"tokens_file": path})) as service:
        yield service, {role: token for role, (token, _) in made.items()}


@pytest.mark.parametrize("how", ["hello", "header"])
@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("push", [True, False])
def test_a_socket_needs_a_token_that_allows_it(
    guarded: tuple[Listening, dict[Role, str]], role: Role | None, how: str, push: bool
) -> None:
    service, tokens = guarded
    path = "/v1/stream" if push else f"/v1/streams/{service.begin()}/view"
    hello: dict[str, Any] = {"want": "restored"}
    more: dict[str, Any] = {}
    if role is not None and how == "hello":
        hello["token"] = tokens[role]
    elif role is not None:
        more["additional_headers"] = {"Authorization": f"Bearer {tokens[role]}"}
    allowed = role in (
        (Role.OPERATOR, Role.ADMIN) if push else (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
    )
    with dialled(service, path, hello=hello, **more) as wire:
        if allowed:
            assert text(wire)["type"] == "welcome"
        else:
            code, said = closed(wire)
            assert code == 4401
            assert said[0]["code"] == ("unauthenticated" if role is None else "forbidden")
    assert not any(token in service.logged.getvalue() for token in tokens.values())


def test_a_token_in_the_url_is_nothing(guarded: tuple[Listening, dict[Role, str]]) -> None:
    service, tokens = guarded
    with dialled(service, f"/v1/stream?token={tokens[Role.ADMIN]}") as wire:
        assert closed(wire)[0] == 4401


def test_a_revoked_token_ends_its_sockets(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    token, line = new_token("one", Role.OPERATOR)
    path.write_text(f"{line}\n{new_token('other', Role.ADMIN)[1]}")
    with (
        listening(config_of(auth={"tokens_file": path})) as service,
        dialled(service, hello={"token": token}) as wire,
    ):
        text(wire)
        path.write_text(new_token("other", Role.ADMIN)[1])
        code, said = closed(wire)
    assert code == 4401 and said[-1]["code"] == "revoked"


def test_another_sites_page_gets_no_socket(service: Listening) -> None:
    for origin, allowed in ((service.url, True), ("https://evil.example", False)):
        try:
            with dialled(service, origin=origin) as wire:
                assert text(wire)["type"] == "welcome"
            assert allowed
        except InvalidStatus as error:
            assert error.response.status_code == 403 and not allowed


def test_a_crowd_of_hostile_sockets_leaves_others_alone(service: Listening) -> None:
    with dialled(service) as good:
        text(good)
        for seq, attack in enumerate(ATTACKS * 3):
            with raw_socket(service, "/v1/stream") as bad:
                bad.sendall(attack)
                good.send(frame(seq))
                answer = heard(good)
                assert isinstance(answer, WireFrame) and answer.seq == seq
    until(lambda: service.service.sockets.open == 0)


ATTACKS = [
    b"\x81\x05hello",  # not masked
    masked(0x81, b"\xff\xfe\xfd"),  # not UTF-8
    masked(0x83, b"x"),  # a reserved opcode
    masked(0xC1, b"x"),  # a reserved bit: as if compressed
    masked(0x80, b"x"),  # a continuation of nothing
    masked(0x09, b"x"),  # a fragmented ping
    masked(0x89, b"x" * 126),  # a ping that is too long
    masked(0x89, b"x") * 1000,  # a flood of pings
    masked(0x88, b"\x03"),  # a close code cut in half
    masked(0x88, struct.pack("!H", 1005)),  # a close code that must not be sent
    b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # an announcement of 2^64 bytes
    masked(0x02, b"x") * 3,  # a message within a message
    masked(0x81, b'{"type":"hello"}') + masked(0x82, b"\0" * 100),
    masked(0x81, b'{"type":"hello"}') * 200,
    masked(0x81, b"[" * 8000),
    b"\0" * 100,
    b"GET / HTTP/1.1\r\n\r\n",
    b"",
]
