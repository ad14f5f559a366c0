"""Posts events to other machines: the evacuator, the pager. Bounded, retried, off the frame path.

An event waits in a queue of its own per address; a full queue loses its oldest and says so. A post
that fails is tried again with growing pauses, then given up and counted. Nothing here is ever
waited for by a frame.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import deque
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase

import httpx
from structlog.typing import FilteringBoundLogger

from server.config import WebhookSection
from server.errors import SettingInvalid
from server.metrics import Metrics
from server.spec import StreamEvent

PAUSE_MOST_S = 60.0
RETRYABLE = frozenset({408, 425, 429})  # besides 5xx: another try may succeed
SIGNATURE = "X-Surgiclear-Signature"


def body_of(event: StreamEvent) -> bytes:
    """What is posted. wall_s: UNIX time; at_ns: monotonic, to put events in order."""
    return json.dumps(
        {
            "event": event.name,
            "stream_id": event.stream_id,
            "at_ns": event.at_ns,
            "wall_s": event.wall_s,
            "data": event.data,
        },
        separators=(",", ":"),
    ).encode()


def signature(secret: bytes, body: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) of the body, as hex."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


class Hook:
    """One address: its queue and the task that empties it."""

    def __init__(
        self,
        section: WebhookSection,
        secret: bytes,
        client: httpx.AsyncClient,
        metrics: Metrics,
        log: FilteringBoundLogger,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._section = section
        self._client = client
        self._metrics = metrics
        self._log = log.bind(url=section.url)
        self._sleep = sleep
        self._secret = secret
        self._waiting: deque[StreamEvent] = deque()
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, event: StreamEvent) -> bool:
        """Queues the event if this address wants it; never waits."""
        if not any(fnmatchcase(event.name, pattern) for pattern in self._section.events):
            return False
        if len(self._waiting) >= self._section.queue:
            lost = self._waiting.popleft()
            self._metrics.webhooks.labels("overflow").inc()
            self._log.error("webhook queue full", lost=lost.name)
        self._waiting.append(event)
        self._wake.set()
        return True

    async def run(self) -> None:
        """Posts what waits, for ever."""
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            await self._deliver(self._waiting.popleft())

    async def _deliver(self, event: StreamEvent) -> None:
        body = body_of(event)
        headers = {"content-type": "application/json"}
        if self._secret:
            headers[SIGNATURE] = signature(self._secret, body)
        pause_s = self._section.pause_s
        for attempt in range(1, self._section.tries + 1):
            problem, again = await self._post(body, headers)
            if not problem:
                self._metrics.webhooks.labels("delivered").inc()
                return
            self._metrics.webhooks.labels("retry" if again else "refused").inc()
            self._log.warning("webhook failed", why=problem, attempt=attempt, name=event.name)
            if not again:
                return
            if attempt < self._section.tries:
                await self._sleep(pause_s)
                pause_s = min(PAUSE_MOST_S, 2 * pause_s)
        self._metrics.webhooks.labels("given_up").inc()
        self._log.error("webhook given up", name=event.name)

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[str, bool]:
        """What went wrong ("" for nothing), and whether another try may help."""
        try:
            async with self._client.stream(
                "POST",
                self._section.url,
                content=body,
                headers=headers,
                timeout=self._section.timeout_s,
            ) as answer:  # the answer's body is not read
                status = answer.status_code
        except httpx.HTTPError as error:
            return type(error).__name__, True
        if 200 <= status < 300:
            return "", False
        return f"status {status}", status >= 500 or status in RETRYABLE


class Webhooks:
    """All addresses. `offer` is called for every event of every stream. Raises SettingInvalid
    for a secret that cannot be used."""

    def __init__(
        self,
        sections: tuple[WebhookSection, ...],
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        secrets = [_secret(section) for section in sections]
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        self._hooks = [
            Hook(section, secret, self._client, metrics, log, sleep)
            for section, secret in zip(sections, secrets, strict=True)
        ]
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(hook.run()) for hook in self._hooks]

    def offer(self, event: StreamEvent) -> None:
        for hook in self._hooks:
            hook.offer(event)
        self._metrics.webhook_queue.set(sum(hook.waiting for hook in self._hooks))

    async def close(self) -> None:
        """What still waits is lost: the service stops within seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()


def _secret(section: WebhookSection) -> bytes:
    if section.secret_file is None:
        return b""
    try:
        secret = section.secret_file.read_bytes().strip()
    except OSError as error:
        raise SettingInvalid(f"cannot read {section.secret_file}", str(error)) from error
    if len(secret) < 16:
        raise SettingInvalid(f"{section.secret_file} is too short", "put at least 16 bytes in it")
    return secret
