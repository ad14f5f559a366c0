"""Picture files: read to 8-bit RGB, written back in their own format, depth and orientation."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from engines.picture import Rgb
from server.errors import SettingInvalid, SourceUnreadable
from server.source import PICTURE_FORMATS
from server.whole import Whole, reason

FORMAT_OF = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF",
    ".bmp": "BMP", ".webp": "WEBP",
}  # fmt: skip
DEEP_FORMATS = ("PNG", "TIFF")  # that hold 16 bits
PLAIN_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "I;16B", "PA")
QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "PNG": {"compress_level": 4},
}
KEPT_INFO = ("exif", "icc_profile", "dpi", "compression")
DEEP = 257  # 16-bit levels per 8-bit level


@dataclass(frozen=True, kw_only=True, slots=True)
class Still:
    """A picture file in memory. rgb: in stored orientation (EXIF is kept, not applied); deep:
    the 16-bit original, h w or h w 3; alpha: h w, 8 or 16 bit; grey: the file has no colour;
    saving: what its format needs to be written as it was; losses: what cannot be kept."""

    path: Path
    format: str
    rgb: Rgb
    deep: NDArray[np.uint16] | None = None
    alpha: NDArray[Any] | None = None
    grey: bool = False
    saving: dict[str, Any] = field(default_factory=dict)
    losses: tuple[str, ...] = ()


def read_still(path: Path) -> Still:
    """Raises SourceUnreadable for what is no picture, is cut short, or has colours of a press."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read", reason(error)) from error
    return parse_still(data, path)


def parse_still(data: bytes, path: Path, formats: tuple[str, ...] = PICTURE_FORMATS) -> Still:
    """The picture in these bytes; path: what messages call it. Raises SourceUnreadable."""
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            _refuse(path, image)
            deep = _deep(path, data, image)
            if deep is not None:
                return deep
            image.load()
            return _plain(path, image)
    except UnidentifiedImageError as error:
        raise SourceUnreadable(f"{path} is not a picture", "check the file") from error
    except Image.DecompressionBombError as error:
        raise SourceUnreadable(f"{path} is too large", str(error).lower()) from error
    except (OSError, SyntaxError, ValueError) as error:
        words = reason(error) if isinstance(error, OSError) else str(error).lower()
        raise SourceUnreadable(f"{path} cannot be read", words) from error


def _refuse(path: Path, image: Image.Image) -> None:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise SourceUnreadable(f"{path} holds several pictures", "save them as files of their own")
    if image.mode not in PLAIN_MODES:
        raise SourceUnreadable(f"{path} is a {image.mode} picture", "convert it to RGB first")


