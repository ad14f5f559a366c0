"""A recording restored without leaving the GPU: NVDEC decodes, the network restores, NVENC encodes.

PyAV hands the decoder's planes over by DLPack and takes the restored ones the same way. Only what
detection and the guard read is copied to the host. What the card does is behind `Hardware`, so
that the loop is tested without one. No GPU has run this yet.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
from av.codec.hwaccel import HWAccel

from engines.contract import COLOUR
from engines.dlpack import Plane, take
from engines.engine import Info
from engines.errors import BundleMissing, EngineError
from engines.ongpu import Frames, OnGpu
from engines.restorer import Restorer
from server.errors import EngineUnavailable, OutputIncomplete, SettingInvalid, SourceUnreadable
from server.frame import Frame, Provenance
from server.gate import CaseGate
from server.offline import Order, prepare, refuse_broken_engine, refuse_same_place
from server.pipeline import Pipeline, PipelineSettings
from server.progress import Advance, silent
from server.report import Report, Timeline, counts
from server.source import without_secrets
from server.stages import Stages
from server.whole import Whole

IN_FLIGHT = 8  # frames that the encoder may still read: their planes are not used again


class Hardware(Protocol):
    """What decodes into GPU memory and encodes from it."""

    def open(self, location: str) -> Any: ...
    def add_stream(self, container: Any, rate: Fraction, width: int, height: int) -> Any: ...
    def planes(self, image: Any) -> tuple[Plane, Plane]: ...
    def image(self, luma: Plane, chroma: Plane) -> Any: ...


@dataclass(frozen=True, slots=True)
class Nvidia:
    """NVDEC and NVENC through PyAV. index: of the GPU."""

    index: int = 0
    encoder: str = "h264_nvenc"

    def open(self, location: str) -> Any:
        return av.open(location, hwaccel=self._accelerator())

    def add_stream(self, container: Any, rate: Fraction, width: int, height: int) -> Any:
        options = {"preset": "p4", "cq": "18", "bf": "0"}
        stream = container.add_stream(
            self.encoder, rate=rate, options=options, hwaccel=self._accelerator()
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "nv12"
        return stream

    def planes(self, image: Any) -> tuple[Plane, Plane]:
        """Raises SourceUnreadable for a frame that was not decoded on the GPU as 8-bit 4:2:0."""
        if image.format.name != "cuda":
            raise SourceUnreadable(
                f"the GPU does not decode this video ({image.format.name})", "leave --on-gpu out"
            )
        try:
            luma, chroma = (take(plane) for plane in image.planes)
        except (ValueError, NotImplementedError) as error:
            raise SourceUnreadable(
                f"the GPU decodes this video to other planes ({error})", "leave --on-gpu out"
            ) from error
        return luma, chroma

    def image(self, luma: Plane, chroma: Plane) -> Any:
        return av.VideoFrame.from_dlpack(
            (luma, chroma), format="nv12", device_id=self.index, primary_ctx=True
        )

    def _accelerator(self) -> HWAccel:
        return HWAccel(
            "cuda", device=str(self.index), allow_software_fallback=False, is_hw_owned=True
        )


class _Reel:
    """The output: pictures encoded, sound copied, whole or not at all."""

    def __init__(self, source: Any, path: Path, hardware: Hardware, size: tuple[int, int]) -> None:
        self._whole = Whole(path)
        self._hardware = hardware
        self._kept: deque[Any] = deque(maxlen=IN_FLIGHT)
        video = source.streams.video[0]
        self._container = av.open(f"file:{self._whole.temporary.absolute()}", "w")
        rate = video.average_rate or Fraction(25)
        self._stream = hardware.add_stream(self._container, rate, *size)
        self._stream.time_base = self._stream.codec_context.time_base = video.time_base
        self._sound = {
            stream.index: self._container.add_stream_from_template(stream)
            for stream in source.streams.audio
        }

    def write(self, picture: OnGpu, pts: int, time_base: Fraction) -> None:
        image = self._hardware.image(picture.luma, picture.chroma)
        image.pts, image.time_base = pts, time_base
        self._kept.append(picture)
        self._container.mux(self._stream.encode(image))

    def pass_on(self, packet: Any) -> None:
        copy = self._sound.get(packet.stream_index)
        if copy is not None and packet.dts is not None:
            packet.stream = copy
            self._container.mux(packet)

    def commit(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._whole.commit()

    def discard(self) -> None:
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()
        self._whole.discard()


def restore_on_gpu(
    order: Order,
    restorer: Restorer,
    engine: Info,
    frames: Frames,
    *,
    hardware: Hardware | None = None,
    advance: Advance = silent,
) -> Report:
    """A file into a file. restorer: of the nv12 contract, with the same `frames`; raw frames leave
    as the decoder's own planes. Raises SurgiclearError; then no output is left."""
    hardware = hardware or Nvidia()
    refuse_same_place(order.source, order.output)
    stages, timeline = Stages(), Timeline()
    with contextlib.ExitStack() as opened:
        try:
            source = opened.enter_context(hardware.open(order.source))
            video = source.streams.video[0]
        except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
            raise SourceUnreadable(
                f"{without_secrets(order.source)} cannot be decoded on the GPU"
                f" ({str(error).lower()})",
                "leave --on-gpu out",
            ) from error
        width, height = video.codec_context.width, video.codec_context.height
        prepare(restorer, width, height)
        pipeline = Pipeline(
            restorer,
            gate=CaseGate(),
            settings=PipelineSettings(strength=order.strength),
            watch=stages,
        )
        try:
            reel = _Reel(source, order.output, hardware, (width, height))
            opened.callback(reel.discard)
            started = time.perf_counter()
            count = 0
            for packet in source.demux():
                if packet.stream_index != video.index:
                    reel.pass_on(packet)
                    continue
                for image in packet.decode():
                    at = time.perf_counter_ns()
                    picture = frames.picture(*hardware.planes(image), COLOUR)
                    stages.add("decode", time.perf_counter_ns() - at)
                    pts = count if image.pts is None else image.pts
                    time_ns = int(pts * video.time_base * 1_000_000_000)
                    result = pipeline.step(Frame(0, 0, count, time_ns, picture, pts))
                    timeline.add(time_ns * 1e-9, result.detection)
                    restored = result.provenance is Provenance.RESTORED
                    shown = result.picture if restored else picture
                    assert isinstance(shown, OnGpu)
                    at = time.perf_counter_ns()
                    reel.write(shown, pts, video.time_base)
                    stages.add("encode", time.perf_counter_ns() - at)
                    count += 1
                    advance(count, video.frames or None)
            refuse_broken_engine(pipeline.tally)
            reel.commit()
        except EngineError as error:
            raise EngineUnavailable(error.what, error.do) from error
        except ValueError as error:  # planes of another size or kind
            raise SourceUnreadable(
                f"the GPU gave other planes ({error})", "leave --on-gpu out"
            ) from error
        except (av.error.FFmpegError, OSError) as error:
            raise OutputIncomplete(
                f"writing {order.output} stopped: {str(error).lower()}"
            ) from error
        wall_s = time.perf_counter() - started
    raw, guard = counts(pipeline.tally)
    rate = video.average_rate
    return Report(
        input=without_secrets(order.source), output=str(order.output), engine=engine,
        frames=count, restored=pipeline.tally.restored, raw=raw, guard=guard, width=width,
        height=height, fps_in=round(float(rate), 4) if rate else None,
        fps_processed=round(count / wall_s, 2), wall_s=round(wall_s, 3),
        stage_ms=stages.percentiles(), detections=tuple(timeline.entries),
    )  # fmt: skip


def run(order: Order, name: str | None, report: Path | None) -> Report:
    """`restore --on-gpu`. Raises SurgiclearError."""
    from engines.choice import restorer_on_gpu  # imports numba and the run time
    from engines.store import Store

    if name is None:
        raise SettingInvalid("no engine is named", "give --engine: one of the nv12 contract")
    try:
        store = Store()
        bundle = store.find(name)
        restorer, frames = restorer_on_gpu(bundle, store)
    except BundleMissing as error:
        raise SettingInvalid(error.what, error.do) from error
    except EngineError as error:
        raise EngineUnavailable(error.what, error.do) from error
    manifest = bundle.manifest
    info = Info(
        name=manifest.name, version=manifest.version, sha256=bundle.sha256, provider="tensorrt",
        detail=manifest.architecture,
    )  # fmt: skip
    with contextlib.closing(restorer):
        done = restore_on_gpu(order, restorer, info, frames)
    if report is not None:
        report.write_bytes(done.to_json())
    return done
