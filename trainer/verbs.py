"""The verbs of the trainer's data: `curate`, and `dataset check` and `dataset pack`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

dataset_app = typer.Typer(no_args_is_help=True, help="Check and pack data sets.")
Out = Annotated[Path, typer.Option(help="Folder to write.")]


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """A user's mistake as one line, without a traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = "cluster" if error.name == "ray" else "train"
        message = f"{error.name} is missing: pip install surgiclear[{extra}]"
        raise typer.BadParameter(message) from error
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from error


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

    with _plainly():
        if apply:
            done = order.apply(out)
            typer.echo(f"{done.pairs} pairs in {out / 'dataset'}, as decisions.csv says")
            return 0
        if source is None:
            raise typer.BadParameter("name a video or a folder of videos")
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

    with _plainly():
        report = run(folder, decode=not names)
    if json_file is not None:
        json_file.write_text(report.as_json() + "\n")
    typer.echo("\n".join(report.lines()))
    return 0 if report.sound else 1


@dataset_app.command("pack")
def pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A data set of pairs.")],
    out: Out = Path("shards"),
    per_shard: Annotated[int, typer.Option(min=1, help="Pairs in a shard.")] = 500,
) -> None:
    """Pack sound pairs into tar shards (WebDataset's naming) for slow disks and networks."""
    from trainer.dataset import check as run
    from trainer.datasets.shards import write

    with _plainly():
        report = run(folder)
        left_out = len(report.found.items) - len(report.items)
        shards = write(report.items, out, per_shard=per_shard)
    typer.echo(f"wrote {len(shards)} shards to {out}; {left_out} unsound items left out")