def _deep(path: Path, data: bytes, image: Image.Image) -> Still | None:
    """A 16-bit picture, which Pillow reads in 8 bits or not at all; None for the others."""
    tiles = getattr(image, "tile", [])
    if not (image.mode.startswith("I;16") or (tiles and ";16" in str(tiles[0].args))):
        return None
    # the file's own values: colour profile and gamma are not applied, orientation neither
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim not in (2, 3):
        raise SourceUnreadable(f"{path} is a 16-bit picture that cannot be read", "convert it")
    values = np.asarray(pixels, np.uint16)
    alpha = values[..., 3] if values.ndim == 3 and values.shape[2] == 4 else None
    grey = values.ndim == 2
    colours = values if grey else np.ascontiguousarray(values[..., 2::-1])
    shallow = ((colours.astype(np.uint32) + DEEP // 2) // DEEP).astype(np.uint8)
    losses: tuple[str, ...] = ("changes are computed in 8 bits",)
    if any(image.info.get(key) for key in ("exif", "icc_profile")):
        losses += ("the colour profile and EXIF are left out",)
    return Still(
        path=path,
        format=image.format or "PNG",
        rgb=Rgb(np.repeat(shallow[..., None], 3, 2) if grey else shallow),
        deep=colours,
        alpha=alpha,
        grey=grey,
        losses=losses,
    )


def _plain(path: Path, image: Image.Image) -> Still:
    saving = {key: image.info[key] for key in KEPT_INFO if image.info.get(key)}
    losses: tuple[str, ...] = ()
    container = "JPEG" if image.format == "MPO" else image.format or "PNG"
    if image.format == "MPO":
        losses += ("only the first of several pictures is kept",)
    if container == "JPEG" and isinstance(image, JpegImagePlugin.JpegImageFile):
        saving["qtables"] = image.quantization
        if image.mode == "RGB":
            saving["subsampling"] = max(JpegImagePlugin.get_sampling(image), 0)
        saving["progressive"] = bool(image.info.get("progressive"))
    elif container in QUALITY:
        saving |= QUALITY[container]
    if image.mode in ("P", "PA", "1"):
        losses += ("the palette gives way to full colour",)
    grey = image.mode in ("L", "LA", "1")
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    full = image.convert("RGBA") if has_alpha else image.convert("RGB")
    pixels = np.array(full)
    return Still(
        path=path,
        format=container,
        rgb=Rgb(np.ascontiguousarray(pixels[..., :3])),
        alpha=pixels[..., 3] if has_alpha else None,
        grey=grey,
        saving=saving,
        losses=losses,
    )


def format_for(output: Path, still: Still) -> str:
    """The still's own format where the suffix is its own, else what the suffix stands for.

    Raises SettingInvalid.
    """
    if output.suffix.lower() == still.path.suffix.lower():
        return still.format
    try:
        return FORMAT_OF[output.suffix.lower()]
    except KeyError:
        raise SettingInvalid(
            f"{output} names no picture format", "end it in " + ", ".join(sorted(FORMAT_OF))
        ) from None


def write_still(still: Still, rgb: Rgb, output: Path) -> None:
    """Writes `rgb` as the still's file was, or as the output's suffix asks. Whole or not at all.

    Another size than the still's (a comparison) drops what belongs to the original alone.
    Raises SettingInvalid, SinkUnwritable, OutputIncomplete.
    """
    data = still_bytes(still, rgb, format_for(output, still))
    with Whole(output) as whole:
        whole.write_bytes(data)
        whole.commit()


def still_bytes(still: Still, rgb: Rgb, target: str) -> bytes:
    """What `write_still` writes for a target format ("PNG"). Raises SettingInvalid."""
    same_size = rgb.pixels.shape == still.rgb.pixels.shape
    if still.deep is not None and target in DEEP_FORMATS and same_size:
        return _encoded_deep(still, rgb, target)
    return _encoded(still, rgb, target, same_size)


def _encoded_deep(still: Still, rgb: Rgb, target: str) -> bytes:
    """The original's 16 bits plus the change found in 8."""
    assert still.deep is not None
    change = rgb.pixels.astype(np.int32) - still.rgb.pixels
    if still.grey:
        change = _grey(rgb).astype(np.int32) - still.rgb.pixels[..., 0]
    values = np.clip(still.deep + change * DEEP, 0, 65535).astype(np.uint16)
    if not still.grey:
        values = values[..., ::-1]
        if still.alpha is not None:
            values = np.dstack([values, still.alpha])
    ok, data = cv2.imencode(f".{target.lower()}", np.ascontiguousarray(values))
    if not ok:
        raise SettingInvalid(f"{still.path} cannot be written as {target}", "choose .png")
    return bytes(data)


def _encoded(still: Still, rgb: Rgb, target: str, same_size: bool) -> bytes:
    pixels: NDArray[Any] = _grey(rgb) if still.grey and same_size else rgb.pixels
    alpha = still.alpha if same_size and target != "JPEG" else None
    if alpha is not None:
        shallow = alpha if alpha.dtype == np.uint8 else (alpha // DEEP).astype(np.uint8)
        pixels = np.dstack([pixels, shallow])
    as_it_was = target == still.format
    saving = still.saving if as_it_was else QUALITY.get(target, {})
    saving = dict(saving) | {k: v for k, v in still.saving.items() if k in ("exif", "icc_profile")}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, target, **saving)
    return buffer.getvalue()


def _grey(rgb: Rgb) -> NDArray[np.uint8]:
    """The luma of a restored grey picture."""
    return np.asarray(cv2.cvtColor(rgb.pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def upright(still: Still, rgb: Rgb) -> Rgb:
    """Turned as EXIF says, for a comparison that shows two pictures beside each other."""
    image = Image.fromarray(rgb.pixels)
    if still.saving.get("exif"):
        image.info["exif"] = still.saving["exif"]
    return Rgb(np.ascontiguousarray(ImageOps.exif_transpose(image)))


def as_shown(still: Still) -> Still:
    """The still as a viewer sees it: upright, in 8-bit colour. A comparison is written by it,
    so that its orientation is not applied a second time."""
    saving = {key: value for key, value in still.saving.items() if key != "exif"}
    if still.grey and "qtables" in saving:  # one table for luma does not serve three channels
        saving = dict(QUALITY["JPEG"])
    return replace(
        still, rgb=upright(still, still.rgb), deep=None, alpha=None, grey=False, saving=saving
    )
