"""Pictures restored one by one, each on its own: a file, or a folder of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from engines.engine import Info
from engines.picture import Picture, Rgb
from engines.restorer import Restorer
from server.compare import compared
from server.errors import SinkUnwritable, SourceUnreadable
from server.frame import Frame, Provenance, Result
from server.gate import StillGate
from server.offline import Order, reference_of, refuse_broken_engine, refuse_same_place
from server.pipeline import Pipeline, PipelineSettings
from server.progress import Advance, silent
from server.report import Report, Timeline, counts
from server.source import is_picture
from server.stages import Stages
from server.stills import FORMAT_OF, Still, as_shown, format_for, read_still, upright, write_still
from server.whole import Whole, reason


def _rgb(picture: Picture) -> Rgb:
    if not isinstance(picture, Rgb):
        raise TypeError(f"a picture file came back as {type(picture).__name__}")
    return picture


class _Studio:
    """The chain for pictures that have nothing to do with each other."""

    def __init__(self, order: Order, restorer: Restorer) -> None:
        self.order = order
        self.stages = Stages()
        self.timeline = Timeline()
        self.notes: list[str] = []
        self.pipeline = Pipeline(
            restorer,
            gate=StillGate(order.kinds),
            settings=PipelineSettings(strength=order.strength),
            reference=reference_of(order),
            watch=self.stages,
        )
        self._count = 0

    def restore(self, source: Path, output: Path) -> Still:
        """One file into one file. An untouched picture is the same bytes."""
        started = time.perf_counter_ns()
        still = read_still(source)
        format_for(output, still)  # refuses a wrong suffix before the work
        self.stages.add("decode", time.perf_counter_ns() - started)
        # an epoch each: the restorer forgets the picture before
        result = self.pipeline.step(Frame(0, self._count, 0, 0, still.rgb))
        self._count += 1
        refuse_broken_engine(self.pipeline.tally)
        self.timeline.add_still(source.name, result.detection)
        started = time.perf_counter_ns()
        self._write(still, result, output)
        self.stages.add("encode", time.perf_counter_ns() - started)
        return still

    def _write(self, still: Still, result: Result, output: Path) -> None:
        order = self.order
        untouched = result.provenance is Provenance.RAW
        if order.compare != "none":
            turned, done = as_shown(still), upright(still, _rgb(result.picture))
            write_still(turned, _rgb(compared(turned.rgb, done, order.compare)), output)
            return
        if untouched and format_for(output, still) == still.format:
            with Whole(output) as whole:
                whole.write_bytes(still.path.read_bytes())
                whole.commit()
            return
        if not untouched:
            self.notes.extend(loss for loss in still.losses if loss not in self.notes)
        write_still(still, _rgb(result.picture), output)

    def report(
        self, engine: Info, wall_s: float, size: tuple[int, int] | None, failed: list[str]
    ) -> Report:
        tally = self.pipeline.tally
        raw, guard = counts(tally)
        width, height = size if size is not None else (None, None)
        return Report(
            input=self.order.source,
            output=str(self.order.output),
            engine=engine,
            frames=tally.frames,
            restored=tally.restored,
            raw=raw,
            guard=guard,
            width=width,
            height=height,
            fps_in=None,
            fps_processed=round(tally.frames / wall_s, 2),
            wall_s=round(wall_s, 3),
            stage_ms=self.stages.percentiles(),
            detections=tuple(self.timeline.entries),
            notes=tuple(self.notes),
            failed=tuple(failed),
        )


def restore_picture(order: Order, restorer: Restorer, engine: Info) -> Report:
    """One picture file into another, in its own format. Raises SurgiclearError."""
    refuse_same_place(order.source, order.output)
    started = time.perf_counter()
    studio = _Studio(order, restorer)
    still = studio.restore(Path(order.source), order.output)
    size = still.rgb.width, still.rgb.height
    return studio.report(engine, time.perf_counter() - started, size, [])


def restore_folder(
    order: Order, restorer: Restorer, engine: Info, *, advance: Advance = silent
) -> Report:
    """Every picture of a folder (not of its subfolders) into the same name in another folder.

    Each output is whole or absent. A picture that cannot be read is listed in the report's
    `failed` and the others go on. Raises SurgiclearError for what concerns them all.
    """
    folder, output = Path(order.source), order.output
    refuse_same_place(order.source, output)
    if output.exists() and not output.is_dir():
        raise SinkUnwritable(f"{output} is a file", "a folder of pictures needs a folder")
    pictures = pictures_of(folder)
    if not pictures:
        raise SourceUnreadable(f"{folder} holds no picture", "subfolders are not searched")
    try:
        output.mkdir(exist_ok=True)
    except OSError as error:
        raise SinkUnwritable(f"{output} cannot be created", reason(error)) from error
    started = time.perf_counter()
    studio = _Studio(order, restorer)
    left = sum(entry.is_file() for entry in os.scandir(folder)) - len(pictures)
    if left:
        studio.notes.append(f"{left} files that are no pictures are left out")
    failed: list[str] = []
    sizes: set[tuple[int, int]] = set()
    for done, path in enumerate(pictures, 1):
        try:
            still = studio.restore(path, output / path.name)
        except SourceUnreadable as error:
            failed.append(str(error))
        else:
            sizes.add((still.rgb.width, still.rgb.height))
        advance(done, len(pictures))
    size = sizes.pop() if len(sizes) == 1 else None
    return studio.report(engine, time.perf_counter() - started, size, failed)


def pictures_of(folder: Path) -> list[Path]:
    """The picture files of a folder by name; hidden ones are not ours. A file that is called a
    picture and is none is listed, so that reading it says so."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and path.is_file()
        and (path.suffix.lower() in FORMAT_OF or is_picture(path))
    )
