"""POST /v1/restore and /v1/detect: single pictures, each on its own."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from engines.restorer import SplashType
from server.admission import needs
from server.auth import Action
from server.body import picture_in
from server.compare import Compare
from server.problems import STILL_STATUS, Problem, documented
from server.service import Service
from server.spec import Kind
from server.still_process import Format, StillAnswer, StillJob

BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/jpeg": BINARY,
            "image/png": BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
HEADERS = {
    "X-Surgiclear-Provenance": "RESTORED or RAW",
    "X-Surgiclear-Reason": "why it is raw; empty when restored",
    "X-Surgiclear-Engine": "name of the engine",
    "X-Surgiclear-Smoke": "level 0 to 4",
    "X-Surgiclear-Fog": "level 0 to 4",
    "X-Surgiclear-Splash": "level 0 to 4",
    "X-Surgiclear-Latency-Ms": "from the last byte of the request to the answer",
}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture. A raw one in its own format is the bytes that came.",
        "content": {"image/jpeg": BINARY, "image/png": BINARY},
        "headers": {
            k: {"description": v, "schema": {"type": "string"}} for k, v in HEADERS.items()
        },
    }
}
REFUSALS = documented(400, 401, 403, 408, 413, 422, 503)
Engine = Annotated[
    str | None, Query(max_length=200, description="An engine's name; the default one without")
]
CompareAs = Annotated[Compare, Query(description="Show raw beside restored")]
FormatAs = Annotated[Format | None, Query(description="The input's own without")]
Strength = Annotated[float, Query(ge=0, le=1, description="0 raw, 1 the full repair")]
Kinds = Annotated[str, Query(max_length=40, description="What to restore, comma separated")]
KINDS: tuple[Kind, ...] = ("smoke", "fog", "splash")
ALL_KINDS = ",".join(KINDS)


class Found(BaseModel):
    """One kind of degradation. coverage: share of the view, 0 to 1; level 0 to 4."""

    level: int
    probability: float
    coverage: float


class FoundSplash(Found):
    type: SplashType | None


class Detected(BaseModel):
    smoke: Found
    fog: Found
    splash: FoundSplash


def kinds_of(text: str) -> tuple[Kind, ...]:
    """Raises Problem."""
    chosen = tuple(kind for kind in KINDS if kind in text.split(","))
    if len(chosen) != len(set(text.split(","))) or not chosen:
        raise Problem(400, "invalid", f"kinds: any of {', '.join(KINDS)}, comma separated")
    return chosen


def router(service: Service) -> APIRouter:
    """The routes of single pictures."""
    routes = APIRouter(tags=["pictures"])
    limits = service.config.limits

    def engine_named(name: str | None) -> str:
        """Raises Problem for one that is not offered."""
        chosen = name or service.catalog.default
        if chosen not in service.catalog.factories:
            known = ", ".join(service.catalog.factories)
            raise Problem(400, "engine_unknown", f"no engine is called {chosen!r}: use {known}")
        return chosen

    async def ask(request: Request, job: StillJob) -> tuple[StillAnswer, bytes, float]:
        """The worker's answer, its picture and the time it took, in ms. Raises Problem."""
        data = await picture_in(request, limits.max_bytes)
        started = time.perf_counter()
        answer, picture = await service.pool.submit(job, data)
        took_ms = (time.perf_counter() - started) * 1000
        service.metrics.request_s.labels(job.task).observe(took_ms / 1000)
        if answer.error:
            raise Problem(STILL_STATUS[answer.error], answer.error, answer.message)
        return answer, picture, took_ms

    @routes.post(
        "/v1/restore",
        dependencies=needs(service, Action.SEND),
        response_class=Response,
        responses={**PICTURE, **REFUSALS},
        openapi_extra=BODY,
    )
    async def restore(
        request: Request,
        engine: Engine = None,
        compare: CompareAs = "none",
        format: FormatAs = None,
        strength: Strength = 1.0,
        kinds: Kinds = ALL_KINDS,
    ) -> Response:
        """Restores one JPEG or PNG picture."""
        job = StillJob(
            task="restore",
            engine=engine_named(engine),
            format=format,
            compare=compare,
            strength=strength,
            kinds=kinds_of(kinds),
            max_pixels=limits.max_pixels,
        )
        answer, picture, took_ms = await ask(request, job)
        found = answer.detection or {}
        return Response(
            picture,
            media_type=f"image/{answer.format}",
            headers={
                "X-Surgiclear-Provenance": answer.provenance,
                "X-Surgiclear-Reason": answer.reason,
                "X-Surgiclear-Engine": answer.engine,
                **{f"X-Surgiclear-{kind.title()}": str(found[kind]["level"]) for kind in KINDS},
                "X-Surgiclear-Latency-Ms": f"{took_ms:.1f}",
            },
        )

    @routes.post(
        "/v1/detect",
        dependencies=needs(service, Action.SEND),
        responses=REFUSALS,
        openapi_extra=BODY,
    )
    async def detect(request: Request, engine: Engine = None) -> Detected:
        """What hides the view in one JPEG or PNG picture."""
        job = StillJob(task="detect", engine=engine_named(engine), max_pixels=limits.max_pixels)
        answer, _, _ = await ask(request, job)
        return Detected.model_validate(answer.detection)

    return routes
