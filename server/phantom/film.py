"""A phantom feed on disk: a film, its truth beside it, or a sheet of its frames."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from av.video.reformatter import Colorspace, VideoReformatter
from PIL import Image
from rich.console import Console

from server.encode import image_of, usual_choice
from server.errors import SettingInvalid
from server.phantom.feed import Feed
from server.phantom.spec import from_options
from server.progress import Advance, shown, silent
from server.rendered import facts_of
from server.sink import VideoSink
from server.whole import Whole, write_error

SHEET_SIDE, SHEET_TILE_PX = 4, 480  # frames each way, and the widest that one is shown


def order(options: dict[str, str], out: Path, truth: Path | None, console: Console) -> list[str]:
    """What `surgiclear phantom` does. Returns what the user should know of the result."""
    spec = from_options(options)
    if out.suffix.lower() == ".png":
        if truth is not None:
            raise SettingInvalid("a sheet of frames has no truth", "name a film, or leave it out")
        write_sheet(Feed(spec), out)
        return []
    with shown("phantom", console) as advance:
        return write_films(Feed(spec), out, truth, advance)


def write_films(
    feed: Feed, out: Path, truth: Path | None = None, advance: Advance = silent
) -> list[str]:
    """All loops to `out`, and what lies behind them to `truth`; what the user should know of it.

    Both files appear whole or not at all. Raises SettingInvalid for an endless feed and for one
    name given twice, SinkUnwritable and OutputIncomplete for what the disk says.
    """
    spec = feed.spec
    if not spec.loops:
        raise SettingInvalid("an endless feed fits no file", "use loops=1")
    if truth is not None and truth.absolute() == out.absolute():
        raise SettingInvalid(f"{out} is named for the film and for its truth", "name two files")
    facts = facts_of(spec)
    paths = [out] if truth is None else [out, truth]
    with ExitStack() as stack:
        sinks = [stack.enter_context(VideoSink(path)) for path in paths]
        for path, sink in zip(paths, sinks, strict=True):
            sink.prepare(None, facts, usual_choice(path), spec.width, spec.height)
        total = spec.loops * spec.frames
        for index in range(total):
            if truth is None:
                pictures = [feed.picture(index)]
            else:
                frame = feed.frame(index)
                pictures = [frame.picture, frame.truth]
            for sink, picture in zip(sinks, pictures, strict=True):
                sink.write(image_of(picture, facts), index, 1)
            advance(index + 1, total)
        for sink in sinks:
            sink.commit()
        return list(dict.fromkeys(note for sink in sinks for note in sink.notes))


def write_sheet(feed: Feed, out: Path) -> None:
    """Frames of one loop, evenly spread, on one PNG: what the feed looks like at a glance."""
    spec = feed.spec
    wide = min(SHEET_TILE_PX, spec.width)
    tall = max(1, round(wide * spec.height / spec.width))
    sheet = Image.new("RGB", (SHEET_SIDE * wide, SHEET_SIDE * tall))
    facts, reformatter = facts_of(spec), VideoReformatter()
    tiles = SHEET_SIDE * SHEET_SIDE
    for tile in range(tiles):
        image = image_of(feed.picture(tile * spec.frames // tiles), facts)
        small = reformatter.reformat(
            image, wide, tall, "rgb24", src_colorspace=Colorspace.ITU709, interpolation="AREA"
        )
        place = (tile % SHEET_SIDE * wide, tile // SHEET_SIDE * tall)
        sheet.paste(Image.fromarray(small.to_ndarray()), place)
    with Whole(out) as whole:
        try:
            sheet.save(whole.temporary, "PNG")
        except OSError as error:
            raise write_error(out, error) from error
        whole.commit()
