"""Holds a data set against its pictures: counts, and every problem with the file it is in."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import simplejpeg
from PIL import Image, UnidentifiedImageError

from trainer.datasets.item import Found, Item, Problem
from trainer.datasets.members import ShardDamaged, content

JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Looked:
    """One picture, opened. size: w h, None where it is damaged."""

    path: Path
    size: tuple[int, int] | None
    digest: str
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. counts: items by (split, kind, level or splash type); items: those
    whose files are all sound."""

    found: Found
    counts: Counter[tuple[str, str, str]]
    sizes: Counter[tuple[int, int]]
    problems: tuple[Problem, ...]
    items: tuple[Item, ...]
    decoded: bool

    @property
    def sound(self) -> bool:
        return not self.problems

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        found = self.found
        edition = f", {found.variant}" if found.variant else ""
        out = [f"{found.dataset}{edition}: {len(found.items)} items in {found.root}"]
        for (split, kind, grade), count in sorted(self.counts.items()):
            out.append(f"  {split:5s}  {kind:8s}  {grade:12s}  {count:7d}")
        if self.sizes:
            most = ", ".join(f"{w}x{h}: {n}" for (w, h), n in self.sizes.most_common(5))
            more = f" and {len(self.sizes) - 5} more sizes" if len(self.sizes) > 5 else ""
            out.append(f"  sizes  {most}{more}")
        out += [f"note: {note}" for note in found.notes]
        out += [f"problem: {problem}" for problem in self.problems]
        opened = "every file opened" if self.decoded else "names alone, no file opened"
        verdict = "no problem" if self.sound else f"{len(self.problems)} problems"
        out.append(f"{verdict}; {opened}; {len(self.items)} items are sound")
        return out

    def as_json(self) -> str:
        """For programs; the paths under "problems" are what a reader must leave out."""
        found = self.found
        return json.dumps(
            {
                "dataset": found.dataset,
                "variant": found.variant,
                "root": str(found.root),
                "items": len(found.items),
                "sound": len(self.items),
                "decoded": self.decoded,
                "counts": [
                    {"split": s, "kind": k, "grade": g, "items": n}
                    for (s, k, g), n in sorted(self.counts.items())
                ],
                "sizes": [{"width": w, "height": h, "files": n} for (w, h), n in
                          self.sizes.most_common()],
                "notes": found.notes,
                "problems": [{"path": str(p.path), "what": p.what} for p in self.problems],
            },
            indent=1,
        )  # fmt: skip


def look(path: Path) -> Looked:
    """Decodes a picture whole and strictly: a JPEG that a viewer would mend is damaged here."""
    try:
        data = content(path)
    except ShardDamaged as error:
        return Looked(path, None, "", str(error))
    except OSError as error:
        return Looked(path, None, "", f"cannot be read ({error.strerror})")
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    if not data:
        return Looked(path, None, digest, "is empty")
    try:
        if data.startswith(JPEG):
            h, w = simplejpeg.decode_jpeg(data, strict=True).shape[:2]
            return Looked(path, (w, h), digest)
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            return Looked(path, picture.size, digest)
    except (ValueError, OSError, SyntaxError, UnidentifiedImageError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "BytesIO" in said:
            said = "no picture format"
        return Looked(path, None, digest, f"is damaged ({said})")


def look_video(path: Path) -> str:
    """What is wrong with a video's header and first frame; empty when nothing is."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return "holds no video"
            next(container.decode(video=0))
    except StopIteration:
        return "holds no frame that decodes"
    except (av.error.FFmpegError, OSError) as error:
        return f"is damaged ({getattr(error, 'strerror', None) or error})"
    return ""


def examine(found: Found, *, decode: bool = True, workers: int | None = None) -> Report:
    """Counts what was found and opens its files. workers: threads, one a core when None."""
    counts: Counter[tuple[str, str, str]] = Counter(
        (i.split, _kind(i), _grade(i)) for i in found.items
    )
    problems = list(found.problems)
    sizes: Counter[tuple[int, int]] = Counter()
    bad: set[Path] = set()
    if decode:
        paths = list(dict.fromkeys(p for i in found.items for p in i.files))
        videos = [i.video for i in found.items if i.video is not None]
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            looked = {seen.path: seen for seen in pool.map(look, paths)}
            watched = dict(zip(videos, pool.map(look_video, videos), strict=True))
        for seen in looked.values():
            if seen.size is None:
                problems.append(Problem(seen.path, seen.wrong))
                bad.add(seen.path)
            else:
                sizes[seen.size] += 1
        for path, wrong in watched.items():
            if wrong:
                problems.append(Problem(path, wrong))
                bad.add(path)
        problems += _between(found.items, looked)
    items = tuple(
        i for i in found.items
        if not bad & set(i.files) and (i.video is None or i.video not in bad)
    )  # fmt: skip
    return Report(found, counts, sizes, tuple(problems), items, decode)


def _kind(item: Item) -> str:
    if item.kind:
        return item.kind
    if item.video is not None:
        return "video"
    return "pair" if item.paired else "clear" if item.clear is not None else "degraded"


def _grade(item: Item) -> str:
    if item.level is not None:
        return f"level {item.level}"
    return item.splash_type or "-"


def _between(items: list[Item], looked: dict[Path, Looked]) -> Iterator[Problem]:
    """What is wrong between files: sides of a pair that differ in size or not at all, and the same
    picture in training and test."""
    homes: dict[str, dict[str, Path]] = defaultdict(dict)
    told: set[Path] = set()
    for item in items:
        if item.degraded is not None and item.clear is not None:
            left, right = looked[item.degraded], looked[item.clear]
            if left.size and right.size and left.size != right.size:
                yield Problem(
                    item.degraded,
                    f"is {_wh(left.size)}, its clear picture {_wh(right.size)}",
                )
            if left.digest and left.digest == right.digest:
                yield Problem(item.degraded, "is the very file of its clear picture")
        for path in (item.degraded, item.clear):
            if path is None or not looked[path].digest or item.split == "all":
                continue
            home = homes[looked[path].digest]
            other = next((p for split, p in home.items() if split != item.split), None)
            if other is not None and path not in told:
                told.add(path)
                yield Problem(path, f"is also in another split: {other}")
            home.setdefault(item.split, path)


def _wh(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
