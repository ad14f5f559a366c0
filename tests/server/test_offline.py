"""A video goes through whole: count, times, sound, untouched clear frames, and clean endings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make, read
from fakes import SMOKY, FakeRestorer, flat, swap_chroma

from engines.engine import Info
from engines.picture import Picture
from engines.restorer import NOTHING, Analysis
from server.compare import Compare
from server.errors import EngineUnavailable, OutputIncomplete, SettingInvalid, SourceUnreadable
from server.gate import OpenGate
from server.offline import Order, belt_room, refuse_same_place, restore_video

INFO = Info(name="fake", version="1.0.0", sha256="", provider="cpu", detail="")
LOSSLESS = "libx264:qp=0,preset=ultrafast"


def order(source: Path, output: Path, **changes: Any) -> Order:
    return Order(source=str(source), output=output, **{"encoder": LOSSLESS, **changes})


def test_every_frame_arrives_once_at_its_time(tmp_path: Path) -> None:
    times = [700 * i * i + 40 * i + 9000 for i in range(30)]
    source = make(
        tmp_path / "a.mp4", frames=30, time_base=Fraction(1, 90000), times=times, audio="aac"
    )
    report = restore_video(order(source, tmp_path / "b.mp4"), FakeRestorer(), INFO)
    before, after = read(source), read(tmp_path / "b.mp4")
    assert after.times == before.times
    assert after.audio == before.audio
    assert (report.frames, report.restored) == (30, 30)
    for old, new in zip(before.lumas, after.lumas, strict=True):
        assert np.array_equal(new, np.minimum(old + 8.0, 235))


def test_clear_frames_are_untouched(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", frames=10)
    report = restore_video(order(source, tmp_path / "b.mp4"), FakeRestorer(detection=NOTHING), INFO)
    assert (report.restored, report.raw["CLEAR"]) == (0, 10)
    before, after = read(source), read(tmp_path / "b.mp4")
    for old, new in zip(before.lumas + before.chromas, after.lumas + after.chromas, strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("damage", [flat, swap_chroma, RuntimeError("engine fell over")])
def test_a_bad_frame_is_the_raw_one(
    tmp_path: Path, damage: Callable[[Picture], Picture] | Exception
) -> None:
    source = make(tmp_path / "a.mp4", frames=8)
    restorer = FakeRestorer(script={3: damage})
    report = restore_video(order(source, tmp_path / "b.mp4"), restorer, INFO, gate=OpenGate())
    assert (report.restored, report.raw["GUARD"]) == (7, 1)
    assert sum(report.guard.values()) == 1
    before, after = read(source), read(tmp_path / "b.mp4")
    assert np.array_equal(after.lumas[3], before.lumas[3])
    assert not np.array_equal(after.lumas[4], before.lumas[4])


def test_an_engine_that_only_raises_leaves_no_file(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", frames=4)
    broken = dict.fromkeys(range(4), RuntimeError("no maps"))
    with pytest.raises(EngineUnavailable, match="each of the 4 frames.*no maps"):
        restore_video(order(source, tmp_path / "b.mp4"), FakeRestorer(script=broken), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_detections_follow_the_film(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", frames=20)
    restorer = FakeRestorer(detection=NOTHING, detections=dict.fromkeys(range(5, 20), SMOKY))
    report = restore_video(order(source, tmp_path / "b.mp4"), restorer, INFO)
    before, after = report.detections
    assert (before.t_s, before.smoke, after.smoke) == (0.0, 0, 2)
    assert 0.2 <= after.t_s <= 0.32  # the gate takes its time to believe it
    assert 0 < report.restored < 20  # the gate fades in


def test_the_rotation_of_interlaced_and_full_range_input_is_kept(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "r": {"rotation": 90},
        "i": {"interlaced": True},
        "f": {"color_range": 2, "colorspace": 1},
        "l": {"color_range": 1, "colorspace": 5},
    }
    for name, changes in kinds.items():
        source = make(tmp_path / f"{name}.mp4", **changes)
        restore_video(
            order(source, tmp_path / f"{name}_out.mp4", encoder=None), FakeRestorer(), INFO
        )
        before, after = read(source), read(tmp_path / f"{name}_out.mp4")
        for field in ("rotations", "interlaced", "ranges", "spaces", "sizes", "times"):
            assert getattr(after, field) == getattr(before, field), (name, field)
        raised = np.mean(after.lumas[5].astype(float) - before.lumas[5])
        assert 7 < raised < 9, name


@pytest.mark.parametrize("compare", ["split", "side"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_comparisons(tmp_path: Path, compare: Compare, rotation: int) -> None:
    source = make(tmp_path / "a.mp4", rotation=rotation)
    restore_video(order(source, tmp_path / "b.mp4", compare=compare), FakeRestorer(), INFO)
    before, after = read(source), read(tmp_path / "b.mp4")
    axis = 0 if rotation else 1
    size = list(next(iter(before.sizes)))
    size[1 - axis] *= 1 + (compare == "side")
    assert after.sizes == {tuple(size)}
    first, second = np.array_split(after.lumas[4].astype(float), 2, axis)
    raw = before.lumas[4].astype(float)
    halves = (raw, raw) if compare == "side" else np.array_split(raw, 2, axis)
    assert abs(np.median(first - halves[0])) < 0.5
    assert abs(np.median(second - halves[1]) - 8) < 0.5


def test_a_bare_transcode_needs_no_engine(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4")
    report = restore_video(order(source, tmp_path / "b.mp4"), None, INFO)
    assert (report.frames, report.restored) == (12, 0)
    assert set(report.stage_ms) == {"decode", "encode"}
    assert np.array_equal(read(tmp_path / "b.mp4").lumas[3], read(source).lumas[3])


def test_orders_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4")
    with pytest.raises(SettingInvalid, match="strength"):
        order(source, tmp_path / "b.mp4", strength=1.1)
    with pytest.raises(SettingInvalid, match="kind"):
        order(source, tmp_path / "b.mp4", kinds=())
    (tmp_path / "link.mp4").symlink_to(source)
    for same in (source, tmp_path / "." / "a.mp4", tmp_path / "link.mp4"):
        with pytest.raises(SettingInvalid, match="the input itself"):
            refuse_same_place(str(source), same)
    with pytest.raises(SettingInvalid, match="input itself"):
        restore_video(order(source, source), FakeRestorer(), INFO)


def test_strength_zero_is_bypass(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", frames=5)
    report = restore_video(order(source, tmp_path / "b.mp4", strength=0.0), FakeRestorer(), INFO)
    assert report.raw["BYPASS"] == 5


def alive() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("surgiclear")}


class Interrupted(FakeRestorer):
    """Ctrl-C while a frame is being restored."""

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        if analysis.maps == 6:
            raise KeyboardInterrupt
        return super().apply(picture, analysis, strength)


def test_ctrl_c_leaves_no_file_and_no_thread(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", frames=30)
    with pytest.raises(KeyboardInterrupt):
        restore_video(order(source, tmp_path / "b.mp4"), Interrupted(), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert alive() == set()


def test_a_failure_while_decoding_ends_everything(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mov", codec="png", pixel_format="rgb24", frames=30)
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    source.write_bytes(bytes(data))
    with pytest.raises(SourceUnreadable, match="damaged at"):
        restore_video(order(source, tmp_path / "b.mp4"), FakeRestorer(), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mov"]
    assert alive() == set()
    report = restore_video(order(source, tmp_path / "b.mp4", salvage=True), FakeRestorer(), INFO)
    assert 10 < report.frames < 30
    assert any("damaged" in note for note in report.notes)


def test_a_failure_while_encoding_ends_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "a.mp4", frames=30)
    written = []

    def full(self: object, image: object, pts: int, duration: int) -> None:
        written.append(pts)
        if len(written) == 5:
            raise OutputIncomplete("no room to write b.mp4")

    monkeypatch.setattr("server.sink.VideoSink.write", full)
    with pytest.raises(OutputIncomplete, match="no room"):
        restore_video(order(source, tmp_path / "b.mp4"), FakeRestorer(), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert alive() == set()


def test_the_engine_is_warmed_for_the_size(tmp_path: Path) -> None:
    warmed: list[tuple[int, int]] = []

    class Warm(FakeRestorer):
        def warm(self, width: int, height: int) -> None:
            warmed.append((width, height))

    source = make(tmp_path / "a.mp4")
    restore_video(order(source, tmp_path / "b.mp4"), Warm(), INFO)
    assert warmed == [(96, 64)]


def test_an_engine_that_cannot_be_prepared_is_said(tmp_path: Path) -> None:
    class Cold(FakeRestorer):
        def warm(self, width: int, height: int) -> None:
            raise OSError(28, "No space left on device")

    source = make(tmp_path / "a.mp4")
    with pytest.raises(EngineUnavailable, match="prepared for 96x64.*No space left"):
        restore_video(order(source, tmp_path / "b.mp4"), Cold(), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_belts_hold_less_of_larger_frames() -> None:
    assert belt_room(96, 64) == belt_room(1280, 720) == 12
    assert 4 < belt_room(1920, 1080) < 12
    assert belt_room(3840, 2160) == 4


def test_a_phantom_is_a_source(tmp_path: Path) -> None:
    url = "phantom:?size=160x96&seconds=1&fps=10"
    report = restore_video(Order(source=url, output=tmp_path / "b.mp4"), FakeRestorer(), INFO)
    assert report.frames == 10
    after = read(tmp_path / "b.mp4")
    assert after.sizes == {(160, 96)}
    assert [float(t) for t in after.times] == pytest.approx([i / 10 for i in range(10)])
    with pytest.raises(SettingInvalid, match="never ends"):
        endless = replace(Order(source=url, output=tmp_path / "c.mp4"), source=url + "&loops=0")
        restore_video(endless, FakeRestorer(), INFO)
