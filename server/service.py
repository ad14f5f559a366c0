"""What the API process is made of: one value that every route is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from server.auth import Gatekeeper
from server.catalog import Catalog
from server.config import Config
from server.manager import StreamManager
from server.metrics import Metrics
from server.still_pool import StillPool


@dataclass
class Sockets:
    """How many WebSockets are open."""

    open: int = 0


@dataclass(frozen=True, kw_only=True)
class Service:
    """closing: set when the service begins to stop; clock_ns: monotonic."""

    config: Config
    catalog: Catalog
    manager: StreamManager
    pool: StillPool
    gate: Gatekeeper
    metrics: Metrics
    log: FilteringBoundLogger
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    sockets: Sockets = field(default_factory=Sockets)
    clock_ns: Callable[[], int] = time.monotonic_ns
