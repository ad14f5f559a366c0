"""/livez, /healthz, /readyz: for machines that ask whether this service is well.

/healthz says 503 for a dead engine, although the picture goes on raw: wire it to an alarm. A
machine that restarts what is unhealthy would take the raw picture away too: give it /livez.
These answer everybody and name no stream.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from server.service import Service

Share = Annotated[float, Field(ge=0, le=1)]


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Trouble(BaseModel):
    """stream: its number, None for the workers of single pictures."""

    stream: int | None
    what: str


class Health(BaseModel):
    status: Literal["ok", "degraded"]
    streams: int
    problems: list[Trouble]


class Ready(BaseModel):
    """progress: share of the parts that are warm; waiting: what is not yet."""

    ready: bool
    progress: Share
    waiting: list[str]


def health_of(service: Service) -> Health:
    """What is wrong now. A state that passes by itself (warming) is no problem."""
    problems = []
    ids = service.manager.list()
    for state in map(service.manager.state, ids):
        if state.engine_state in ("down", "refused"):
            problems.append(Trouble(stream=state.number, what=f"engine {state.engine_state}"))
        problems += [
            Trouble(stream=state.number, what=f"sink {index} {sink.state}")
            for index, sink in enumerate(state.sinks)
            if sink.state == "down"
        ]
        problems += [
            Trouble(stream=state.number, what=f"alarm {alarm}")
            for alarm in state.alarms
            if alarm in ("STREAM_DOWN", "INVARIANT")
        ]
    for status in service.pool.status():
        if status.state in ("failed", "restarting"):
            problems.append(Trouble(stream=None, what=f"picture worker {status.state}"))
    return Health(status="degraded" if problems else "ok", streams=len(ids), problems=problems)


def ready_of(service: Service) -> Ready:
    """Whether pictures sent now would be restored: every worker and every stream's engine warm."""
    waiting = [
        f"picture worker {number}: {status.state}"
        for number, status in enumerate(service.pool.status())
        if status.state != "ready"
    ]
    states = [service.manager.state(stream_id) for stream_id in service.manager.list()]
    waiting += [
        f"stream {state.number}: engine {state.engine_state}"
        for state in states
        if state.engine_state != "ready"
    ]
    parts = len(service.pool.status()) + len(states)
    closing = service.closing.is_set()
    if closing:
        waiting.append("the service stops")
    progress = 1.0 if parts == 0 else max(0.0, 1 - len(waiting) / parts)
    return Ready(ready=not waiting, progress=progress, waiting=waiting)


def router(service: Service) -> APIRouter:
    """The routes of health."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez")
    async def livez() -> Alive:
        """The process answers."""
        return Alive()

    @routes.get(
        "/healthz",
        responses={503: {"model": Health, "description": "Something is down; pictures go on raw"}},
    )
    async def healthz(response: Response) -> Health:
        """Whether anything is down."""
        health = health_of(service)
        response.status_code = 200 if health.status == "ok" else 503
        return health

    @routes.get(
        "/readyz", responses={503: {"model": Ready, "description": "Still warming, or stopping"}}
    )
    async def readyz(response: Response) -> Ready:
        """Whether everything is warm."""
        ready = ready_of(service)
        response.status_code = 200 if ready.ready else 503
        return ready

    return routes
