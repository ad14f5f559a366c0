"""RTSP addresses: what is one, how it may be shown to others, how it is opened."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from server.errors import SettingInvalid

SCHEMES = ("rtsp://", "rtsps://")
USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")  # greedy: an unescaped @ may be part of a password
QUERY = re.compile(r"[?#].*")
# TCP, because a lost packet would smear over a second of picture
OPTIONS = {"rtsp_transport": "tcp"}
LOGIN = "write rtsp://USER:PASSWORD@HOST/PATH, with % codes for : / @ # ? in them"


def is_rtsp(address: str) -> bool:
    return address.startswith(SCHEMES)


def shown(address: str) -> str:
    """As others may see it: without user, password and query."""
    return QUERY.sub("", USERINFO.sub("", address))


def check(address: str) -> None:
    """Raises SettingInvalid for what cannot be an RTSP address; says no secret."""
    if not is_rtsp(address):
        raise SettingInvalid(f"{shown(address)!r} is no RTSP address", "write rtsp://HOST/PATH")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    blank = any(c.isspace() or not c.isprintable() for c in address)
    if not host or port == 0 or blank or address.count("@") > 1:
        raise SettingInvalid(f"{shown(address)!r} has no usable host and port", LOGIN)
