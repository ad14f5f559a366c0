"""The API process as an ASGI app: it controls and shows, and owns no frame's deadline."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, FastAPI
from structlog.typing import FilteringBoundLogger

from server.auth import Gatekeeper
from server.catalog import Catalog
from server.config import Config
from server.controls import Limits
from server.edge import Edge
from server.errors import SurgiclearError
from server.feed import feed
from server.manager import StreamManager
from server.metrics import Metrics
from server.problems import install as install_problems
from server.routes import engines, health, metrics, page, pictures, streams, ws
from server.service import Service
from server.spec import StreamState
from server.still_pool import StillPool
from server.trust import Trust
from server.webhooks import Webhooks

CLOSE_PICTURES_S = 1.0
UNVERIFIED = "certificates of rtsps:// servers are NOT verified"


def build_service(
    config: Config,
    catalog: Catalog,
    log: FilteringBoundLogger,
    *,
    manager: StreamManager | None = None,
) -> Service:
    """Everything that the app needs, not started yet. Raises SettingInvalid for a tokens file
    or of certificates that cannot be used."""
    trust = Trust(config.live.rtsp_ca_file, config.live.rtsp_verify)
    trust.check()
    limits = Limits(max_streams=config.live.max_streams, max_pixels=config.limits.max_pixels)
    streams_ = manager or StreamManager(
        {**catalog.factories, **catalog.live},
        limits=limits,
        feed=partial(feed, trust=trust),
        trust=trust,
    )

    def states() -> list[StreamState]:
        return [streams_.state(stream_id) for stream_id in streams_.list()]

    counted = Metrics(states)
    gate = Gatekeeper(
        config.auth.tokens_file,
        trouble=lambda what: log.error("tokens file unusable, the last one holds", why=what),
    )
    pool = StillPool(
        catalog.factories,
        catalog.default,
        counted,
        log,
        size=config.stills.workers,
        queue=config.stills.queue,
        timeout_s=config.stills.timeout_s,
        max_bytes=config.limits.max_bytes,
    )
    return Service(
        config=config,
        catalog=catalog,
        manager=streams_,
        pool=pool,
        gate=gate,
        metrics=counted,
        log=log,
    )


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Starts everything, and ends it again: streams last, and within about 4 s."""
    config, manager = service.config, service.manager
    hooks = Webhooks(config.webhooks, service.metrics, service.log)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(manager.close)
        stack.push_async_callback(service.pool.close)
        stack.push_async_callback(hooks.close)
        if not config.live.rtsp_verify:
            service.log.warning(UNVERIFIED, do="set live.rtsp_verify, or name a live.rtsp_ca_file")
        manager.observe(service.metrics.frame)
        hooks.start()
        await service.pool.start()
        teller = asyncio.create_task(_tell(service, hooks))
        stack.push_async_callback(_end, teller)
        for start in config.streams:
            try:
                await manager.start(streams.spec_of(start, service))
            except SurgiclearError as error:
                source = streams.shown_source(start.source)
                service.log.error("stream not started", source=source, why=str(error))
        gc.collect()
        gc.freeze()  # what is there now stays: collections need not look at it again
        yield
        service.closing.set()


async def _tell(service: Service, hooks: Webhooks) -> None:
    """Events to the log, the metrics and the webhooks."""
    async for event in service.manager.watch():
        service.metrics.events.labels(event.name).inc()
        service.log.info(
            "event", name=event.name, **_numbered(service, event.stream_id, event.data)
        )
        hooks.offer(event)


def _numbered(service: Service, stream_id: str, data: Mapping[str, Any]) -> dict[str, Any]:
    known = stream_id in service.manager.list()
    who = {"stream": service.manager.number(stream_id)} if known else {}
    return {f"data_{key}": value for key, value in data.items()} | who


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def build_app(service: Service) -> FastAPI:
    """The app over a service. Its lifespan starts and ends the service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(service):
            yield

    app = FastAPI(
        title="Surgiclear",
        version=_version(),
        description="Restores laparoscopic video. Research software, not a cleared medical device.",
        lifespan=lifespan,
        docs_url=None,  # these pages would fetch scripts from elsewhere
        redoc_url=None,
    )
    install_problems(app, service.log)
    routers: list[APIRouter] = [
        pictures.router(service),
        streams.router(service),
        engines.router(service),
        health.router(service),
        ws.router(service),
    ]
    if service.config.metrics.port is None:
        routers.append(metrics.router(service))
    for router in routers:
        app.include_router(router)
    if service.config.server.page:
        page.install(app)
    _say_only_what_happens(app)
    app.add_middleware(Edge, config=service.config, metrics=service.metrics)
    return app


def build_metrics_app(service: Service) -> FastAPI:
    """/metrics alone, for an address of its own."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    install_problems(app, service.log)
    app.include_router(metrics.router(service))
    app.add_middleware(Edge, config=service.config, metrics=service.metrics)
    return app


def _say_only_what_happens(app: FastAPI) -> None:
    """FastAPI documents its own 422 everywhere; here such input is answered 400."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for operations in schema["paths"].values():
            for operation in operations.values():
                unprocessable = operation["responses"].get("422", {})
                if "HTTPValidationError" in str(unprocessable):
                    del operation["responses"]["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _version() -> str:
    try:
        return version("surgiclear")
    except PackageNotFoundError:
        return "0"
