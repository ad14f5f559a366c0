"""The front door: one command whose verbs only call into the rooms."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from engines.engine import Backend
from engines.errors import EngineError
from engines.verbs import app as engines_app
from server import verbs
from server.errors import SettingInvalid, SurgiclearError
from trainer import verbs as trainer_verbs

Word = TypeVar("Word", bound=str)
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restores laparoscopic video. Research software, not a cleared medical device.",
)
app.add_typer(engines_app, name="engines")
app.add_typer(trainer_verbs.dataset_app, name="dataset")


@app.callback()
def _root() -> None:
    """Restores laparoscopic video. Research software, not a cleared medical device."""


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Video, picture, folder or URL.")],
    output: Annotated[Path, typer.Argument(help="Video, picture or folder to write.")],
    engine: Annotated[str | None, typer.Option(help="A bundle's name or path.")] = None,
    compare: Annotated[
        Literal["split", "side", "none"], typer.Option(help="Show raw beside restored.")
    ] = "none",
    report: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    kinds: Annotated[str, typer.Option(help="What to restore.")] = "smoke,fog,splash",
    strength: Annotated[float, typer.Option(help="0 (raw) to 1 (full repair).")] = 1.0,
    reference: Annotated[
        Path | None, typer.Option(help="A clear picture of the same scene.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="libav encoder, as NAME:KEY=VALUE,KEY=VALUE.")
    ] = None,
    provider: Annotated[
        Backend, typer.Option(help="What runs a full-frame engine; veil runs on the CPU.")
    ] = "cpu",
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Take what can be read of a damaged video.")
    ] = False,
    on_gpu: Annotated[
        bool,
        typer.Option("--on-gpu", help="NVDEC to NVENC, no frame leaves the GPU (nv12 engines)."),
    ] = False,
) -> int:
    """Restore a recording, a picture or a folder of pictures."""
    from rich.console import Console

    from server.choose import choose
    from server.restore import ended_by_signals, order_of
    from server.restore import restore as run

    order = order_of(
        source, output, kinds=kinds, strength=strength, compare=compare, reference=reference,
        encoder=encoder, salvage=salvage,
    )  # fmt: skip
    with ended_by_signals() as ending:
        if on_gpu:
            from server.gpu_video import run as run_on_gpu

            typer.echo(run_on_gpu(order, engine, report).sentence())
            return 0
        done = run(
            order, lambda: choose(engine, provider=provider), Console(stderr=True), report, ending
        )
    for note in done.notes:
        typer.echo(f"surgiclear: note: {note}", err=True)
    for failure in done.failed:
        typer.echo(f"surgiclear: {failure}", err=True)
    typer.echo(done.sentence())
    return 2 if done.failed else 0


@app.command()
def phantom(
    output: Annotated[Path, typer.Argument(help="Film to write, or a .png sheet of its frames.")],
    truth: Annotated[
        Path | None, typer.Option(help="Film of the same scene with nothing in the way.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, usually 1280x720.")] = None,
    fps: Annotated[str | None, typer.Option(help="Frames a second, usually 25.")] = None,
    seconds: Annotated[str | None, typer.Option(help="Of one loop, usually 40.")] = None,
    seed: Annotated[str | None, typer.Option(help="Which scene.")] = None,
    episodes: Annotated[
        str | None, typer.Option(help="In order, as smoke,fog,smoke+splash; or none.")
    ] = None,
    level: Annotated[str | None, typer.Option(help="1-4: how much they cover.")] = None,
    splash: Annotated[str | None, typer.Option(help="blood, fat, bile or fluid.")] = None,
    loops: Annotated[str | None, typer.Option(help="How often the scene is played.")] = None,
) -> None:
    """Write the sample feed (source `phantom:`) to a file, with its exact truth."""
    from rich.console import Console

    from server.phantom.film import order
    from server.restore import ended_by_signals

    given = {
        "size": size, "fps": fps, "seconds": seconds, "seed": seed, "episodes": episodes,
        "level": level, "splash": splash, "loops": loops,
    }  # fmt: skip
    with ended_by_signals():
        notes = order(
            {k: v for k, v in given.items() if v is not None}, output, truth, Console(stderr=True)
        )
    for note in notes:
        typer.echo(f"surgiclear: note: {note}", err=True)


bench_app = typer.Typer(no_args_is_help=True, help="Measure quality and speed.")
app.add_typer(bench_app, name="bench")
bench_app.command("live")(verbs.bench_live)
bench_app.command("rtsp")(verbs.bench_rtsp)
bench_app.command("align")(trainer_verbs.bench_align)
bench_app.command("train")(trainer_verbs.bench_train)
bench_app.command("quality")(trainer_verbs.bench_quality)
bench_app.command("nets")(trainer_verbs.bench_nets)
for verb in (verbs.serve, verbs.token, verbs.push, verbs.view):
    app.command()(verb)
for trained in (trainer_verbs.recipes, trainer_verbs.train, trainer_verbs.publish):
    app.command()(trained)
for made in (trainer_verbs.curate, trainer_verbs.degrade):
    app.command()(made)


def _words(text: str, known: Iterable[Word]) -> list[Word]:
    """The words of a comma-separated list. Raises SettingInvalid for one that is not known."""
    table = {str(word): word for word in known}
    for word in (asked := [word.strip() for word in text.split(",") if word.strip()]):
        if word not in table:
            raise SettingInvalid(f"{word!r} is not known", f"choose among {', '.join(table)}")
    return [table[word] for word in asked]


@app.command()
def demo(
    video: Annotated[str | None, typer.Option(help="A video instead of the sample feed.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("demo"),
    engine: Annotated[str | None, typer.Option(help="An engine's name.")] = None,
) -> None:
    """Stream the sample feed through the service and leave before and after in a folder."""
    from server.demo import demo as run

    typer.echo(run(video, out, engine=engine, say=lambda line: typer.echo(line, err=True)))


@bench_app.command("speed")
def bench_speed(
    video: Annotated[Path | None, typer.Argument(help="H.264 clip; made when not given.")] = None,
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT: of a made clip (1280x720), of the engine.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of a made clip; at most, for an engine.")] = 10.0,
    engine: Annotated[str | None, typer.Option(help="A bundle's name or path.")] = None,
    rounds: Annotated[int, typer.Option(help="Bare and restored runs, in turn.")] = 3,
    encoder: Annotated[str | None, typer.Option(help="As of restore.")] = None,
    provider: Annotated[
        str, typer.Option(help="Measure a full-frame engine alone, in these run times (commas).")
    ] = "",
    against: Annotated[
        str, typer.Option(help="The same network in torch beside it: eager, compile (commas).")
    ] = "",
    runs: Annotated[int, typer.Option(min=3, help="Of an engine alone, at most.")] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Frames a second and CPU time beside the bare transcode; or one engine with its roofline."""
    from rich.console import Console

    if provider or against:
        from engines.contest import EAGER, contest
        from engines.engine import BACKENDS
        from engines.store import Store
        from engines.verbs import sides

        if engine is None:
            raise SettingInvalid("no engine is named", "give --engine with --provider")
        sheet = contest(
            Store().find(engine), _words(provider or "cpu", BACKENDS), _words(against, EAGER),
            size=sides(size) if size else None, runs=runs, seconds=seconds,
            progress=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
        if json_file is not None:
            json_file.write_bytes(sheet.to_json())
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(sheet.table())
        return

    from server.choose import choose
    from server.restore import ended_by_signals
    from server.speed import bench

    with ended_by_signals():
        speed = bench(
            lambda: choose(engine), Console(stderr=True), video=video, size=size or "1280x720",
            seconds=seconds, rounds=rounds, encoder=encoder, json_file=json_file,
        )  # fmt: skip
    typer.echo("\n".join(speed.lines()))


@bench_app.command("zoo")
def bench_zoo(
    nets: Annotated[str, typer.Option(help="Networks, by comma.")] = "ramit,focalnet",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT.")] = "320x192",
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Passes; the best counts.")] = 3,
) -> None:
    """Networks in torch on this CPU, beside a matrix product timed in the same run."""
    with trainer_verbs.plainly():  # without torch it names the extra
        from engines.verbs import sides
        from models import RESTORERS
        from models.bench import measure

        for name in nets.split(","):
            if name not in RESTORERS or name in ("veil", "selfsvd"):  # inputs of their own
                raise SettingInvalid(f"no restorer is named {name!r}", ", ".join(RESTORERS))
            typer.echo(measure(name, sides(size), threads=threads, rounds=rounds).line())


@app.command("models")
def models_table() -> None:
    """List the networks that can be trained, exported and loaded."""
    from rich.console import Console

    from models.table import table

    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width to fit into
        console = Console(width=200)
    console.print(table())


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    history: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check a stream's saved event history instead."),
    ] = None,
) -> int:
    """Find out whether this machine can do the work; exit 1 if it cannot."""
    from server.doctor import examine, healthy, to_json

    if history is not None:
        from server import history_report

        finding = history_report.examine_history(history)
        told = [history_report.to_json(finding)] if as_json else history_report.lines(finding)
        for line in told:
            typer.echo(line)
        return 0 if history_report.sound(finding) else 1
    checks = []
    for check in examine():
        checks.append(check)
        if not as_json:
            typer.echo(check.line())
    if as_json:
        typer.echo(to_json(checks))
    return 0 if healthy(checks) else 1


def main() -> None:
    """Runs the command: one line on stderr and exit 2 (user's mistake) or 1 (failure)."""
    debug = "--debug" in sys.argv
    argv = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        code = app(args=argv, standalone_mode=False)
    except (SurgiclearError, EngineError) as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"surgiclear: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except typer.TyperException as error:
        message = error.format_message()  # empty where the help was shown instead
        if message:
            typer.echo(f"surgiclear: {message.rstrip('.')}: see --help", err=True)
        raise SystemExit(2) from None
    except (typer.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
