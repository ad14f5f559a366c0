"""/v1/streams: start, stop, steer and look at live streams."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from server import rtsp
from server.admission import Credentials, needs, peer_of, token_of
from server.auth import Action
from server.config import LiveSection, StartSection
from server.errors import SettingInvalid
from server.manager import SINKS_MOST
from server.problems import documented
from server.service import Service
from server.spec import Kind, Mode, SnapshotView, StreamSpec, StreamState

FILE, PUSH = "file:", "push"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Start(_Body):
    """A stream to start; what is left out is as the service's settings say."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2000,
            examples=["phantom:", "file:case.mp4", "rtsp://10.0.0.5/or3"],
        ),
    ]
    engine: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    mode: Mode | None = None
    deadline_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    max_age_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    kinds: list[Kind] | None = None
    jpeg_quality: Annotated[int, Field(ge=10, le=100)] | None = None
    sinks: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=2000)]],
            Field(max_length=SINKS_MOST, examples=[["rtsp://10.0.0.9/or3"]]),
        ]
        | None
    ) = None


class Bypass(_Body):
    on: bool


class EngineName(_Body):
    name: Annotated[str, Field(min_length=1, max_length=200)]


class Strength(_Body):
    strength: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamReport(StreamState):
    """A stream at this moment. now_ns: the monotonic clock that all other `_ns` are of."""

    now_ns: int


def shown_source(source: str) -> str:
    """The source without what others need not know: folders, user and password, query."""
    if source.startswith(FILE):
        return FILE + Path(source.removeprefix(FILE)).name
    return rtsp.shown(source) if "://" in source else source


def checked_source(source: str, live: LiveSection) -> str:
    """The source as a stream may be started with it over HTTP. Raises SettingInvalid."""
    if source == PUSH:
        raise SettingInvalid("a pushed stream begins with its socket", "connect to /v1/stream")
    if rtsp.is_rtsp(source) and not live.network:
        raise SettingInvalid("network sources are switched off", "see live.network")
    if not source.startswith(FILE):
        return source
    try:
        path = Path(source.removeprefix(FILE)).resolve()
        inside = any(path.is_relative_to(folder.resolve()) for folder in live.file_folders)
        there = inside and path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have
        there = False
    if not there:  # the same answer for both: what lies elsewhere is nobody's business
        raise SettingInvalid("there is no such file in the folders of live.file_folders")
    return f"{FILE}{path}"


def spec_of(
    wish: Start | StartSection, service: Service, *, source: str | None = None
) -> StreamSpec:
    """The stream that is asked for. source: instead of the wish's own."""
    live = service.config.live
    given: dict[str, Any] = {k: v for k, v in wish.model_dump().items() if v is not None}
    if "sinks" in given:
        given["sinks"] = tuple(given["sinks"])
    if "kinds" in given:
        given["kinds"] = frozenset(given["kinds"])
    camera = rtsp.is_rtsp(wish.source)
    base = StreamSpec(
        source=wish.source,
        engine=service.catalog.default,
        mode=live.mode,
        deadline_ms=live.camera_deadline_ms if camera else live.deadline_ms,
        max_age_ms=live.max_age_ms,
        strength=live.strength,
        kinds=frozenset(live.kinds),
        jpeg_quality=live.jpeg_quality,
    )
    return replace(base, **given | ({} if source is None else {"source": source}))


