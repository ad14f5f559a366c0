"""`surgiclear serve`: binds, says where it listens, serves, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import setproctitle
import uvicorn
from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from server import rtsp
from server.app import build_app, build_metrics_app, build_service
from server.catalog import Catalog, discover
from server.config import Config, StartSection
from server.errors import SettingInvalid
from server.feed import check_source
from server.log import Bridge, make_log
from server.service import Service
from server.sockets import BoundedSocket, http_within
from server.wire import HEAD_BYTES

GRACE_S = 1  # for requests under way; the streams' end takes up to 4 s more
KEEP_ALIVE_S = 15
BACKLOG = 128


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingInvalid."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingInvalid(
            f"cannot listen on {host} port {port} ({why.lower()})", "choose another with --port"
        ) from error


def address_of(listener: socket.socket) -> str:
    """What a browser on this machine is given."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def with_stream(
    config: Config, source: str | None, sinks: tuple[str, ...], engine: str | None
) -> Config:
    """The settings with one more stream, None for none. Raises SettingInvalid, SourceUnreadable."""
    if source is None:
        if sinks or engine:
            raise SettingInvalid("a sink or an engine of no stream", "give a --source as well")
        return config
    check_source(source)
    for sink in sinks:
        rtsp.check(sink)
    start = StartSection(source=source, sinks=sinks, engine=engine)
    return config.model_copy(update={"streams": (*config.streams, start)})


class Server(uvicorn.Server):
    """uvicorn without its signal handling: ours lets sockets say goodbye first, and exits 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(app: FastAPI, config: Config, *, lifespan: bool) -> Server:
    """One worker: the streams and their sockets belong to one process."""
    limits = config.limits
    return Server(
        uvicorn.Config(
            app,
            http=http_within(limits.hello_s),
            ws=BoundedSocket,
            ws_max_size=limits.max_bytes + HEAD_BYTES,
            ws_per_message_deflate=False,  # pictures do not shrink, and it costs milliseconds
            ws_ping_interval=limits.ping_s,
            ws_ping_timeout=limits.ping_s,
            lifespan="on" if lifespan else "off",
            limit_concurrency=limits.max_connections,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            log_config=None,
            access_log=False,  # its lines hold stream ids
            proxy_headers=False,
            server_header=False,
            workers=1,
        )
    )


@contextmanager
def bridged(log: FilteringBoundLogger) -> Iterator[None]:
    """uvicorn's warnings, and those of our own loggers, come out as our lines."""
    handler = Bridge(log)
    names = ("uvicorn", "uvicorn.error", "websockets.server", "asyncio", "server")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.setLevel(logging.WARNING)
        one.propagate = False
        one.addHandler(handler)
    try:
        yield
    finally:
        for one, (level, propagate) in zip(loggers, before, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)
            one.propagate = propagate


async def run(
    service: Service,
    listener: socket.socket,
    ready: Callable[[str], None],
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves until a signal, or until `stop`. ready: told the address once it answers."""
    config = service.config
    servers = [server_of(build_app(service), config, lifespan=True)]
    listeners = [listener]
    if config.metrics.port is not None:
        servers.append(server_of(build_metrics_app(service), config, lifespan=False))
        listeners.append(bind(config.metrics.host, config.metrics.port))
        service.log.info("metrics", address=address_of(listeners[1]))
    loop = asyncio.get_running_loop()
    ending = stop or asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is threading.main_thread():
        for one in signals:
            loop.add_signal_handler(one, ending.set)
    tasks = [
        asyncio.create_task(server.serve(sockets=[sock]))
        for server, sock in zip(servers, listeners, strict=True)
    ]
    try:
        while not (servers[0].started or tasks[0].done()):
            await asyncio.sleep(0.02)
        if not tasks[0].done():
            ready(address_of(listener))
        until = asyncio.create_task(ending.wait())
        await asyncio.wait([until, *tasks], return_when=asyncio.FIRST_COMPLETED)
        until.cancel()
        service.closing.set()  # sockets say goodbye now
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)


def serve(
    config: Config,
    ready: Callable[[str], None],
    *,
    log: FilteringBoundLogger | None = None,
    catalog: Catalog | None = None,
) -> None:
    """The whole life of the API process. Raises SettingInvalid before anything is started."""
    setproctitle.setproctitle("surgiclear: api")
    log = log or make_log(config.log.level, lines_per_s=config.log.lines_per_s)
    offered = catalog or discover(config.engines)
    service = build_service(config, offered, log)
    for offer in offered.offers:
        if offer.state == "refused":
            log.error("engine refused", engine=offer.name, why=offer.why, default=offer.default)
    with bind(config.server.host, config.server.port) as listener, bridged(log):
        if service.gate.open and not _is_local(listener):
            log.warning("everybody who reaches this port may do everything: set auth.tokens_file")
        asyncio.run(run(service, listener, ready))
    log.info("stopped")


def _is_local(listener: socket.socket) -> bool:
    return str(listener.getsockname()[0]) in ("127.0.0.1", "::1")
