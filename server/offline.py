"""Restoring what is recorded: decode, detect, restore and encode in four threads that overlap.

The heavy calls of all four release the interpreter lock. Between them are short belts that
wait; whatever fails in one thread stops the others, and the first failure is the one reported.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av

from engines.engine import Info
from engines.picture import Picture, Yuv420
from engines.restorer import KINDS, Restorer
from server.compare import Compare, compared, size_of
from server.conveyor import Conveyor, Stopped
from server.decode import Decoded, Decoder, VideoFacts
from server.encode import EncoderChoice, image_of, usual_choice, write_planes
from server.errors import EngineUnavailable, SettingInvalid
from server.frame import Frame, Result
from server.gate import CaseGate, Gate, GateSettings, Kind
from server.guard import Cause
from server.pipeline import Judged, Pipeline, PipelineSettings, Tally
from server.progress import Advance, silent
from server.rendered import PHANTOM, Rendered
from server.report import Report, Timeline, counts
from server.sink import VideoSink
from server.source import Media, is_url, without_secrets
from server.stages import Stages
from server.stills import read_still

# frames between two stages: enough to smooth, little enough for 4K in memory
BELT_LEAST, BELT_MOST, BELT_BYTES = 4, 12, 32 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is asked for. source: path or URL; reference: a clear picture of the scene; encoder:
    as EncoderChoice.parse, None for the usual one; salvage: take what decodes of damaged input."""

    source: str
    output: Path
    kinds: tuple[Kind, ...] = KINDS
    strength: float = 1.0
    compare: Compare = "none"
    reference: Path | None = None
    encoder: str | None = None
    salvage: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise SettingInvalid(f"strength {self.strength} is out of range", "choose 0 to 1")
        if not self.kinds:
            raise SettingInvalid("no kind to restore", "choose among smoke, fog and splash")


def refuse_same_place(source: str, output: Path) -> None:
    """Raises SettingInvalid where the output would replace its own input."""
    if not is_url(source) and output.exists() and os.path.samefile(source, output):
        raise SettingInvalid(f"{output} is the input itself", "name another output")


