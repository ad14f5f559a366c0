"""The picture in a request's body: raw bytes, or the multipart field `image`. Never on disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from server.problems import Problem

FIELD = "image"
PARTS_MOST = 4


class _InMemory(MultiPartParser):
    """A patient's picture is not spooled to a temporary file."""

    spool_max_size = 2**31 - 1


async def picture_in(request: Request, most: int) -> bytes:
    """Raises Problem: nothing there, no such field, or over `most` bytes."""
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        data = await _field(request, most)
    else:
        data = await _raw(request, most)
    if not data:
        raise Problem(400, "empty", "send a JPEG or PNG picture as the body")
    return data


async def _raw(request: Request, most: int) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        _check(len(data), most)
    return bytes(data)


async def _field(request: Request, most: int) -> bytes:
    parser = _InMemory(
        request.headers, _bounded(request), max_files=PARTS_MOST, max_fields=PARTS_MOST
    )
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeDecodeError, ValueError) as error:
        raise Problem(400, "multipart_invalid", str(error) or "not a multipart body") from error
    except KeyError as error:  # no boundary, or a part without a name
        raise Problem(400, "multipart_invalid", "not a multipart body") from error
    try:
        upload = form.get(FIELD)
        if not isinstance(upload, UploadFile):
            raise Problem(400, "field_missing", f"the multipart body has no file {FIELD!r}")
        data = await upload.read()
    finally:
        await form.close()
    _check(len(data), most)
    return data


async def _bounded(request: Request) -> AsyncGenerator[bytes]:
    async for chunk in request.stream():
        yield chunk


def _check(size: int, most: int) -> None:
    if size > most:
        raise Problem(413, "too_large", f"a picture has at most {most} bytes")
