"""The trainer's verbs: data sets, curation, training, publishing, and what measures them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import TrainingFailed, TrainingRefused

dataset_app = typer.Typer(no_args_is_help=True, help="Check and pack data sets.")
Out = Annotated[Path, typer.Option(help="Folder to write.")]


Data = Annotated[Path | None, typer.Option(help="Folder of clean/ and pairs/.")]


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """The trainer's own errors, and a missing extra, as one line without a traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = "cluster" if error.name == "ray" else "train"
        words = f"{error.name} is missing", f"pip install surgiclear[{extra}]"
        raise TrainingRefused(*words) from error
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        raise TrainingRefused(str(error)) from error
    except FloatingPointError as error:
        raise TrainingFailed(f"training diverged: {error}") from error


def _data(given: Path | None) -> Path:
    from trainer.dataset import shared_data

    found = given or shared_data()
    if found is None or not found.is_dir():
        raise TrainingRefused("no data folder", "name it with --data or SURGICLEAR_SHARED")
    return found


def curate(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="VIDEO_OR_FOLDER", help="Raw surgical video (not with --apply)."),
    ] = None,
    out: Out = Path("curated"),
    apply: Annotated[
        bool, typer.Option("--apply", help="Only make the data set what decisions.csv says.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Videos at a time.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster's address, or local.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="The detector: a veil bundle.")] = None,
    every: Annotated[float, typer.Option(min=0.04, max=5, help="Seconds between samples.")] = 0.5,
) -> int:
    """Find smoke, fog and splashes in raw video; keep each with the clear frame before it."""
    from trainer.curate import order
    from trainer.curate.finder import Settings
    from trainer.curate.workers import Cluster, Here, Pool, Workers

    with plainly():
        if apply:
            done = order.apply(out)
            typer.echo(f"{done.pairs} pairs in {out / 'dataset'}, as decisions.csv says")
            return 0
        if source is None:
            raise TrainingRefused("no video is named", "name a video or a folder of videos")
        workers: Workers = Pool(jobs) if jobs > 1 else Here()
        if ray is not None:
            workers = Cluster(ray)
        done = order.curate(
            source, out, settings=Settings(every_s=every), engine=engine, workers=workers,
            say=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    typer.echo(done.sentence())
    typer.echo(f"look at {out / 'contact-sheet.html'}, edit {out / 'decisions.csv'}, then --apply")
    return 2 if done.failed else 0


@dataset_app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A data set.")],
    names: Annotated[bool, typer.Option("--names", help="Names alone: open no file.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the findings.")] = None,
) -> int:
    """Say what data set a folder is, what it holds, and every problem; exit 1 where there are."""
    from trainer.dataset import check as run

    with plainly():
        report = run(folder, decode=not names)
    if json_file is not None:
        json_file.write_text(report.as_json() + "\n")
    typer.echo("\n".join(report.lines()))
    return 0 if report.sound else 1


@dataset_app.command("pack")
def pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A data set of pictures.")],
    out: Out = Path("shards"),
    per_shard: Annotated[int, typer.Option(min=1, help="Samples in a shard.")] = 500,
) -> None:
    """Pack what is sound into tar shards (WebDataset's naming), which train and check take."""
    from trainer.dataset import check as run
    from trainer.datasets.shards import write

    with plainly():
        report = run(folder)
        left_out = len(report.found.items) - len(report.items)
        shards = write(report.found, report.items, out, per_shard=per_shard)
    typer.echo(f"wrote {len(shards)} shards to {out}; {left_out} unsound items left out")


def recipes() -> None:
    """List what can be trained."""
    with plainly():
        from trainer.tasks.verbs import table

        for name, about in table():
            typer.echo(f"{name:28s} {about}")


def train(
    recipe: Annotated[str, typer.Argument(help="A name that `surgiclear recipes` lists.")],
    data: Annotated[
        Path | None, typer.Option(help="Any data set that `surgiclear dataset check` knows.")
    ] = None,
    kinds: Annotated[
        str | None, typer.Option(help="Only these, as smoke,fog; where the data set tells them.")
    ] = None,
    without: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="Leave out what `dataset check --json` called wrong."),
    ] = None,
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
    with plainly():
        from trainer.feed.data import kinds_of
        from trainer.tasks.run import Settings
        from trainer.tasks.verbs import train as run

        settings = Settings(
            start=start, teacher=teacher, guard=guard, steps=steps, batch=batch,
            accumulate=accumulate, workers=workers, threads=threads, compile=compile_,
        )  # fmt: skip
        done = run(
            recipe, _data(data), out, resume=resume, dry=dry_run, settings=settings,
            kinds=kinds_of(kinds), without=without,
        )  # fmt: skip
    if done is not None:
        typer.echo(f"wrote {done}")


