"""Every error that HTTP can answer: one table from our exceptions to status, code and sentence.

The body is always {"error": {"code", "message"}}. Bad input never gives a 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from structlog.typing import FilteringBoundLogger

from server.auth import Forbidden, Unauthenticated
from server.errors import (
    EngineUnavailable,
    EngineUnknown,
    Failure,
    FrameTooLarge,
    SettingInvalid,
    SourceUnreadable,
    StreamsFull,
    StreamUnknown,
    SurgiclearError,
    UserError,
)
from server.still_pool import PoolBusy, WorkerLost

RETRY_AFTER_S = 1
TABLE: tuple[tuple[type[SurgiclearError], int, str], ...] = (
    (Unauthenticated, 401, "unauthenticated"),
    (Forbidden, 403, "forbidden"),
    (StreamUnknown, 404, "stream_unknown"),
    (EngineUnknown, 400, "engine_unknown"),
    (SettingInvalid, 400, "invalid"),
    (SourceUnreadable, 400, "unreadable_image"),
    (FrameTooLarge, 413, "too_large"),
    (UserError, 400, "invalid"),
    (StreamsFull, 503, "streams_full"),
    (PoolBusy, 503, "busy"),
    (WorkerLost, 503, "worker_lost"),
    (EngineUnavailable, 503, "engine_unavailable"),
    (Failure, 503, "failed"),
)
STILL_STATUS: Mapping[str, int] = {  # codes of server/still_process.py
    "not_an_image": 400,
    "unreadable_image": 400,
    "too_many_pixels": 422,
    "engine_unavailable": 503,
    "engine_failed": 503,
}
MEANINGS: Mapping[int, str] = {
    400: "The request is wrong, or what it carries is no picture",
    401: "A token is needed",
    403: "The token's role does not allow this",
    404: "There is no such stream",
    408: "The body did not arrive in time",
    413: "The body is over the byte cap",
    422: "The picture is over the pixel cap",
    503: "Not at the moment: try again after Retry-After seconds",
}


class ErrorDetail(BaseModel):
    code: str
    message: str


class ErrorBody(BaseModel):
    """What every refusal carries."""

    error: ErrorDetail


class Problem(HTTPException):
    """An error that has its HTTP answer already."""

    def __init__(self, status: int, code: str, message: str) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
        super().__init__(status, message, headers)
        self.code = code


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route."""
    out: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        out[status] = {"model": ErrorBody, "description": MEANINGS[status]}
        if status == 503:
            out[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return out


def status_of(error: SurgiclearError) -> tuple[int, str]:
    """Status and code."""
    return next(
        ((status, code) for kind, status, code in TABLE if isinstance(error, kind)),
        (500, "internal"),
    )


def answer(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    extra = dict(headers or {})
    if status == 503:
        extra.setdefault("Retry-After", str(RETRY_AFTER_S))
    if status == 401:
        extra.setdefault("WWW-Authenticate", "Bearer")
    body = ErrorBody(error=ErrorDetail(code=code, message=message))
    return JSONResponse(body.model_dump(), status, extra)


def install(app: FastAPI, log: FilteringBoundLogger) -> None:
    """Makes the app answer every error in this shape."""

    @app.exception_handler(SurgiclearError)
    async def ours(request: Request, error: SurgiclearError) -> JSONResponse:
        status, code = status_of(error)
        return answer(status, code, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return answer(400, "invalid", f"{where}: {first['msg']}" if where else str(first["msg"]))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        code = getattr(
            error, "code", HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        )
        return answer(error.status_code, code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> JSONResponse:
        log.error("bug", path=request.url.path, exc_info=error)
        return answer(500, "internal", "a fault of this service; it is in its log")
