"""JSON lines on a stream, redacted and rate limited: one logger object, passed to who needs it."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, WrappedLogger

Entry = MutableMapping[str, Any]
SECRET_KEYS = frozenset({"token", "authorization", "secret", "password", "cookie"})
USERINFO = re.compile(r"(?<=://)[^/@\s]+@")  # rtsp://user:password@host
TOKEN = re.compile(r"sgc_[A-Za-z0-9_-]{8,}|(?i:bearer)\s+\S+")
LINE_MOST = 4000  # characters of one value


class RateLimit:
    """Lets `per_s` lines a second of one (event, stream) through, with a burst of as many; the
    next one that passes says how many were `suppressed`. Errors pass always."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s)
        self._clock = clock
        self._buckets: dict[tuple[str, Any], tuple[float, float, int]] = {}

    def __call__(self, logger: WrappedLogger, method: str, entry: Entry) -> Entry:
        if method in ("error", "critical", "exception"):
            return entry
        key = (str(entry.get("event")), entry.get("stream"))
        now = self._clock()
        tokens, since, suppressed = self._buckets.get(key, (self._burst, now, 0))
        tokens = min(self._burst, tokens + (now - since) * self._per_s)
        if tokens < 1.0:
            self._buckets[key] = (tokens, now, suppressed + 1)
            raise structlog.DropEvent
        if len(self._buckets) > 1000:  # streams come and go
            self._buckets.clear()
        self._buckets[key] = (tokens - 1.0, now, 0)
        if suppressed:
            entry["suppressed"] = suppressed
        return entry


def redact_text(text: str) -> str:
    """Without tokens and without the user and password of a URL; the middle of what is long gives
    way (a traceback's beginning and end say most)."""
    text = TOKEN.sub("[redacted]", USERINFO.sub("[redacted]@", text))
    half = LINE_MOST // 2
    return text if len(text) <= LINE_MOST else f"{text[:half]} … {text[-half:]}"


def redact(logger: WrappedLogger, method: str, entry: Entry) -> Entry:
    """No secret leaves: neither under its name nor inside a text."""
    for key, value in entry.items():
        if key.lower() in SECRET_KEYS:
            entry[key] = "[redacted]"
        elif isinstance(value, str):
            entry[key] = redact_text(value)
        elif not isinstance(value, int | float | bool | None):
            entry[key] = redact_text(str(value))
    return entry


def make_log(
    level: str = "info",
    *,
    lines_per_s: float = 5.0,
    file: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FilteringBoundLogger:
    """A logger that writes to `file` (stderr). No global configuration is touched."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(file or sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            RateLimit(lines_per_s, clock),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        context_class=dict,
    )
    return cast(FilteringBoundLogger, logger)


class Bridge(logging.Handler):
    """Carries the lines of a library that uses the standard logging over to ours."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info if record.exc_info else None
        self._log.log(
            record.levelno, "library", logger=record.name, text=record.getMessage(), exc_info=exc
        )
