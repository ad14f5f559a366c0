"""The loop of a recording that stays on the GPU, with the host standing for the card."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from fakes import FakeRestorer
from gpus import FakeDevice
from planes import BRIGHTER, H, PlaneContext, PlaneTrt, W, plane_bundle

from engines.cuda import Bytes
from engines.dlpack import CPU, Plane, take
from engines.engine import Info
from engines.fullframe import FullFrame
from engines.ongpu import Frames
from engines.trt import TensorRt
from server.errors import EngineUnavailable, SourceUnreadable, SurgiclearError
from server.gpu_video import Nvidia, restore_on_gpu
from server.offline import Order

INFO = Info(name="planes", version="1.0.0", sha256="", provider="tensorrt", detail="fake")


@dataclass
class HostDevice(FakeDevice):
    """The simulated GPU with memory of this process, which other libraries can read."""

    owned: list[Bytes] = field(default_factory=list)

    def allocate(self, size: int) -> int:
        self.owned.append(np.full(size, 0xAA, np.uint8))
        address = int(self.owned[-1].ctypes.data)
        self.memory[address] = self.owned[-1]
        return address


class Host:
    """Decodes and encodes on the CPU, in the card's plane format."""

    def __init__(self) -> None:
        self.taken: list[Plane] = []
        self.given: list[int] = []

    def open(self, location: str) -> Any:
        return av.open(location)

    def add_stream(self, container: Any, rate: Fraction, width: int, height: int) -> Any:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "nv12"
        return stream

    def planes(self, image: Any) -> tuple[Plane, Plane]:
        luma, chroma = (take(plane) for plane in image.reformat(format="nv12").planes)
        self.taken.append(luma)
        return luma, chroma

    def image(self, luma: Plane, chroma: Plane) -> Any:
        self.given.append(luma.address)
        return av.VideoFrame.from_dlpack((luma, chroma), format="nv12")


def clip(path: Path, frames: int = 12, size: tuple[int, int] = (W, H)) -> Path:
    """A still scene with a tone."""
    rng = np.random.default_rng(1)
    scene = rng.integers(40, 160, (size[1] // 4, size[0] // 4, 3), np.uint8)
    scene = scene.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "1", "bf": "0"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = container.add_stream("aac", rate=44100)
        for _ in range(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(scene, format="rgb24")))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 44100 // 2), np.float32), "fltp", "mono")
        tone.sample_rate = 44100
        container.mux(sound.encode(tone))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path


@dataclass
class Bench:
    restorer: FullFrame
    device: HostDevice
    frames: Frames
    detector: FakeRestorer


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bundle = plane_bundle(tmp_path / "planes")
    device = HostDevice()
    engine = TensorRt(bundle, b"plan", device, trt=PlaneTrt(bundle, PlaneContext(device)))
    frames, detector = Frames(device, W, H, place=(CPU, 0)), FakeRestorer()
    return Bench(FullFrame(engine, bundle.manifest, detector, frames), device, frames, detector)


def luma_of(path: Path) -> tuple[list[Any], list[int]]:
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    return [f.to_ndarray(format="gray") for f in decoded], [f.pts for f in decoded]


def test_a_recording_is_restored_where_it_lies(bench: Bench, tmp_path: Path) -> None:
    source, out, host = clip(tmp_path / "in.mp4"), tmp_path / "out.mp4", Host()
    order = Order(source=str(source), output=out, strength=1.0)
    report = restore_on_gpu(order, bench.restorer, INFO, bench.frames, hardware=host)
    assert (report.frames, report.restored, report.guard) == (12, 12, {})
    assert (report.width, report.height, report.fps_in) == (W, H, 25.0)
    before, times = luma_of(source)
    after, same_times = luma_of(out)
    assert times == same_times
    assert len(after) == 12
    change = np.mean(after[6].astype(int)) - np.mean(before[6])
    assert abs(change - BRIGHTER * 255 / 219) < 6  # `gray` spreads 16-235
    with av.open(str(out)) as container:
        assert [s.type for s in container.streams] == ["video", "audio"]
        assert sum(1 for _ in container.decode(audio=0)) > 10
    # what the encoder was given is what the network wrote, in the device's own memory
    assert set(host.given) <= set(bench.device.memory)
    assert {"decode", "detect", "restore", "guard", "encode"} <= set(report.stage_ms)


def test_a_raw_frame_leaves_as_the_decoders_own_planes(bench: Bench, tmp_path: Path) -> None:
    from engines.restorer import NOTHING

    bench.detector.detection = NOTHING
    host, out = Host(), tmp_path / "out.mp4"
    order = Order(source=str(clip(tmp_path / "in.mp4")), output=out)
    report = restore_on_gpu(order, bench.restorer, INFO, bench.frames, hardware=host)
    assert (report.restored, report.raw["CLEAR"]) == (0, 12)
    assert host.given == [plane.address for plane in host.taken]


@pytest.mark.parametrize("fault", ["another size", "no video", "a failing engine"])
def test_what_fails_leaves_no_output(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    wanted: type[SurgiclearError] = SourceUnreadable
    if fault == "another size":
        clip(source, size=(W + 8, H))
        wanted = EngineUnavailable
    elif fault == "no video":
        source.write_bytes(b"nothing")
    else:
        clip(source)
        wanted = EngineUnavailable
        warm = bench.restorer.warm

        def then_break(width: int, height: int) -> None:
            warm(width, height)
            bench.device.broken = True

        monkeypatch.setattr(bench.restorer, "warm", then_break)
    with pytest.raises(wanted):
        restore_on_gpu(
            Order(source=str(source), output=out), bench.restorer, INFO, bench.frames,
            hardware=Host(),
        )  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "planes"]


def test_frames_that_the_card_did_not_decode_are_refused() -> None:
    image = SimpleNamespace(format=SimpleNamespace(name="yuv420p"), planes=())
    with pytest.raises(SourceUnreadable, match="does not decode this video"):
        Nvidia().planes(image)
    deep = np.zeros((4, 4), np.uint16)
    image = SimpleNamespace(format=SimpleNamespace(name="cuda"), planes=(deep, deep))
    with pytest.raises(SourceUnreadable, match="other planes"):
        Nvidia().planes(image)
