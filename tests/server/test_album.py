"""Pictures are restored each on its own; clear ones are the same bytes; bad ones stop nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import picture
from fakes import SMOKY, FakeRestorer, swap_chroma
from PIL import Image

from engines.engine import Info
from engines.picture import Picture, Rgb
from engines.restorer import NOTHING
from server.album import pictures_of, restore_folder, restore_picture
from server.errors import EngineUnavailable, SinkUnwritable, SourceUnreadable
from server.offline import Order

INFO = Info(name="fake", version="1.0.0", sha256="", provider="cpu", detail="")


class Careful(FakeRestorer):
    """Counts what it is told to forget and to remember."""

    resets = 0
    last: Picture | None = None

    def reset(self) -> None:
        self.resets += 1
        self.last = None

    def refer(self, picture: Picture | None) -> None:
        self.last = picture


def png(path: Path, index: int = 0) -> Path:
    Image.fromarray(picture(index, 80, 60)).save(path)
    return path


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as image:
        return np.asarray(image, np.uint8)


def test_a_smoky_picture_is_restored(tmp_path: Path) -> None:
    source = png(tmp_path / "a.png")
    order = Order(source=str(source), output=tmp_path / "b.png")
    report = restore_picture(order, FakeRestorer(), INFO)
    assert np.array_equal(pixels(tmp_path / "b.png"), np.minimum(pixels(source) + 8.0, 255))
    assert (report.frames, report.restored, report.width, report.height) == (1, 1, 80, 60)
    assert report.detections[0].file == "a.png"
    assert set(report.stage_ms) == {"decode", "detect", "restore", "guard", "encode"}


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_clear_picture_is_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    source = png(tmp_path / f"a{suffix}")
    order = Order(source=str(source), output=tmp_path / f"b{suffix}")
    report = restore_picture(order, FakeRestorer(detection=NOTHING), INFO)
    assert (tmp_path / f"b{suffix}").read_bytes() == source.read_bytes()
    assert report.raw["CLEAR"] == 1


def test_a_refused_restoration_is_the_same_bytes_and_counted(tmp_path: Path) -> None:
    source = png(tmp_path / "a.png")
    order = Order(source=str(source), output=tmp_path / "b.png")
    report = restore_picture(order, FakeRestorer(otherwise=swap_chroma), INFO)
    assert (tmp_path / "b.png").read_bytes() == source.read_bytes()
    assert report.guard == {"SWAPPED": 1}
    assert "refused by the guard" in report.sentence()


def test_an_engine_that_raises_gives_no_output(tmp_path: Path) -> None:
    order = Order(source=str(png(tmp_path / "a.png")), output=tmp_path / "b.png")
    with pytest.raises(EngineUnavailable, match="broken"):
        restore_picture(order, FakeRestorer(script={0: RuntimeError("broken")}), INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_the_reference_reaches_the_restorer_for_every_picture(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        png(tmp_path / "in" / f"{i}.png", i)
    reference = png(tmp_path / "clear.png", 9)
    seen: list[Picture | None] = []

    class Asked(Careful):
        def apply(self, picture: Picture, analysis: object, strength: float = 1.0) -> Picture:
            seen.append(self.last)
            return picture

    restorer = Asked()
    order = Order(source=str(tmp_path / "in"), output=tmp_path / "out", reference=reference)
    restore_folder(order, restorer, INFO)
    assert restorer.resets == 3
    assert len(seen) == 3
    for given in seen:
        assert isinstance(given, Rgb)
        assert np.array_equal(given.pixels, pixels(reference))


def test_a_folder_keeps_names_and_formats_and_survives_bad_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.JPG", "c.tiff"):
        png(folder / name)
    (folder / "broken.jpg").write_bytes((folder / "b.JPG").read_bytes()[:500])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("not ours")
    (folder / "below").mkdir()
    done: list[tuple[int, int | None]] = []
    report = restore_folder(
        Order(source=str(folder), output=tmp_path / "out"),
        FakeRestorer(),
        INFO,
        advance=lambda count, total: done.append((count, total)),
    )
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "b.JPG", "c.tiff"]
    for path in out.iterdir():
        with Image.open(path) as new, Image.open(folder / path.name) as old:
            assert (new.format, new.size) == (old.format, old.size)
    assert len(report.failed) == 1
    assert "broken.jpg" in report.failed[0]
    assert report.frames == 3
    assert (report.width, report.height) == (80, 60)
    assert [entry.file for entry in report.detections] == ["a.png", "b.JPG", "c.tiff"]
    assert done[-1] == (4, 4)
    assert any("no pictures" in note for note in report.notes)


def test_a_folder_without_pictures_and_a_wrong_target_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnreadable, match="holds no picture"):
        order = Order(source=str(tmp_path / "empty"), output=tmp_path / "out")
        restore_folder(order, FakeRestorer(), INFO)
    png(tmp_path / "empty" / "a.png")
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "none" / "out"):
        with pytest.raises(SinkUnwritable):
            restore_folder(
                Order(source=str(tmp_path / "empty"), output=target), FakeRestorer(), INFO
            )


def test_a_picture_is_known_by_name_or_content(tmp_path: Path) -> None:
    png(tmp_path / "a.png").rename(tmp_path / "plain")
    (tmp_path / "b.png").write_text("no picture, but called one")
    (tmp_path / "c.mp4").write_text("x")
    assert [p.name for p in pictures_of(tmp_path)] == ["b.png", "plain"]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_comparison_is_upright_and_written_even_when_clear(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(0, 200, 160)).save(tmp_path / "a.png", exif=exif)
    order = Order(source=str(tmp_path / "a.png"), output=tmp_path / "b.png", compare="side")
    restore_picture(order, FakeRestorer(detection=NOTHING), INFO)
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == ((320, 200) if orientation == 6 else (400, 160))
        assert image.getexif().get(0x0112) is None


def test_only_the_kinds_asked_for_are_restored(tmp_path: Path) -> None:
    source = png(tmp_path / "a.png")
    order = Order(source=str(source), output=tmp_path / "b.png", kinds=("fog", "splash"))
    report = restore_picture(order, FakeRestorer(detection=SMOKY), INFO)
    assert report.restored == 0
    assert report.detections[0].smoke == 2