def router(service: Service) -> APIRouter:
    """The routes of streams."""
    routes = APIRouter(tags=["streams"])
    manager = service.manager
    see, operate = needs(service, Action.SEE), needs(service, Action.OPERATE)

    def report(stream_id: str) -> StreamReport:
        state = manager.state(stream_id)
        values = {f.name: getattr(state, f.name) for f in fields(state)}
        values["spec"] = replace(
            state.spec,
            source=shown_source(state.spec.source),
            sinks=tuple(map(rtsp.shown, state.spec.sinks)),
        )
        return StreamReport(**values, now_ns=service.clock_ns())

    @routes.get("/v1/streams", dependencies=see, responses=documented(401, 403))
    async def streams() -> list[StreamReport]:
        """All streams."""
        return [report(stream_id) for stream_id in manager.list()]

    @routes.post(
        "/v1/streams",
        dependencies=operate,
        status_code=201,
        responses=documented(400, 401, 403, 408, 413, 503),
    )
    async def start(wish: Start) -> StreamReport:
        """Starts a stream. The picture is raw until its engine is warm."""
        source = checked_source(wish.source, service.config.live)
        if wish.sinks and not service.config.live.network:
            raise SettingInvalid("network sinks are switched off", "see live.network")
        stream_id = await manager.start(spec_of(wish, service, source=source))
        service.log.info("stream started", stream=manager.number(stream_id))
        return report(stream_id)

    @routes.get("/v1/streams/{stream_id}", dependencies=see, responses=documented(401, 403, 404))
    async def state(stream_id: str) -> StreamReport:
        """State, ages, drops by reason, alarms, events."""
        return report(stream_id)

    @routes.delete(
        "/v1/streams/{stream_id}",
        dependencies=operate,
        status_code=204,
        responses=documented(401, 403, 404),
    )
    async def stop(stream_id: str) -> None:
        """Ends a stream."""
        number = manager.number(stream_id)
        await manager.stop(stream_id)
        service.log.info("stream stopped", stream=number)

    def admit(wish: Bypass, request: Request, credentials: Credentials) -> None:
        action = Action.BYPASS_ON if wish.on else Action.OPERATE
        service.gate.admit(token_of(credentials), action, peer=peer_of(request))

    @routes.post("/v1/bypass", responses=documented(400, 401, 403, 408, 413))
    async def bypass_all(
        wish: Bypass, request: Request, credentials: Credentials
    ) -> list[StreamReport]:
        """Raw for every stream, or no longer: for one switch on the wall. Switching it on is
        never refused to the machine's own console."""
        admit(wish, request, credentials)
        for stream_id in manager.list():
            await manager.bypass(stream_id, wish.on)
        return [report(stream_id) for stream_id in manager.list()]

    @routes.post(
        "/v1/streams/{stream_id}/bypass", responses=documented(400, 401, 403, 404, 408, 413)
    )
    async def bypass(
        stream_id: str, wish: Bypass, request: Request, credentials: Credentials
    ) -> StreamReport:
        """Raw from the next frame on, until switched off. Switching it on is never refused to the
        machine's own console."""
        admit(wish, request, credentials)
        await manager.bypass(stream_id, wish.on)
        service.log.info("bypass", stream=manager.number(stream_id), on=wish.on)
        return report(stream_id)

    @routes.put(
        "/v1/streams/{stream_id}/engine",
        dependencies=operate,
        status_code=202,
        responses=documented(400, 401, 403, 404, 408, 413),
    )
    async def engine(stream_id: str, wish: EngineName) -> StreamReport:
        """Another engine at a frame boundary, once it is warm; the event engine.changed,
        engine.rolled_back or engine.refused follows."""
        await manager.set_engine(stream_id, wish.name)
        return report(stream_id)

    @routes.put(
        "/v1/streams/{stream_id}/strength",
        dependencies=operate,
        responses=documented(400, 401, 403, 404, 408, 413),
    )
    async def strength(stream_id: str, wish: Strength) -> StreamReport:
        """0 (raw) to 1 (the full repair)."""
        await manager.set_strength(stream_id, wish.strength)
        return report(stream_id)

    @routes.get(
        "/v1/streams/{stream_id}/snapshot",
        dependencies=operate,
        response_class=Response,
        responses={
            200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
            **documented(400, 401, 403, 404, 503),
        },
    )
    async def snapshot(
        stream_id: str, view: Annotated[SnapshotView, Query()] = "restored"
    ) -> Response:
        """The newest picture."""
        picture = await manager.snapshot(stream_id, view)
        return Response(picture, media_type="image/jpeg")

    return routes
