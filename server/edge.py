"""The outermost layer of HTTP: who is called by which name, from which page, how much, how long.

A browser on the same machine is a door: a hostile page can post to localhost, or make its own name
point there. So a request must name a host that is ours, and one that states an Origin must come
from our own page or one that is allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.config import Config
from server.metrics import Metrics
from server.problems import Problem

JSON_BODY_BYTES = 64 * 1024
MULTIPART_ROOM = 64 * 1024
DRAIN_BYTES = 64 * 1024 * 1024  # of a refused body
DRAIN_S = 2.0
PICTURE_PATHS = frozenset({"/v1/restore", "/v1/detect"})
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self' blob:; worker-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def is_ours(host: str, allowed: frozenset[str]) -> bool:
    """Whether a Host header names us: an IP address (no name can be made to point at us then), or
    a name that was allowed."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower().rstrip(".") in allowed
    return True


def own_names(config: Config) -> frozenset[str]:
    names = {"localhost", socket.gethostname().lower(), config.server.host.lower()}
    return frozenset(names | {host.lower() for host in config.server.allowed_hosts})


class Edge:
    """ASGI middleware: checks, caps, headers, and the count of requests."""

    def __init__(self, app: ASGIApp, config: Config, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = own_names(config)
        self._origins = frozenset(config.server.allowed_origins)
        self._body_s = config.limits.body_s
        self._picture_bytes = config.limits.max_bytes + MULTIPART_ROOM

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await receive()  # websocket.connect
                await send({"type": "websocket.close", "code": 1008})  # before accepting: a 403
            return
        sender = self._sender(scope, send)
        most = self._picture_bytes if scope["path"] in PICTURE_PATHS else JSON_BODY_BYTES
        stated = headers.get("content-length", "0")
        if refusal is None and stated.isascii() and stated.isdigit() and int(stated) > most:
            refusal = (413, "too_large", f"a body has at most {most} bytes")
        if refusal is not None:
            if headers.get("expect", "").lower() != "100-continue":
                await _drain(receive)
            await _refuse(sender, *refusal)
            return
        await self._app(scope, self._receiver(receive, most), sender)

    def _refusal(self, headers: Headers) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if not is_ours(host, self._hosts):
            return 400, "host_unknown", "this service is not known by that name"
        origin = headers.get("origin")
        if origin is None or origin in self._origins:
            return None
        if urlsplit(origin).netloc.lower() == host.lower():
            return None
        return 403, "origin_forbidden", "another site's page may not use this service"

    def _receiver(self, receive: Receive, most: int) -> Receive:
        """Raises Problem for a body that is too long, or does not arrive in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._body_s
        got = 0
        whole = False

        async def counted() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                whole = True
                raise Problem(408, "body_late", "the body did not arrive in time") from None
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if got > most:
                    if not whole:
                        await _drain(receive)
                    raise Problem(413, "too_large", f"a body has at most {most} bytes")
            return message

        return counted

    def _sender(self, scope: Scope, send: Send) -> Send:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1"):
                    headers.setdefault("Cache-Control", "no-store")
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(
                    scope["method"] if scope["method"] in METHODS else "other",
                    route or "/",
                    str(message["status"]),
                ).inc()
            await send(message)

        return secured


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
Sender = Callable[[Message], Awaitable[None]]


async def _drain(receive: Receive) -> None:
    """Reads on for a while: a client amid its sending would meet a reset, not the refusal."""
    left = DRAIN_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


async def _refuse(send: Sender, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
