"""Picture files made up for tests: sound ones of every kind, and broken ones by the thousand."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image

SIZE = (40, 30)  # width, height


def image(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """A smooth picture with some texture."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    red = 120 + 60 * np.sin(x / 5) + 20 * np.sin(y)
    pixels = np.stack((red, 90 + 2 * y, 80 + x), axis=2)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode)


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def deep_png(channels: int = 3) -> bytes:
    """16 bits a channel."""
    shape = (SIZE[1], SIZE[0]) if channels == 1 else (SIZE[1], SIZE[0], channels)
    ramp = np.linspace(9000, 50_000, int(np.prod(shape))).astype(np.uint16).reshape(shape)
    ok, data = cv2.imencode(".png", ramp)
    assert ok
    return bytes(data)


def rotated_jpeg(orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image(), "JPEG", exif=exif.tobytes(), quality=95)


SOUND = {
    "jpeg": saved(image(), "JPEG", quality=95),
    "jpeg progressive": saved(image(), "JPEG", progressive=True),
    "jpeg grey": saved(image("L"), "JPEG"),
    "jpeg rotated": rotated_jpeg(),
    "png": saved(image(), "PNG"),
    "png grey": saved(image("L"), "PNG"),
    "png alpha": saved(image("RGBA"), "PNG"),
    "png palette": saved(image("P"), "PNG"),
    "png interlaced": saved(image(), "PNG", interlace=1),
    "png 1 bit": saved(image("1"), "PNG"),
    "png 16 bit": deep_png(),
    "png 16 bit grey": deep_png(1),
}


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; hardly any pixels follow."""
    head = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))
        )

    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def png_text_bomb() -> bytes:
    """A text chunk of 64 MiB, compressed to nothing."""
    body = b"Comment\0\0" + zlib.compress(b"\0" * (64 << 20), 9)
    chunk = (
        struct.pack("!I", len(body))
        + b"zTXt"
        + body
        + struct.pack("!I", zlib.crc32(b"zTXt" + body))
    )
    sound = SOUND["png"]
    return sound[:33] + chunk + sound[33:]


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims a size."""
    data = bytearray(SOUND["jpeg"])
    at = data.index(b"\xff\xc0")
    struct.pack_into("!HH", data, at + 5, height, width)
    return bytes(data)


BROKEN = {
    "text": b"this is no picture",
    "gif": saved(image(), "GIF"),
    "tiff": saved(image(), "TIFF"),
    "bmp": saved(image(), "BMP"),
    "webp": saved(image(), "WEBP"),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "elf": b"\x7fELF" + b"\0" * 60,
    "jpeg marker": b"\xff\xd8\xff",
    "png signature": b"\x89PNG\r\n\x1a\n",
    "jpeg cmyk": saved(image("CMYK"), "JPEG"),
    "jpeg cut": SOUND["jpeg"][: len(SOUND["jpeg"]) // 2],
    "png cut": SOUND["png"][: len(SOUND["png"]) // 2],
    "png animated": saved(image(), "PNG", save_all=True, append_images=[image("L").convert("RGB")]),
    "jpeg without pixels": jpeg_claiming(0, 0),
    "png without pixels": png_claiming(0, 0),
}
TOO_LARGE = {
    "jpeg 65500": jpeg_claiming(65500, 65500),
    "png 4097x2160": png_claiming(4097, 2160),
    "png 100000": png_claiming(100_000, 100_000),
}


def malformed(count: int, seed: int = 7) -> Iterator[bytes]:
    """Sound pictures cut at every 64th part, with bits flipped, segments swapped, bytes added."""
    rng = random.Random(seed)
    sound = list(SOUND.values())
    for number in range(count):
        data = bytearray(rng.choice(sound))
        match number % 4:
            case 0:
                del data[len(data) * (number // 4 % 64) // 64 :]
            case 1:
                for _ in range(rng.randint(1, 30)):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 2:  # the head, where sizes, tables and counts are
                for _ in range(rng.randint(1, 6)):
                    data[rng.randrange(2, min(len(data), 180))] = rng.randrange(256)
            case _:
                at, size = rng.randrange(len(data)), rng.randrange(1, 64)
                data[at:at] = rng.randbytes(size) if rng.random() < 0.5 else data[:size]
        yield bytes(data)
