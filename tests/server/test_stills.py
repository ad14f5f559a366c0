"""Pictures come back in their own format, depth and orientation; odd ones are refused plainly."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import picture
from numpy.typing import NDArray
from PIL import Image

from engines.picture import Rgb
from server.errors import SettingInvalid, SourceUnreadable
from server.stills import as_shown, format_for, read_still, upright, write_still


def saved(path: Path, mode: str = "RGB", **options: Any) -> Path:
    image = Image.fromarray(picture(0, 80, 60)).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize((80, 60)))
    image.save(path, **options)
    return path


def brighter(rgb: Rgb, by: int = 10) -> Rgb:
    return Rgb(np.minimum(rgb.pixels.astype(int) + by, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "RGB"),
        ("a.png", "RGBA"),
        ("a.png", "L"),
        ("a.png", "LA"),
        ("a.png", "P"),
        ("a.jpg", "RGB"),
        ("a.jpeg", "L"),
        ("a.tif", "RGB"),
        ("a.bmp", "RGB"),
        ("a.webp", "RGB"),
        ("a.webp", "RGBA"),
    ],
)
def test_a_changed_picture_keeps_format_and_channels(tmp_path: Path, name: str, mode: str) -> None:
    still = read_still(saved(tmp_path / name, mode))
    out = tmp_path / ("out" + Path(name).suffix)
    write_still(still, brighter(still.rgb), out)
    with Image.open(tmp_path / name) as old, Image.open(out) as new:
        assert new.format == old.format
        assert new.mode == (old.mode if mode != "P" else "RGB")
        assert new.size == old.size
        before = np.asarray(old.convert("RGB"), int)
        after = np.asarray(new.convert("RGB"), int)
        if "A" in mode:
            assert np.array_equal(np.asarray(old)[..., -1], np.asarray(new)[..., -1])
    assert 6 < (after - before).mean() < 12


def test_jpeg_keeps_its_quality_and_its_words(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "case 3"
    path = saved(
        tmp_path / "a.jpg", quality=61, subsampling=1, progressive=True, dpi=(72, 72), exif=exif
    )
    still = read_still(path)
    write_still(still, still.rgb, tmp_path / "b.jpg")
    with Image.open(path) as old, Image.open(tmp_path / "b.jpg") as new:
        assert new.quantization == old.quantization  # type: ignore[attr-defined]
        assert new.info.get("progressive") == old.info.get("progressive")
        assert new.info["dpi"] == old.info["dpi"]
        assert new.getexif()[0x0112] == 6
        assert new.getexif()[0x010E] == "case 3"
        assert new.size == old.size  # in stored orientation


def test_upright_turns_as_exif_says(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path / "a.png", exif=exif)
        still = read_still(path)
        with Image.open(path) as image:
            from PIL import ImageOps

            expected = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(upright(still, still.rgb).pixels, expected)
        shown = as_shown(still)
        write_still(shown, shown.rgb, tmp_path / "b.png")
        with Image.open(tmp_path / "b.png") as written:
            assert written.getexif().get(0x0112) is None
            assert np.array_equal(np.asarray(written), expected)


def deep_picture(channels: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    shape = (40, 50) if channels == 1 else (40, 50, channels)
    return rng.integers(2000, 60000, shape).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_stay_16_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    values = deep_picture(channels)
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), values)
    still = read_still(path)
    assert still.rgb.pixels.dtype == np.uint8
    write_still(still, brighter(still.rgb, 3), tmp_path / f"b{suffix}")
    back = cv2.imread(str(tmp_path / f"b{suffix}"), cv2.IMREAD_UNCHANGED)
    assert back is not None
    assert back.dtype == np.uint16
    assert back.shape == values.shape
    colours = back[..., :3] if channels > 1 else back
    old = values[..., :3] if channels > 1 else values
    assert set(np.unique(colours.astype(int) - old)) == {3 * 257}
    if channels == 4:
        assert np.array_equal(back[..., 3], values[..., 3])


def test_16_bits_are_read_as_8_by_rounding(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 65535, 257 * 77]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert read_still(tmp_path / "a.png").rgb.pixels[0, :, 0].tolist() == [0, 0, 1, 255, 77]


def test_what_cannot_be_restored_is_refused_by_name(tmp_path: Path) -> None:
    cases = {"CMYK": "CMYK picture.*RGB", "I": "I picture", "F": "F picture"}
    for mode, words in cases.items():
        suffix = "jpg" if mode == "CMYK" else "tiff"
        with pytest.raises(SourceUnreadable, match=words):
            read_still(saved(tmp_path / f"{mode}.{suffix}", mode))
    frames = [Image.fromarray(picture(i, 80, 60)) for i in range(3)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    with pytest.raises(SourceUnreadable, match="several pictures"):
        read_still(tmp_path / "moving.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp", "a.webp"])
def test_a_cut_picture_is_refused(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceUnreadable):
        read_still(path)


def test_a_text_and_a_giant_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(SourceUnreadable, match="not a picture"):
        read_still(tmp_path / "a.png")
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    (tmp_path / "b.png").write_bytes(buffer.getvalue())
    with pytest.raises(SourceUnreadable, match="too large"):
        read_still(tmp_path / "b.png")


def test_another_suffix_asks_for_another_format(tmp_path: Path) -> None:
    still = read_still(saved(tmp_path / "a.png", "RGBA"))
    assert format_for(tmp_path / "b.jpg", still) == "JPEG"
    write_still(still, still.rgb, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
    with pytest.raises(SettingInvalid, match="names no picture format"):
        format_for(tmp_path / "b.xyz", still)


def test_a_picture_under_a_wrong_name_keeps_its_own_format(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture(0, 80, 60)).save(path, "JPEG")
    assert format_for(tmp_path / "out" / "a.png", read_still(path)) == "JPEG"
