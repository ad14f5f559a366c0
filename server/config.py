"""The service's settings: one frozen tree, from docker/surgiclear.toml and the environment.

Order, the first wins: the command line, the environment (SURGICLEAR_SECTION__KEY=value, lists as
JSON), the file, the defaults below. A key that does not exist is an error wherever it stands. This
is the only file that reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from engines.engine import Backend
from server.controls import Limits as StreamLimits
from server.errors import SettingInvalid
from server.messages import MAX_CREDITS
from server.spec import Kind, Mode

PREFIX = "SURGICLEAR_"
MAX_PIXELS = StreamLimits().max_pixels
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Millis = Annotated[float, Field(gt=0, le=60_000)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ServerSection(_Section):
    """Where the service listens. allowed_hosts: names besides IP addresses, localhost and this
    machine's own that a browser may call it by; allowed_origins: pages besides its own that may
    use it, such as "https://or3.hospital"."""

    host: str = "127.0.0.1"
    port: Port = 8000
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    page: bool = True


class LimitsSection(_Section):
    """Caps that hold before anything is decoded. max_bytes: of one picture; body_s, hello_s: a peer
    must have said it by then; slow_s: a reader that takes nothing for this long is cut off (4408);
    ping_s: between two pings of a socket; max_sockets: WebSockets, max_connections: all."""

    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)] = MAX_PIXELS
    max_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = 32 * 2**20
    body_s: Seconds = 20.0
    hello_s: Seconds = 5.0
    slow_s: Seconds = 5.0
    ping_s: Seconds = 5.0
    max_sockets: Count = 64
    max_connections: Count = 256


class StillsSection(_Section):
    """REST pictures. workers: processes; queue: requests that may wait for one; timeout_s: of one
    request, after which its worker is replaced."""

    workers: Annotated[int, Field(ge=0, le=64)] = 1
    queue: Annotated[int, Field(ge=0, le=1000)] = 8
    timeout_s: Seconds = 120.0


class LiveSection(_Section):
    """What a stream gets when it does not ask for something else. camera_deadline_ms: of rtsp://
    sources, whose pictures have to be decoded within it; file_folders: the only folders whose
    videos a stream may be started from over HTTP; network: rtsp:// sources and sinks are
    allowed; rtsp_ca_file: PEM file of the authorities that rtsps:// servers are believed by, None
    for the system's; rtsp_verify: off, any certificate will do."""

    deadline_ms: Millis = 40.0
    camera_deadline_ms: Millis = 40.0
    max_age_ms: Millis = 500.0
    strength: Share = 1.0
    kinds: tuple[Kind, ...] = ("smoke", "fog", "splash")
    mode: Mode = "live"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    credits: Annotated[int, Field(ge=1, le=MAX_CREDITS)] = 2
    max_streams: Annotated[int, Field(ge=1, le=256)] = 16
    file_folders: tuple[Path, ...] = (Path("."),)
    network: bool = True
    rtsp_ca_file: Path | None = None
    rtsp_verify: bool = True


class StartSection(_Section):
    """A stream that is started with the service. sinks: RTSP addresses that it publishes to."""

    source: Annotated[str, Field(min_length=1)]
    engine: str | None = None
    deadline_ms: Millis | None = None
    strength: Share | None = None
    mode: Mode | None = None
    sinks: tuple[str, ...] | None = None


class EnginesSection(_Section):
    """default: the engine of a stream or picture that names none; provider: what runs full-frame
    networks, an error where it is not there; folder: of the user's own bundles ("" for
    ~/.local/share/surgiclear/engines); trusted_keys: files of public keys; gates: a file of the
    figures that an engine must show (engines/gates.py), refused without them."""

    default: Annotated[str, Field(min_length=1)] = "veil"
    provider: Backend = "cpu"
    folder: str = ""
    require_signature: bool = False
    trusted_keys: tuple[Path, ...] = ()
    gates: Path | None = None


class AuthSection(_Section):
    """tokens_file: lines of `name role sha256`, read anew when it changes; without it everybody
    who reaches the port may do everything. `surgiclear token` makes a line."""

    tokens_file: Path | None = None


class MetricsSection(_Section):
    """host, port: an address of their own for /metrics, without which it is on the main one."""

    host: str = "127.0.0.1"
    port: Port | None = None


class LogSection(_Section):
    """lines_per_s: of one kind and stream, after which lines are counted, not written."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    lines_per_s: Annotated[float, Field(gt=0, le=1000)] = 5.0


class WebhookSection(_Section):
    """Where events are posted. events: names or prefixes ending in "*"; secret_file: signs the
    body (HMAC-SHA256 in X-Surgiclear-Signature); tries: in all, with growing pauses from pause_s
    on; queue: events that may wait, of which the oldest gives way."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    events: tuple[str, ...] = ("smoke.persistent", "lens.clean", "alarm.*", "engine.down")
    secret_file: Path | None = None
    timeout_s: Seconds = 5.0
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    pause_s: Seconds = 1.0
    queue: Annotated[int, Field(ge=1, le=10_000)] = 100


class Config(BaseSettings):
    """Everything that can be set. Built by `load`; a value, passed on to who needs it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    server: ServerSection = ServerSection()
    limits: LimitsSection = LimitsSection()
    stills: StillsSection = StillsSection()
    live: LiveSection = LiveSection()
    engines: EnginesSection = EnginesSection()
    auth: AuthSection = AuthSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    streams: tuple[StartSection, ...] = ()
    webhooks: tuple[WebhookSection, ...] = ()

    @field_validator("streams")
    @classmethod
    def _no_pushers(cls, value: tuple[StartSection, ...]) -> tuple[StartSection, ...]:
        if any(start.source == "push" for start in value):
            raise ValueError("a pushed stream is started by who pushes it")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (env_settings, init_settings)  # no .env file is looked for


def load(path: Path | None = None, **server: object) -> Config:
    """The settings. path: a TOML file; server: host and port from the command line, None where
    not given. Raises SettingInvalid with the first thing that is wrong."""
    values = _read(path) if path is not None else {}
    _check_environment(os.environ)
    try:
        config = Config(**values)
        given = {key: value for key, value in server.items() if value is not None}
        if given:
            section = ServerSection.model_validate(config.server.model_dump() | given)
            config = config.model_copy(update={"server": section})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingInvalid(
            f"setting {key}: {first['msg'].lower()}", "docker/surgiclear.toml lists every key"
        ) from None
    except ValueError as error:  # an environment value that is no JSON where a list is due
        raise SettingInvalid(str(error), "lists in the environment are JSON") from None
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingInvalid(f"cannot read {path}", (error.strerror or "").lower()) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"{path} is not TOML", str(error)) from error


def _check_environment(environment: Mapping[str, str]) -> None:
    """A name with our prefix and a section that does not exist is a slip, not a wish. Names
    without a section (SURGICLEAR_DEBUG) are other programs'."""
    for name in environment:
        if not name.upper().startswith(PREFIX) or "__" not in name:
            continue
        section = name[len(PREFIX) :].split("__")[0].lower()
        if section not in Config.model_fields:
            raise SettingInvalid(
                f"{name} in the environment sets nothing",
                f"sections are {', '.join(Config.model_fields)}",
            )
