"""Pictures decoded once, at one size, in one file that all workers and later runs share.

A picture takes h*w*3 bytes at a place given by its number; a second file holds a checksum for each,
0 where nothing is yet. Two workers may fill the same place: they write the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.datasets.members import ShardDamaged, content, place_of, stamp

Pixels = NDArray[np.uint8]
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4),
           (2, cv2.IMREAD_REDUCED_COLOR_2))  # fmt: skip


class PictureDamaged(ValueError):
    """A file, or a member of a shard, that is no picture; `surgiclear dataset check` finds them
    all beforehand."""


def decode(path: Path, size: tuple[int, int] | None = None) -> Pixels:
    """RGB h w 3, at h w by area where a size is given. Raises PictureDamaged.

    A JPEG much larger than that is decoded at 1/2, 1/4 or 1/8, which its transform gives for less.
    """
    flag = cv2.IMREAD_COLOR
    if size is not None and path.suffix.lower() in (".jpg", ".jpeg"):
        flag = _reduction(path, size)
    data = picture(path, flag)
    if size is not None and data.shape[:2] != size:
        shrinks = data.shape[0] >= size[0] and data.shape[1] >= size[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        data = cv2.resize(data, (size[1], size[0]), interpolation=method)
    out: Pixels = cv2.cvtColor(data, cv2.COLOR_BGR2RGB)
    return out


def picture(path: Path, flag: int = cv2.IMREAD_COLOR) -> Pixels:
    """h w 3 in OpenCV's order, from a file or out of a shard. Raises PictureDamaged."""
    place = place_of(path)
    if place is None:
        data = cv2.imread(str(path), flag)
    else:
        try:
            raw = np.frombuffer(place.read(), np.uint8)
        except ShardDamaged as error:
            raise PictureDamaged(str(error)) from error
        data = cv2.imdecode(raw, flag) if raw.size else None
    if data is None:
        raise PictureDamaged(f"{path} is not a readable picture")
    out: Pixels = data
    return out


def _reduction(path: Path, size: tuple[int, int]) -> int:
    try:
        with Image.open(path if path.is_file() else io.BytesIO(content(path))) as image:
            w, h = image.size
    except ShardDamaged as error:
        raise PictureDamaged(str(error)) from error
    except OSError as error:
        raise PictureDamaged(f"{path} is not a readable picture") from error
    for factor, flag in REDUCED:
        if h >= factor * size[0] and w >= factor * size[1]:
            return int(flag)
    return int(cv2.IMREAD_COLOR)


class Cache:
    """Pictures of a fixed list of files at one size. folder: where the two files lie."""

    def __init__(self, folder: Path, paths: Sequence[Path], size: tuple[int, int]) -> None:
        self.paths = tuple(paths)
        self.size = size
        self.decoded = 0  # by this process
        self._numbers = {path: n for n, path in enumerate(self.paths)}
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{size[1]}x{size[0]}-{_digest(self.paths)}"
        self._pixels_file, self._sums_file = folder / f"{name}.rgb", folder / f"{name}.sums"
        one = size[0] * size[1] * 3
        for path, length in ((self._pixels_file, one), (self._sums_file, 4)):
            with path.open("ab") as file:  # sparse: takes room as it fills
                if file.tell() < length * len(self.paths):
                    file.truncate(length * len(self.paths))
        self._open: tuple[NDArray[np.uint8], NDArray[np.uint32]] | None = None
        self._trusted: set[int] = set()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": None, "decoded": 0}  # maps do not travel to workers

    def get(self, path: Path) -> Pixels:
        """The picture, h w 3, read-only memory. Raises PictureDamaged."""
        number = self._numbers[path]
        pixels, sums = self._maps()
        picture = pixels[number]
        if number not in self._trusted:
            # a machine that went down may have kept the sum and not the pixels
            if sums[number] == 0 or sums[number] != _sum(picture):
                fresh = decode(path, self.size)
                self.decoded += 1
                picture[:] = fresh
                sums[number] = _sum(fresh)
            self._trusted.add(number)
        out: Pixels = picture.view()
        out.flags.writeable = False
        return out

    def _maps(self) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        if self._open is None:
            n = len(self.paths)
            shape = (n, *self.size, 3)
            self._open = (
                np.memmap(self._pixels_file, np.uint8, "r+", shape=shape),
                np.memmap(self._sums_file, np.uint32, "r+", shape=(n,)),
            )
        return self._open


def _sum(pixels: Pixels) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data) or 1  # 0 means nothing is there


def _digest(paths: Sequence[Path]) -> str:
    """Names, sizes and times (in shards: checksums) of the files: another list, or a changed file,
    is another cache."""
    words = hashlib.blake2b(digest_size=8)
    for path in paths:
        size, changed = stamp(path)
        words.update(f"{path.absolute()}\0{size}\0{changed}\n".encode())
    return words.hexdigest()
