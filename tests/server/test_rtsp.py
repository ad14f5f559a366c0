"""RTSP addresses: which are refused, and that no password is ever shown."""

from __future__ import annotations

import pytest

from server.errors import SettingInvalid
from server.rtsp import check, is_rtsp, shown

CANARY = "canary"


@pytest.mark.parametrize(
    "address",
    ["rtsp://camera/1", "rtsp://10.0.0.5:554/or3?channel=1", "rtsps://u:p%40ss@[fe80::1]:322/a"],
)
def test_what_can_be_an_address(address: str) -> None:
    check(address)


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://",
        "rtsp:///path",
        "rtsp://u:canary@/x",
        "rtsp://h:99999/x",
        "rtsp://h:0/x",
        "rtsp://h:port/x",
        "rtsp://u:can@canary@h/x",
        "rtsp://h/a b",
        "rtsp://h/a\nb",
        "http://u:canary@h/x",
        "rtsp://[::1/x",
    ],
)
def test_what_cannot_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        check(address)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("rtsp://u:canary@h:554/a/b?key=canary", "rtsp://h:554/a/b"),
        ("rtsp://canary@h/a", "rtsp://h/a"),
        ("rtsp://u:can@canary@h/a", "rtsp://h/a"),
        ("rtsp://h/a", "rtsp://h/a"),
        ("rtsp://h/a#canary", "rtsp://h/a"),
    ],
)
def test_nobody_sees_a_password(address: str, seen: str) -> None:
    assert shown(address) == seen


def test_files_are_no_cameras() -> None:
    assert is_rtsp("rtsps://h/x")
    assert not is_rtsp("file:rtsp://h/x")
