"""One example of a data set, what a folder was found to hold, and what a layout is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from engines.restorer import Kind, SplashType

Split = Literal["train", "val", "test", "all"]  # all: the publishers do not split it
SPLITS: tuple[Split, ...] = ("train", "test")

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".mpg", ".mpeg", ".m4v", ".ts", ".wmv", ".webm")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One example. degraded and clear: a pair; one of them alone: unpaired; video alone: raw.

    scene: patient, case, clip or place: whatever must not be split between training and test;
    kind: None where the publishers do not say, or for a clear picture; mask: where the clear
    picture must not be trusted (white); position: frame number in a clip.
    """

    name: str
    scene: str
    split: Split = "all"
    degraded: Path | None = None
    clear: Path | None = None
    mask: Path | None = None
    video: Path | None = None
    kind: Kind | None = None
    level: int | None = None
    splash_type: SplashType | None = None
    position: int | None = None

    @property
    def paired(self) -> bool:
        return self.degraded is not None and self.clear is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """The pictures of it (a video is none)."""
        return tuple(p for p in (self.degraded, self.clear, self.mask) if p is not None)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one file or folder."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(slots=True)
class Found:
    """What a folder holds. variant: which published edition of it; notes: worth knowing, not
    wrong; assumed: which picture is clear is told by its place alone, so only a recipe that wants
    clips may believe it; packed: the pictures lie in shards (trainer/datasets/members.py)."""

    dataset: str
    root: Path
    variant: str = ""
    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    assumed: bool = False
    packed: bool = False

    def wrong(self, path: Path, what: str) -> None:
        self.problems.append(Problem(path, what))


class Layout(Protocol):
    """One published layout."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    def recognise(self, folder: Path) -> Path | None:
        """The root of the data set in this folder (itself, or one below it), or None."""
        ...

    def read(self, root: Path) -> Found:
        """All its items, by names alone: no picture is opened."""
        ...


def hidden(path: Path) -> bool:
    """Left by file managers and archivers: ._x of macOS, Thumbs.db, .DS_Store, __MACOSX."""
    return path.name.startswith((".", "__MACOSX")) or path.name.lower() in (
        "thumbs.db",
        "desktop.ini",
    )


def entries(folder: Path) -> list[Path]:
    """What a folder holds, in natural order, without what file managers leave behind."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if not hidden(p)), key=natural)


def natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """A key that puts 9.png before 10.png."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(p.isdigit()), int(p) if p.isdigit() else 0, p) for p in parts], path.name


def folders(folder: Path) -> list[Path]:
    return [p for p in entries(folder) if p.is_dir()]


def pictures(folder: Path) -> list[Path]:
    """Pictures in a folder, in natural order."""
    return [p for p in entries(folder) if p.suffix.lower() in PICTURES and p.is_file()]


def strangers(folder: Path, known: Iterable[str] = (".csv", ".txt", ".json", ".md")) -> list[Path]:
    """Files that are no pictures, where only pictures are expected."""
    allowed = (*PICTURES, *known)
    return [p for p in entries(folder) if p.is_file() and p.suffix.lower() not in allowed]


def ordered(
    found: Found, folder: Path, number: Callable[[str], int | None]
) -> list[tuple[int, Path]]:
    """Pictures by the number in their stem: 2.png before 10.png; those without become problems."""
    numbered = []
    for path in pictures(folder):
        place = number(path.stem)
        if place is None:
            found.wrong(path, "has no number for a name: its place in the clip is unknown")
        else:
            numbered.append((place, path))
    for path in strangers(folder):
        found.wrong(path, "is not a picture")
    return sorted(numbered, key=lambda entry: entry[0])


def led(
    found: Found, clip: Path, number: Callable[[str], int | None]
) -> tuple[Path, list[tuple[int, Path]]] | None:
    """The first picture of a clip, which is the clear one, and the others with their places from
    1 on; a problem, and None, where there are not two."""
    frames = [path for _, path in ordered(found, clip, number)]
    if len(frames) < 2:
        found.wrong(clip, f"holds {len(frames)} frames: a clear and a smoky one at least")
        return None
    return frames[0], list(enumerate(frames))[1:]


def last_number(stem: str) -> int | None:
    digits = re.findall(r"[0-9]+", stem)
    return int(digits[-1]) if digits else None


def child(folder: Path, name: str) -> Path | None:
    """The folder of this name, whatever the case of its letters and its kind of space."""
    wanted = name.lower().replace("_", " ")
    for path in folders(folder):
        if path.name.lower().replace("_", " ") == wanted:
            return path
    return None


def matched(found: Found, degraded: Path, clear: Path) -> Iterator[tuple[str, Path, Path]]:
    """Pairs of the same file name in two folders, in the order of their names; what has no partner
    becomes a problem."""
    for folder in (degraded, clear):
        if not folder.is_dir():
            found.wrong(folder, "the folder is missing")
        for path in strangers(folder):
            found.wrong(path, "is not a picture")
    left = {p.name: p for p in pictures(degraded)}
    right = {p.name: p for p in pictures(clear)}
    stems = {p.stem: p for p in right.values()}
    # plain order, not natural: training numbers its samples by it, and runs go on by number
    for name, path in sorted(left.items()):
        if name in right:
            yield name, path, right[name]
        elif path.stem in stems:
            other = stems[path.stem].name
            found.wrong(path, f"its clear picture has another suffix: {clear.name}/{other}")
        else:
            found.wrong(path, f"has no picture of its name in {clear.name}/")
    for name, path in right.items():
        if name not in left and path.stem not in {p.stem for p in left.values()}:
            found.wrong(path, f"has no picture of its name in {degraded.name}/")
