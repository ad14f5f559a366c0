"""Pictures inside tar shards, each by the path that it had in the folder it was packed from.

A packed data set is a folder of plain tars and INDEX, which says where every member begins and how
long it is; so any picture is one seek away. INDEX is made anew from the tars where it is missing.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

INDEX = "shards.json"
VERSION = 1
MEMBER = re.compile(r"^([0-9]{8})\.(input|gt|mask|json)(\.[a-z]+)?$")


class ShardDamaged(ValueError):
    """A shard that does not hold what was packed into it; the message names file and member."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies. offset, size: bytes of it in the tar; checksum: CRC-32."""

    tar: Path
    member: str
    offset: int
    size: int
    checksum: int

    def read(self) -> bytes:
        """The picture's file. Raises ShardDamaged."""
        try:
            with self.tar.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            said = f"cannot be read ({error.strerror}), nor {self.member} in it"
            raise ShardDamaged(f"{self.tar} {said}") from error
        if len(data) < self.size:
            raise ShardDamaged(f"{self.tar} is truncated: it ends before the end of {self.member}")
        if zlib.crc32(data) != self.checksum:
            raise ShardDamaged(f"{self.tar} was altered: {self.member} is not what was packed")
        return data


@dataclass(frozen=True, slots=True)
class Index:
    """What a folder of shards holds. about: dataset, variant, assumed, count, per_shard; sizes:
    bytes of each tar; samples: the facts of each, in the order of the folder they come from;
    places: by path relative to that folder."""

    about: Mapping[str, Any]
    sizes: Mapping[str, int]
    samples: tuple[Mapping[str, Any], ...]
    places: Mapping[str, Place]


def content(path: Path) -> bytes:
    """A file's bytes, from a shard where it lies in one. Raises OSError, ShardDamaged."""
    place = place_of(path)
    return path.read_bytes() if place is None else place.read()


def stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does. Raises OSError where there is none."""
    place = place_of(path)
    if place is not None:
        return place.size, place.checksum
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def place_of(path: Path) -> Place | None:
    """Where a picture of a packed data set lies; None for a file of its own, and for nothing."""
    if path.is_file():
        return None
    for root in path.parents:
        index = _at(root)
        if index is not None:
            return index.places.get(path.relative_to(root).as_posix())
    return None


def listed(folder: Path) -> list[Path]:
    """The pictures that lie right in a folder, be it packed or not."""
    if folder.is_dir():
        return [p for p in folder.iterdir() if p.is_file()]
    for root in folder.parents:
        index = _at(root)
        if index is not None:
            return [p for p in map(root.joinpath, index.places) if p.parent == folder]
    return []


def packed(folder: Path) -> bool:
    """Whether a folder holds shards: their index, or a tar that begins as ours do."""
    if (folder / INDEX).is_file():
        return True
    first = min(folder.glob("*.tar"), default=None)
    if first is None:
        return False
    try:
        with tarfile.open(first, "r:") as tar:
            member = tar.next()
    except (tarfile.TarError, OSError):
        return False
    return member is not None and MEMBER.match(member.name) is not None


def opened(root: Path) -> Index:
    """The index of a folder of shards; made and kept where it is missing.

    Raises ShardDamaged, and ValueError for shards of another make.
    """
    if _at(root) is None:
        keep(root)
    index = _at(root)
    assert index is not None
    return index


def keep(root: Path) -> None:
    """Looks through all shards and writes the index, whole or not at all."""
    told = _scan(root)
    fresh = root / f"{INDEX}.{os.getpid()}.new"
    try:
        fresh.write_text(json.dumps(told))
        fresh.replace(root / INDEX)
    except OSError as error:
        why = f"its index cannot be written ({error.strerror}): open it once where it can"
        raise ValueError(f"{root}: {why}") from error


def _scan(root: Path) -> dict[str, Any]:
    """The index as JSON values, from the tars alone: headers and facts are read, no picture."""
    sizes: dict[str, int] = {}
    samples: dict[int, dict[str, Any]] = {}
    about: dict[str, Any] | None = None
    for path in sorted(root.glob("*.tar")):
        sizes[path.name] = path.stat().st_size
        sides: dict[str, tuple[str, int, int]] = {}
        name = "its first member"
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    name = member.name
                    found = MEMBER.match(name)
                    if found is None:
                        raise ValueError(f"{path} holds {name}, which surgiclear did not pack")
                    key, side = int(found[1]), found[2]
                    if side != "json":
                        sides[side] = (name, member.offset_data, member.size)
                        continue
                    file = tar.extractfile(member)
                    facts = json.loads(file.read()) if file is not None else {}
                    if "files" not in facts:
                        old = "does not say where its pictures come from: pack the data set again"
                        raise ValueError(f"{path}: {name} {old}")
                    about = facts.pop("set")
                    samples[key] = {**facts, "shard": path.name, "at": sides}
                    sides = {}
        except (tarfile.TarError, OSError, json.JSONDecodeError) as error:
            raise ShardDamaged(f"{path} is damaged at {name} ({error})") from error
    if about is None:
        raise ValueError(f"{root} holds no shard")
    held = Counter(sample["shard"] for sample in samples.values())
    for first in range(0, about["count"], about["per_shard"]):
        name = f"{first // about['per_shard']:06d}.tar"
        wanted = min(about["per_shard"], about["count"] - first)
        if held[name] != wanted:
            raise ShardDamaged(
                f"{root / name} is truncated or missing: {held[name]} of {wanted} samples"
            )
    ordered = [samples[key] for key in sorted(samples)]
    return {"version": VERSION, "about": about, "shards": sizes, "samples": ordered}


def _at(root: Path) -> Index | None:
    try:
        status = (root / INDEX).stat()
    except OSError:
        return None
    return _read(root, status.st_mtime_ns, status.st_size)


def _within(root: Path, *names: str) -> None:
    """Raises ShardDamaged for a name that leads out of the folder: shards come from elsewhere."""
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ShardDamaged(f"{root} names {name}, which lies outside of it")


@lru_cache(maxsize=8)
def _read(root: Path, changed_ns: int, size: int) -> Index:
    """changed_ns, size: of the file, so that another index is another entry."""
    path = root / INDEX
    try:
        told = json.loads(path.read_text())
        if told["version"] != VERSION:
            raise ValueError(told["version"])
        places: dict[str, Place] = {}
        for sample in told["samples"]:
            tar = root / sample["shard"]
            for side, (member, offset, length) in sample["at"].items():
                name, checksum = sample["files"][side]
                _within(root, sample["shard"], name)
                # a picture of many pairs is in many samples: the first one stands for all
                places.setdefault(name, Place(tar, member, offset, length, checksum))
        return Index(told["about"], told["shards"], tuple(told["samples"]), places)
    except ShardDamaged:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no index of shards: delete it, it is made anew") from error
