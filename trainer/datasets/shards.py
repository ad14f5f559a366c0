"""Data sets as tar files of WebDataset's naming: KEY.input.png, KEY.gt.png, KEY.json, in a row.

Read from front to back, so that a slow disk or a network share is never asked to seek. One shard
belongs to one worker of one process.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from trainer.datasets.cache import PictureDamaged, Pixels
from trainer.datasets.item import Item
from trainer.datasets.reader import Example, Shape, shaped


def write(items: Sequence[Item], out: Path, *, per_shard: int = 500) -> list[Path]:
    """Packs pairs, their files' bytes as they are. Shards appear whole. Returns their paths.

    Raises FileExistsError where shards are there already, ValueError without a pair.
    """
    pairs = [item for item in items if item.paired]
    if not pairs:
        raise ValueError("the data set holds no pair")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise FileExistsError(f"{out} holds shards already")
    # neighbours are alike: a fixed shuffle spreads scenes over the shards
    order = np.random.default_rng(0).permutation(len(pairs))
    written = []
    for number in range(0, len(pairs), per_shard):
        path = out / f"{number // per_shard:06d}.tar"
        beside = path.with_suffix(".part")
        with tarfile.open(beside, "w") as tar:
            for place in order[number : number + per_shard]:
                _add(tar, f"{place:08d}", pairs[int(place)])
        beside.replace(path)
        written.append(path)
    return written


def _add(tar: tarfile.TarFile, key: str, item: Item) -> None:
    sides = (("input", item.degraded), ("gt", item.clear), ("mask", item.mask))
    for side, path in sides:
        if path is not None:
            _file(tar, f"{key}.{side}{path.suffix.lower()}", path.read_bytes())
    facts = {
        "name": item.name, "scene": item.scene, "split": item.split, "kind": item.kind,
        "level": item.level, "splash_type": item.splash_type, "position": item.position,
    }  # fmt: skip
    _file(tar, f"{key}.json", json.dumps(facts).encode())


def _file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@dataclass(frozen=True, slots=True)
class Shards:
    """Reads shards. `examples` may be given to torch's IterableDataset by each worker."""

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
                yield sides, json.loads(file.read())
                sides = {}
            else:
                sides[side] = file.read()