def spare_threads() -> int:
    """For the decoder: one on two cores, where each stage needs its share, more on more."""
    return max(1, min(4, len(os.sched_getaffinity(0)) // 2))


def reference_of(order: Order) -> Picture | None:
    return None if order.reference is None else read_still(order.reference).rgb


def prepare(restorer: Restorer, width: int, height: int) -> None:
    """Warms the engine. Raises EngineUnavailable where even that fails."""
    try:
        restorer.warm(width, height)
    except Exception as error:
        raise EngineUnavailable(
            f"the engine could not be prepared for {width}x{height}"
            f" ({type(error).__name__}: {error})",
            "check it with: surgiclear doctor",
        ) from error


def refuse_broken_engine(tally: Tally) -> None:
    """Raises EngineUnavailable where the engine raised on every frame that needed it: raw frames
    under the name of a restored file would deceive."""
    raised = tally.trips[Cause.RAISED]
    if raised and raised == tally.trips.total() and not tally.restored:
        raise EngineUnavailable(
            f"the engine failed on each of the {raised} frames that needed it"
            f" ({tally.first_error})",
            "check it with: surgiclear doctor",
        )


class Moving(Protocol):
    """Decoded pictures in order, and packets of other streams among them."""

    @property
    def facts(self) -> VideoFacts: ...
    def __iter__(self) -> Iterator[Decoded | av.Packet]: ...


def belt_room(width: int, height: int) -> int:
    """Frames that a belt may hold, by their size in 4:2:0."""
    return min(max(BELT_BYTES // (width * height * 3 // 2), BELT_LEAST), BELT_MOST)


class _Crew:
    """Threads that end together. `start` one by one, then `join` in the calling thread, which
    raises the first failure of any of them."""

    def __init__(self, *belts: Conveyor[Any]) -> None:
        self._belts = belts
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(work,), name=name)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Stopped:
            pass  # the failure that stopped the belts is reported by its own thread
        except BaseException as error:
            self._failures.append(error)
            self.stop()

    def stop(self) -> None:
        for belt in self._belts:
            belt.stop()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Runs the block beside the threads; leaves when all have ended."""
        try:
            with contextlib.suppress(Stopped):
                yield
            self._join()
        except BaseException:  # Ctrl-C among them: no thread may outlive the block
            self.stop()
            self._join()
            raise
        if self._failures:
            raise self._failures[0]

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the restoring thread gets; half: None for packets, and where nothing is restored."""

    item: Decoded | av.Packet
    half: Judged | None


@dataclass(frozen=True, slots=True)
class _Finished:
    """What the encoder gets: a packet to pass on, or a frame with its result."""

    item: Decoded | av.Packet
    result: Result | None


def _picture_to_write(
    finished: _Finished, order: Order, facts: VideoFacts
) -> tuple[av.VideoFrame, Decoded]:
    """The image to encode: the decoder's own where nothing was changed."""
    item, result = finished.item, finished.result
    assert isinstance(item, Decoded)
    shown: Picture = item.picture if result is None else result.picture
    if order.compare != "none":
        shown = compared(item.picture, shown, order.compare, sideways=facts.sideways)
    if shown is item.picture:
        return item.image, item
    if not isinstance(shown, Yuv420):
        raise TypeError(f"a video frame came back as {type(shown).__name__}")
    if facts.interlaced and order.compare != "side":
        item.image.make_writable()
        write_planes(item.image, shown)
        return item.image, item
    return image_of(shown, facts), item


def restore_video(
    order: Order,
    restorer: Restorer | None,
    engine: Info,
    *,
    gate: Gate | None = None,
    advance: Advance = silent,
    decoder_threads: int | None = None,
) -> Report:
    """Restores a file or URL into a file; restorer None only transcodes (the measure of speed).

    gate: None for one that follows the case; decoder_threads: None for what leaves the other
    stages their cores. Raises SurgiclearError; then no output is left.
    """
    refuse_same_place(order.source, order.output)
    choice = usual_choice(order.output)
    if order.encoder is not None:
        choice = EncoderChoice.parse(order.encoder)
    reference = reference_of(order)
    stages, timeline = Stages(), Timeline()
    with contextlib.ExitStack() as opened:
        media = None
        decoder: Moving
        if order.source.startswith(PHANTOM):
            decoder = Rendered(order.source, watch=stages)
        else:
            media = opened.enter_context(Media(order.source, salvage=order.salvage))
        sink = opened.enter_context(VideoSink(order.output))
        if media is not None:
            threads = decoder_threads or spare_threads()
            decoder = Decoder(media, threads=threads, watch=stages)
        facts = decoder.facts
        width, height = facts.width, facts.height
        sink.prepare(
            media, facts, choice, *size_of(order.compare, width, height, sideways=facts.sideways)
        )
        pipeline = None
        if restorer is not None:
            pipeline = Pipeline(
                restorer,
                gate=CaseGate(GateSettings(kinds=order.kinds)) if gate is None else gate,
                settings=PipelineSettings(strength=order.strength),
                reference=reference,
                watch=stages,
            )
            prepare(restorer, width, height)
        started = time.perf_counter()
        frames = _run(order, decoder, pipeline, sink, stages, timeline, advance)
        if pipeline is not None:
            refuse_broken_engine(pipeline.tally)
        sink.commit()
        wall_s = time.perf_counter() - started
    tally = Tally(frames) if pipeline is None else pipeline.tally
    raw, guard = counts(tally)
    return Report(
        input=without_secrets(order.source),
        output=str(order.output),
        engine=engine,
        frames=frames,
        restored=tally.restored,
        raw=raw,
        guard=guard,
        width=width,
        height=height,
        fps_in=round(float(facts.rate), 4) if facts.rate else None,
        fps_processed=round(frames / wall_s, 2),
        wall_s=round(wall_s, 3),
        stage_ms=stages.percentiles(),
        detections=tuple(timeline.entries),
        notes=(*facts.losses, *(media.notes if media else ()), *sink.notes),
    )


def _run(
    order: Order,
    decoder: Moving,
    pipeline: Pipeline | None,
    sink: VideoSink,
    stages: Stages,
    timeline: Timeline,
    advance: Advance,
) -> int:
    """The four stages; returns the number of frames. The calling thread detects."""
    facts = decoder.facts
    room = belt_room(facts.width, facts.height)
    decoded: Conveyor[Decoded | av.Packet] = Conveyor(room)
    judged: Conveyor[_Judged] = Conveyor(room)
    finished: Conveyor[_Finished] = Conveyor(room)

    def decode() -> None:
        for item in decoder:
            decoded.put(item)
        decoded.end()

    def restore() -> None:
        while (waiting := judged.get()) is not None:
            half = waiting.half
            done = None if half is None or pipeline is None else pipeline.finish(half)
            finished.put(_Finished(waiting.item, done))
        finished.end()

    def encode() -> None:
        while (done := finished.get()) is not None:
            if not isinstance(done.item, Decoded):
                sink.pass_on(done.item)
                continue
            started = time.perf_counter_ns()
            image, item = _picture_to_write(done, order, facts)
            sink.write(image, item.pts, item.duration)
            stages.add("encode", time.perf_counter_ns() - started)

    crew = _Crew(decoded, judged, finished)
    for work in (decode, restore, encode):
        crew.start(f"surgiclear {work.__name__}", work)
    frames = 0
    with crew.together():
        while (item := decoded.get()) is not None:
            half = None
            if isinstance(item, Decoded):
                if pipeline is not None:
                    half = pipeline.judge(Frame(0, 0, frames, item.time_ns, item.picture, item.pts))
                    timeline.add(item.time_ns * 1e-9, half.detection)
                frames += 1
                advance(frames, facts.frames)
            judged.put(_Judged(item, half))
        judged.end()
    return frames