def bench_align(
    data: Data = None,
    count: Annotated[int, typer.Option(help="Frames.")] = 8,
    raft: Annotated[Path | None, typer.Option(help="Weights: RAFT instead of DIS.")] = None,
) -> None:
    """How well alignment finds a known movement under synthetic smoke."""
    with plainly():
        from trainer.tasks.verbs import bench_align as run

        typer.echo(run(_data(data), count, raft))


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
    with plainly():
        from trainer.tasks.verbs import bench_train as run

        typer.echo(
            run(
                _data(data), net, crop=crop, batch=batch, rounds=rounds, steps=steps,
                workers=workers,
            )
        )  # fmt: skip


def publish(
    runs: Annotated[Path, typer.Argument(help="Folder with veil and its folds, as train left it.")],
    output: Annotated[Path, typer.Argument(help="Folder of the bundle to write; its name counts.")],
    version: Annotated[str, typer.Option(help="MAJOR.MINOR.PATCH")],
    data: Data = None,
    history: Annotated[str, typer.Option(help="What the card must add about these runs.")] = "",
) -> None:
    """Calibrate, judge and bundle a trained veil, with its card."""
    with plainly():
        from trainer.release import release

        typer.echo(
            release(runs, output, _data(data), version=version, history=history, say=typer.echo)
        )


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
        raise TrainingRefused("nothing to add", "give --smoke, --fog or --splash above 0")
    with plainly():
        from trainer.degrade import Recipe
        from trainer.degrade.write import write

        recipe = Recipe(smoke=smoke, fog=fog, splash=splash)
        rows = write(clear, output, recipe, seed, lambda line: typer.echo(line, err=True))
    typer.echo(f"wrote {len(rows)} frames to {output}")


def bench_quality(
    engine: Annotated[str | None, typer.Option(help="A bundle's name or path.")] = None,
    data: Data = None,
    runs: Annotated[
        Path | None, typer.Option(help="Runs with the folds: judge scenes by unseen nets.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Synthetic pictures; 1000 unless told.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """PSNR, SSIM and exposure-normalised PSNR beside the baselines; detection; clear frames."""
    import json

    with plainly():
        from engines.veil import load
        from trainer.quality import SYNTHETIC_COUNT
        from trainer.report import report

        folds = None
        if runs is not None:
            from trainer.release import unseen

            folds = unseen(runs, _data(data))
        figures, text = report(
            _data(data), load(engine), folds=folds, synthetic_count=count or SYNTHETIC_COUNT,
            say=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    typer.echo(text)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


def bench_nets(
    net: Annotated[list[Path], typer.Option(help="A checkpoint of the zoo; may be given again.")],
    runs: Annotated[
        Path | None, typer.Option(help="Runs with veil's folds, to judge it on real scenes.")
    ] = None,
    data: Data = None,
    count: Annotated[int, typer.Option(help="Synthetic pictures.")] = 100,
    episodes: Annotated[int, typer.Option(help="Synthetic episodes, beside a reference.")] = 20,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Whole-picture nets beside veil and the baselines, on scenes kept aside; those that take a
    reference beside a good, a stale and a wrong one as well."""
    import json

    with plainly():
        import models
        from engines.veil import load
        from models.steered import Steered
        from trainer import beside
        from trainer.release import unseen
        from trainer.rivals import compare, veils

        def say(line: str) -> None:
            typer.echo(line, err=True)

        root = _data(data)
        nets = {str(path): models.load(path, steered=True).eval() for path in net}
        veil_for = veils(load(), unseen(runs, root) if runs is not None else None)
        figures: dict[str, object] = {}
        if count:
            found = compare(root, nets, veil_for, count=count, say=say)
            figures |= {"real": found.real.as_dict(), "synthetic": found.synthetic.as_dict()}
            typer.echo(found.text())
        steered = {name: n for name, n in nets.items() if isinstance(n, Steered)}
        if steered:
            referred = beside.compare(root, steered, veil_for, episodes=episodes, say=say)
            figures["beside"] = referred.as_dict()
            typer.echo(referred.text())
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n")
