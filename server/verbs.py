"""The verbs of the live service: serve, token, push, view, bench live and bench rtsp."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from server.live_bench import Plan

from server.auth import Role, new_token
from server.errors import Failure, SettingInvalid, SourceUnreadable

Want = Literal["restored", "raw", "split", "both"]
Url = Annotated[str, typer.Argument(metavar="URL", help="http://HOST:PORT of the service.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="File with a token, where one is needed.")
]


def serve(
    config: Annotated[
        Path | None, typer.Option(help="Settings; docker/surgiclear.toml lists all of them.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    source: Annotated[
        str | None, typer.Option(help="A stream to start: rtsp://…, file:PATH or phantom:.")
    ] = None,
    sink: Annotated[
        list[str] | None, typer.Option(help="Where it is published to: rtsp://…; up to 4 times.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Its engine's name.")] = None,
) -> None:
    """Run the live service with the operator's page."""
    from server import serve as server
    from server.config import load

    def ready(address: str) -> None:
        typer.echo(f"Surgiclear listens on {address}")

    settings = server.with_stream(
        load(config, host=host, port=port), source, tuple(sink or ()), engine
    )
    server.serve(settings, ready)


def token(
    name: Annotated[str, typer.Argument(help="Whose it is: letters, digits, - and _.")],
    role: Annotated[Role, typer.Argument(help="What it allows.")],
) -> None:
    """Make a token: it goes to its owner, its line into the file of auth.tokens_file."""
    secret, line = new_token(name, role)
    typer.echo(f"token, shown this once: {secret}", err=True)
    typer.echo(line)


def push(
    source: Annotated[str, typer.Argument(metavar="FILE", help="Video file, phantom: or rtsp://.")],
    url: Url,
    want: Annotated[Want, typer.Option(help="What to get back.")] = "restored",
    loop: Annotated[bool, typer.Option("--loop", help="Start over at the end.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Stop after.")] = None,
    engine: Annotated[str | None, typer.Option(help="An engine's name.")] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEG frames.")] = 90,
    token_file: TokenFile = None,
) -> None:
    """Play a video into a service at its own rate, and say what came back."""
    from server.push import push as run

    with _service_errors():
        pushed = asyncio.run(
            run(
                source, url, token=_token(token_file), want=want, quality=quality, loop=loop,
                seconds=seconds, engine=engine,
            )
        )  # fmt: skip
    typer.echo("\n".join(pushed.lines()))
    if pushed.lost:
        raise Failure(f"{pushed.lost} frames were not answered")
    if not pushed.sent:
        raise SourceUnreadable(f"{source} gave no frame")


def view(
    url: Url,
    stream: Annotated[str | None, typer.Option(help="Number or id; the first one without.")] = None,
    want: Annotated[Want, typer.Option(help="Which picture.")] = "restored",
    save: Annotated[
        Path | None, typer.Option(help="JPEG file that always holds the newest picture.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after.")] = None,
    token_file: TokenFile = None,
) -> None:
    """Watch a stream: one line a second (the pictures are on the operator's page)."""
    from server.view import Seen
    from server.view import view as run
    from surgiclear_client import Closed

    def told(seen: Seen) -> None:
        typer.echo(seen.line())

    try:
        with _service_errors():
            run(
                url, told, stream=stream, token=_token(token_file), want=want, save=save,
                seconds=seconds,
            )  # fmt: skip
    except Failure as error:
        if isinstance(error.__cause__, Closed) and error.__cause__.code == 1001:
            typer.echo("the stream has ended")
            return
        raise


