"""The REST calls as values: what to ask, and what an answer means. No I/O.

Each function gives a Call; a client sends it and hands the response to `Call.read`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import numpy as np

from surgiclear_client.errors import BadMessage, BadPicture, Refused
from surgiclear_client.frame import Levels, Picture, Pixels, as_jpeg, decode_jpeg

T = TypeVar("T")
Json = dict[str, Any]
Compare = Literal["split", "side", "none"]
Format = Literal["jpeg", "png"]
View = Literal["restored", "raw", "split", "difference"]
QUALITY = 95  # of a numpy picture on its way: 4:4:4, next to nothing is lost


@dataclass(frozen=True, slots=True)
class Restored:
    """A single picture as it came back. content: the file's bytes; reason: why it is raw."""

    content: bytes
    media_type: str
    provenance: Literal["RESTORED", "RAW"]
    reason: str | None
    engine: str
    levels: Levels
    latency_ms: float

    @property
    def restored(self) -> bool:
        return self.provenance == "RESTORED"

    @property
    def pixels(self) -> Pixels:
        """h w 3, RGB. Raises BadPicture; for a PNG without Pillow too."""
        if self.media_type == "image/jpeg":
            return decode_jpeg(self.content)
        try:
            from PIL import Image
        except ImportError as error:
            raise BadPicture("a PNG's pixels need Pillow: surgiclear-client[png]") from error
        with Image.open(io.BytesIO(self.content), formats=("PNG",)) as image:
            return np.array(image.convert("RGB"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[T]):
    """One request. understand: from a successful response."""

    method: str
    path: str
    understand: Callable[[httpx.Response], T]
    params: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    media_type: str | None = None

    def headers(self, token: str | None) -> dict[str, str]:
        out = {} if token is None else {"Authorization": f"Bearer {token}"}
        return out if self.media_type is None else out | {"Content-Type": self.media_type}

    def read(self, response: httpx.Response) -> T:
        """Raises Refused or BadMessage."""
        if response.status_code >= 400:
            raise refusal_in(response)
        try:
            return self.understand(response)
        except (KeyError, ValueError, TypeError) as error:
            raise BadMessage(f"{self.method} {self.path}: {error}") from error


def refusal_in(response: httpx.Response) -> Refused:
    """The service's own words where there are any."""
    after = response.headers.get("retry-after", "")
    retry_after_s = float(after) if after.isdigit() else None
    try:
        error = response.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "unknown", f"status {response.status_code}"
    return Refused(code, message, status=response.status_code, retry_after_s=retry_after_s)


def base_of(url: str) -> str:
    """http(s)://host:port/path without a trailing slash. Raises ValueError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a service: use http://HOST:PORT")
    if parts.username or parts.query:
        raise ValueError("a token goes to `token=`, never into the URL")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def socket_url(base: str, path: str) -> str:
    return base.replace("http", "ws", 1) + path


def _picture(picture: Picture) -> tuple[bytes, str]:
    if isinstance(picture, np.ndarray):
        return as_jpeg(picture, QUALITY, "444")[0], "image/jpeg"
    return picture, "image/png" if picture[:4] == b"\x89PNG" else "image/jpeg"


def _restored(response: httpx.Response) -> Restored:
    head = response.headers
    stated = head["x-surgiclear-provenance"]
    if stated not in ("RESTORED", "RAW"):
        raise ValueError(f"provenance {stated!r}")
    return Restored(
        content=response.content,
        media_type=head["content-type"].split(";")[0],
        provenance="RESTORED" if stated == "RESTORED" else "RAW",
        reason=head["x-surgiclear-reason"] or None,
        engine=head["x-surgiclear-engine"],
        levels=Levels(*(int(head[f"x-surgiclear-{k}"]) for k in ("smoke", "fog", "splash"))),
        latency_ms=float(head["x-surgiclear-latency-ms"]),
    )


def restore(
    picture: Picture,
    *,
    engine: str | None = None,
    compare: Compare = "none",
    format: Format | None = None,
    strength: float = 1.0,
) -> Call[Restored]:
    content, media_type = _picture(picture)
    params = {"engine": engine, "compare": compare, "format": format, "strength": str(strength)}
    return Call(
        method="POST",
        path="/v1/restore",
        params={k: v for k, v in params.items() if v is not None},
        content=content,
        media_type=media_type,
        understand=_restored,
    )


def detect(picture: Picture, *, engine: str | None = None) -> Call[Json]:
    content, media_type = _picture(picture)
    return Call(
        method="POST",
        path="/v1/detect",
        params={} if engine is None else {"engine": engine},
        content=content,
        media_type=media_type,
        understand=_object,
    )


def streams() -> Call[list[Json]]:
    return Call(method="GET", path="/v1/streams", understand=_list)


def engines() -> Call[list[Json]]:
    return Call(method="GET", path="/v1/engines", understand=_list)


def state(stream_id: str) -> Call[Json]:
    return Call(method="GET", path=_stream(stream_id), understand=_object)


def start(source: str, options: Json) -> Call[Json]:
    wish = {"source": source} | {k: v for k, v in options.items() if v is not None}
    return _with_body("POST", "/v1/streams", wish)


def stop(stream_id: str) -> Call[None]:
    return Call(method="DELETE", path=_stream(stream_id), understand=lambda _: None)


def bypass(stream_id: str, on: bool) -> Call[Json]:
    return _with_body("POST", _stream(stream_id, "/bypass"), {"on": on})


def set_engine(stream_id: str, name: str) -> Call[Json]:
    return _with_body("PUT", _stream(stream_id, "/engine"), {"name": name})


def set_strength(stream_id: str, strength: float) -> Call[Json]:
    return _with_body("PUT", _stream(stream_id, "/strength"), {"strength": strength})


def snapshot(stream_id: str, view: View) -> Call[bytes]:
    return Call(
        method="GET",
        path=_stream(stream_id, "/snapshot"),
        params={"view": view},
        understand=lambda response: response.content,
    )


def view_path(stream_id: str) -> str:
    return _stream(stream_id, "/view")


def _stream(stream_id: str, rest: str = "") -> str:
    return f"/v1/streams/{quote(stream_id, safe='')}{rest}"


def _with_body(method: str, path: str, body: Json) -> Call[Json]:
    return Call(
        method=method,
        path=path,
        content=json.dumps(body).encode(),
        media_type="application/json",
        understand=_object,
    )


def _object(response: httpx.Response) -> Json:
    value = response.json()
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _list(response: httpx.Response) -> list[Json]:
    value = response.json()
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
