"""Data sets as tar files of WebDataset's naming: KEY.input.png, KEY.gt.png, KEY.json, in a row.

Training takes them as any layout: each picture is one seek away (trainer/datasets/members.py), so
that sample n is the same as from the folder. `Shards` reads them from front to back instead, for a
disk that should never be asked to seek; one shard then belongs to one worker of one process.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainer.datasets.cache import PictureDamaged, Pixels
from trainer.datasets.item import Found, Item
from trainer.datasets.members import INDEX, keep, opened, packed
from trainer.datasets.reader import Example, Shape, shaped

FACTS = ("name", "scene", "split", "kind", "level", "splash_type", "position")


class Packed:
    """Reads the layout: any data set that `write` packed, with the items it had as a folder."""

    name = "shards"
    about = "*.tar as surgiclear dataset pack makes them"

    def recognise(self, folder: Path) -> Path | None:
        return folder if packed(folder) else None

    def read(self, root: Path) -> Found:
        """Raises as `opened`."""
        index = opened(root)
        found = Found(
            index.about["dataset"], root,
            variant=", ".join(filter(None, (
                index.about["variant"], f"packed in {len(index.sizes)} shard(s)"))),
            assumed=index.about["assumed"], packed=True,
        )  # fmt: skip
        for name, size in index.sizes.items():
            path = root / name
            now = path.stat().st_size if path.is_file() else None
            if now is None:
                found.wrong(path, "is missing")
            elif now != size:
                found.wrong(path, f"has {now} bytes and had {size}: truncated or altered")
        found.items += [_item(root, facts) for facts in index.samples]
        return found


def _item(root: Path, facts: Mapping[str, Any]) -> Item:
    files = {side: root / name for side, (name, _) in facts["files"].items()}
    return Item(
        **{key: facts[key] for key in FACTS},
        degraded=files.get("input"), clear=files.get("gt"), mask=files.get("mask"),
    )  # fmt: skip


def write(found: Found, items: Sequence[Item], out: Path, *, per_shard: int = 500) -> list[Path]:
    """Packs items of a data set, their files' bytes as they are. Shards appear whole, their index
    last. Returns the paths of the shards.

    Raises FileExistsError where shards are there already, ValueError without a picture, and where
    the data set is packed.
    """
    if found.packed:
        raise ValueError(f"{found.root} is packed already")
    items = [item for item in items if item.files]
    if not items:
        raise ValueError("the data set holds no picture")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")) or (out / INDEX).exists():
        raise FileExistsError(f"{out} holds shards already")
    about = {"dataset": found.dataset, "variant": found.variant, "assumed": found.assumed,
             "count": len(items), "per_shard": per_shard}  # fmt: skip
    # neighbours are alike: a fixed shuffle spreads scenes over the shards
    order = np.random.default_rng(0).permutation(len(items))
    written = []
    for number in range(0, len(items), per_shard):
        path = out / f"{number // per_shard:06d}.tar"
        beside = path.with_suffix(".part")
        with tarfile.open(beside, "w") as tar:
            for place in order[number : number + per_shard]:
                _add(tar, f"{place:08d}", items[int(place)], found.root, about)
        beside.replace(path)
        written.append(path)
    keep(out)
    return written


def _add(tar: tarfile.TarFile, key: str, item: Item, root: Path, about: Mapping[str, Any]) -> None:
    sides = (("input", item.degraded), ("gt", item.clear), ("mask", item.mask))
    files = {}
    for side, path in sides:
        if path is not None:
            data = path.read_bytes()
            _file(tar, f"{key}.{side}{path.suffix.lower()}", data)
            files[side] = (path.relative_to(root).as_posix(), zlib.crc32(data))
    facts = {**{key: getattr(item, key) for key in FACTS}, "files": files, "set": about}
    _file(tar, f"{key}.json", json.dumps(facts).encode())


def _file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@dataclass(frozen=True, slots=True)
class Shards:
    """Reads the pairs in shards; each worker of an IterableDataset may ask for `examples`."""

    paths: tuple[Path, ...]
    shape: Shape = Shape()
    seed: int = 0

    def examples(
        self, epoch: int = 0, *, part: int = 0, parts: int = 1, mixed: int = 64
    ) -> Iterator[tuple[Example, dict[str, object]]]:
        """Examples and their facts, of every `parts`-th shard from `part`. mixed: examples held
        back to shuffle among. Raises PictureDamaged."""
        rng = np.random.default_rng((self.seed, epoch, part))
        mine = list(self.paths[part::parts])
        rng.shuffle(mine)
        held: list[tuple[dict[str, bytes], dict[str, object]]] = []
        for path in mine:
            for sample in _samples(path):
                held.append(sample)
                if len(held) > mixed:
                    yield self._made(held.pop(int(rng.integers(len(held)))), rng)
        while held:
            yield self._made(held.pop(int(rng.integers(len(held)))), rng)

    def _made(
        self, sample: tuple[dict[str, bytes], dict[str, object]], rng: np.random.Generator
    ) -> tuple[Example, dict[str, object]]:
        data, facts = sample
        sides = {side: _picture(raw, side, facts) for side, raw in data.items()}
        if self.shape.size is not None:
            size = (self.shape.size[1], self.shape.size[0])
            sides = {
                name: cv2.resize(side, size, interpolation=cv2.INTER_AREA)
                for name, side in sides.items()
            }
        if "mask" in sides:
            sides["mask"] = sides["mask"][..., :1]
        return shaped(sides, self.shape, rng), facts


def _picture(raw: bytes, side: str, facts: dict[str, object]) -> Pixels:
    data = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    if data is None:
        raise PictureDamaged(f"{facts['name']}: {side} is not a readable picture")
    out: Pixels = cv2.cvtColor(data, cv2.COLOR_BGR2RGB)
    return out


def _samples(path: Path) -> Iterator[tuple[dict[str, bytes], dict[str, object]]]:
    """The members of a shard, gathered by key (its facts come last)."""
    sides: dict[str, bytes] = {}
    with tarfile.open(path, "r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                continue
            side = member.name.split(".")[1]
            if side == "json":
                if {"input", "gt"} <= sides.keys():
                    yield sides, json.loads(file.read())
                sides = {}
            else:
                sides[side] = file.read()
