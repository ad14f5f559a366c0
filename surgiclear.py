"""The front door: one command whose verbs only call into the rooms."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from engines.engine import Backend
from engines.errors import EngineError
from engines.verbs import app as engines_app
from server import verbs
from server.errors import Failure, SettingInvalid, SurgiclearError
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
app.command()(trainer_verbs.curate)


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
for verb in (verbs.serve, verbs.token, verbs.push, verbs.view):
    app.command()(verb)
Data = Annotated[Path | None, typer.Option(help="Folder of clean/ and pairs/.")]


def _data(given: Path | None) -> Path:
    from trainer.dataset import shared_data

    found = given or shared_data()
    if found is None or not found.is_dir():
        raise SettingInvalid("no data folder", "name it with --data or SURGICLEAR_SHARED")
    return found


def _words(text: str, known: Iterable[Word]) -> list[Word]:
    """The words of a comma-separated list. Raises SettingInvalid for one that is not known."""
    table = {str(word): word for word in known}
    for word in (asked := [word.strip() for word in text.split(",") if word.strip()]):
        if word not in table:
            raise SettingInvalid(f"{word!r} is not known", f"choose among {', '.join(table)}")
    return [table[word] for word in asked]


@contextlib.contextmanager
def _training() -> Iterator[None]:
    """The trainer's own errors, and a missing extra, as one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingInvalid(f"{error.name} is missing", "pip install surgiclear[train]") from error
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        raise SettingInvalid(str(error)) from error
    except FloatingPointError as error:
        raise Failure(f"training diverged: {error}") from error


@app.command()
def demo(
    video: Annotated[str | None, typer.Option(help="A video instead of the sample feed.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("demo"),
    engine: Annotated[str | None, typer.Option(help="An engine's name.")] = None,
) -> None:
    """Stream the sample feed through the service and leave before and after in a folder."""
    from server.demo import demo as run

    typer.echo(run(video, out, engine=engine, say=lambda line: typer.echo(line, err=True)))


@app.command()
def recipes() -> None:
    """List what can be trained."""
    with _training():
        from trainer.tasks.verbs import table

        for name, about in table():
            typer.echo(f"{name:28s} {about}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A name that `surgiclear recipes` lists.")],
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="A few steps: shapes, memory, time; writes nothing.")
    ] = False,
    start: Annotated[str | None, typer.Option(help="Checkpoint to begin with.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Checkpoint to learn from.")] = None,
    guard: Annotated[str | None, typer.Option(help="Data that a tuned net must not lose.")] = None,
    steps: Annotated[int | None, typer.Option(help="Stop after so many.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples of a step, over all.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Parts that a batch is cut into.")] = None,
    workers: Annotated[int | None, typer.Option(help="Loading processes.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch.")] = None,
    compile_: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="As the recipe has it.")
    ] = None,
) -> None:
    """Train a recipe; checkpoints in OUT/RECIPE. On several processes: start it by torchrun."""
    with _training():
        from trainer.tasks.run import Settings
        from trainer.tasks.verbs import train as run

        settings = Settings(
            start=start, teacher=teacher, guard=guard, steps=steps, batch=batch,
            accumulate=accumulate, workers=workers, threads=threads, compile=compile_,
        )  # fmt: skip
        done = run(recipe, _data(data), out, resume=resume, dry=dry_run, settings=settings)
    if done is not None:
        typer.echo(f"wrote {done}")


@bench_app.command("align")
def bench_align(
    data: Data = None,
    count: Annotated[int, typer.Option(help="Frames.")] = 8,
    raft: Annotated[Path | None, typer.Option(help="Weights: RAFT instead of DIS.")] = None,
) -> None:
    """How well alignment finds a known movement under synthetic smoke."""
    with _training():
        from trainer.tasks.verbs import bench_align as run

        typer.echo(run(_data(data), count, raft))


@bench_app.command("train")
def bench_train(
    data: Data = None,
    net: Annotated[str, typer.Option(help="A network's name.")] = "focalnet",
    crop: Annotated[int, typer.Option(help="Side in pixels.")] = 128,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 4,
    rounds: Annotated[int, typer.Option(help="How often the two take turns.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps a turn.")] = 4,
    workers: Annotated[int, typer.Option(help="Loading processes of ours.")] = 1,
) -> None:
    """Training throughput beside a plain loop of the same net."""
    with _training():
        from trainer.tasks.verbs import bench_train as run

        typer.echo(
            run(
                _data(data), net, crop=crop, batch=batch, rounds=rounds, steps=steps,
                workers=workers,
            )
        )  # fmt: skip


@app.command()
def publish(
    runs: Annotated[Path, typer.Argument(help="Folder with veil and its folds, as train left it.")],
    output: Annotated[Path, typer.Argument(help="Folder of the bundle to write; its name counts.")],
    version: Annotated[str, typer.Option(help="MAJOR.MINOR.PATCH")],
    data: Data = None,
    history: Annotated[str, typer.Option(help="What the card must add about these runs.")] = "",
) -> None:
    """Calibrate, judge and bundle a trained veil, with its card."""
    with _training():
        from trainer.release import release

        typer.echo(
            release(runs, output, _data(data), version=version, history=history, say=typer.echo)
        )


@app.command()
def degrade(
    clear: Annotated[Path, typer.Argument(help="A clear picture, a folder of them, or a video.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    smoke: Annotated[float, typer.Option(min=0, max=1, help="Severity.")] = 0.0,
    fog: Annotated[float, typer.Option(min=0, max=1, help="Severity.")] = 0.0,
    splash: Annotated[float, typer.Option(min=0, max=1, help="Severity.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Which episode.")] = 0,
) -> None:
    """Put synthetic smoke, fog or splash over clear pictures, and keep the truth."""
    if not smoke + fog + splash:
        raise SettingInvalid("nothing to add", "give --smoke, --fog or --splash above 0")
    with _training():
        from trainer.degrade import Recipe
        from trainer.degrade.write import write

        recipe = Recipe(smoke=smoke, fog=fog, splash=splash)
        rows = write(clear, output, recipe, seed, lambda line: typer.echo(line, err=True))
    typer.echo(f"wrote {len(rows)} frames to {output}")


@bench_app.command("quality")
def bench_quality(
    engine: Annotated[str | None, typer.Option(help="A bundle's name or path.")] = None,
    data: Data = None,
    runs: Annotated[
        Path | None, typer.Option(help="Runs with the folds: judge scenes by unseen nets.")
    ] = None,
    count: Annotated[int, typer.Option(help="Synthetic pictures.")] = 300,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """PSNR, SSIM and exposure-normalised PSNR beside the baselines; detection; clear frames."""
    import json

    with _training():
        from engines.veil import load
        from trainer.report import report

        folds = None
        if runs is not None:
            from trainer.release import unseen

            folds = unseen(runs, _data(data))
        figures, text = report(
            _data(data), load(engine), folds=folds, synthetic_count=count,
            say=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    typer.echo(text)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


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
    with _training():
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