def bench_live(
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 60.0,
    engine: Annotated[str | None, typer.Option(help="An engine's name.")] = None,
    plan: Annotated[
        list[str] | None, typer.Option(help="STREAMSxWIDTHxHEIGHT@FPS; may be given again.")
    ] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="For the choice between restored and raw.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Latency, drops, CPU and memory of live streams through the WebSocket."""
    from rich.console import Console
    from rich.table import Table

    from server.live_bench import COLUMNS, bench
    from server.whole import Whole

    wanted = plan or DEFAULT_PLANS
    plans = [parse_plan(text, seconds, engine, deadline_ms) for text in wanted]
    console = Console()
    table = Table(*COLUMNS)
    done = []
    with _service_errors():
        for measured in bench(plans):
            done.append(measured.as_json())
            table.add_row(*measured.row())
            cost = measured.cost
            typer.echo(
                f"{measured.row()[0]}: {cost.other_cores:.2f} of {cost.cores} cores "
                f"busy with other work, {cost.memory_mb:.0f} MB",
                err=True,
            )
    Console(width=max(140, console.width)).print(table)
    if json_file is not None:
        with Whole(json_file) as whole:
            whole.write_bytes(json.dumps(done, indent=1).encode() + b"\n")
            whole.commit()
    if lost := sum(one["lost"] for one in done):
        raise Failure(f"{lost} answers were lost")


def bench_rtsp(
    publish: Annotated[str, typer.Argument(help="rtsp://… under which one publishes.")],
    play: Annotated[str, typer.Argument(help="rtsp://… under which that is played.")],
    seconds: Annotated[float, typer.Option(min=5, max=86_400, help="Of the measurement.")] = 60.0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT")] = "1280x720",
    fps: Annotated[int, typer.Option(min=5, max=60, help="Of the camera.")] = 25,
    drops: Annotated[int, typer.Option(min=0, help="How often the camera leaves then.")] = 10,
    engine: Annotated[str | None, typer.Option(help="An engine's name.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """RTSP in to RTSP out through a server: losses, order, latency, and the camera's returns.

    `make bench-rtsp` brings a server along. With MediaMTX both addresses are rtsp://HOST:8554.
    """
    from server.rtsp_bench import RtspPlan, bench
    from server.rtsp_ends import Format
    from server.whole import Whole

    try:
        width, height = (int(part) for part in size.split("x"))
    except ValueError:
        raise SettingInvalid(f"{size!r} is no size", "write WIDTHxHEIGHT") from None
    if width % 2 or height % 2 or not (480 <= width <= 4096 and 64 <= height <= 2160):
        raise SettingInvalid(f"{size} cannot be measured", "use even sides, at least 480x64")
    plan = RtspPlan(
        publish=publish.rstrip("/"), play=play.rstrip("/"), form=Format(width, height, fps),
        seconds=seconds, drops=drops, engine=engine,
    )  # fmt: skip
    with _service_errors():
        measured = bench(plan, lambda line: typer.echo(line, err=True))
    typer.echo("\n".join(measured.lines()))
    if json_file is not None:
        with Whole(json_file) as whole:
            whole.write_bytes(json.dumps(measured.as_json(), indent=1).encode() + b"\n")
            whole.commit()
    if measured.verdict is not None:
        raise Failure(measured.verdict)


DEFAULT_PLANS = ("1x1280x720@25", "1x1280x720@30", "2x640x360@25")


def parse_plan(
    text: str, seconds: float, engine: str | None = None, deadline_ms: float | None = None
) -> Plan:
    """Raises SettingInvalid."""
    from server.live_bench import Plan

    try:
        size, _, fps = text.partition("@")
        streams, width, height = (int(part) for part in size.split("x"))
        rate = float(fps)
        if not (1 <= streams <= 16 and 1 <= rate <= 240 and 0 < seconds <= 86_400):
            raise ValueError
    except ValueError:
        raise SettingInvalid(f"{text!r} is no plan", "write STREAMSxWIDTHxHEIGHT@FPS") from None
    return Plan(
        width=width,
        height=height,
        fps=rate,
        seconds=seconds,
        streams=streams,
        engine=engine,
        deadline_ms=deadline_ms,
    )


@contextlib.contextmanager
def _service_errors() -> Iterator[None]:
    """The client's errors as one line: the user's when nothing answers or the wish was wrong."""
    from surgiclear_client import Closed, Refused, SurgiclearClientError, Unreachable

    try:
        yield
    except Unreachable as error:
        raise SettingInvalid(str(error), "is `surgiclear serve` running there?") from error
    except Refused as error:
        if error.status in (401, 403):
            raise SettingInvalid(error.message, "give a token with --token-file") from error
        raise Failure(error.message) from error
    except Closed as error:
        if error.code == 4401:
            raise SettingInvalid(error.message, "give a token with --token-file") from error
        raise Failure(str(error)) from error
    except (SurgiclearClientError, ValueError) as error:
        raise SettingInvalid(str(error)) from error


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"cannot read {path}", str(error)) from error
