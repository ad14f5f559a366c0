"""Control messages: what is accepted, what is refused, and that nothing else can happen."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.messages import TEXT_BYTES, Ack, Bypass, Hello, Ping, ProtocolError, Want, dump, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


def test_a_bare_hello_has_the_defaults() -> None:
    hello = parse('{"type":"hello"}')
    assert isinstance(hello, Hello)
    assert hello.want == "restored" and hello.credits is None and hello.token is None


def test_each_message_is_read() -> None:
    assert parse('{"type":"bypass","on":true}') == Bypass(type="bypass", on=True)
    assert parse('{"type":"want","want":"split"}') == Want(type="want", want="split")
    assert parse('{"type":"ack","seq":18446744073709551615}') == Ack(type="ack", seq=2**64 - 1)
    assert parse('{"type":"ping","t":5,"later":"ignored"}') == Ping(type="ping", t=5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"type":"shutdown"}',
        '{"type":"bypass"}',
        '{"type":"bypass","on":1}',
        '{"type":"bypass","on":"true"}',
        '{"type":"hello","want":"everything"}',
        '{"type":"hello","credits":0}',
        '{"type":"hello","credits":9}',
        '{"type":"hello","max_age_ms":0}',
        '{"type":"hello","max_age_ms":NaN}',
        '{"type":"hello","strength":1.01}',
        '{"type":"hello","kinds":["blood"]}',
        '{"type":"ack","seq":-1}',
        '{"type":"ack","seq":18446744073709551616}',
        "[" * 4000,
        '{"type":"hello","token":"' + "x" * TEXT_BYTES + '"}',
    ],
)
def test_what_is_wrong_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert caught.value.code in ("control_invalid", "control_too_long")


def test_a_refused_token_is_not_repeated() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse('{"type":"hello","token":"s3cr3t-t0k3n","credits":99}')
    assert "s3cr3t" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | JSON.map(json.dumps))
def test_garbage_gives_the_typed_error_only(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse(text)


def test_a_reply_is_one_line_of_json() -> None:
    assert json.loads(dump("dropped", seq=4, reason="AGE")) == {
        "type": "dropped",
        "seq": 4,
        "reason": "AGE",
    }
