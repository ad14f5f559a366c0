"""How far one video is: everything needed to go on, committed at a frame that decoding can enter.

A folder for each video: `state.npz` (numbers, and arrays of what the finder remembers) and one
`.npy` for each full-size picture that may still be needed. The state is replaced whole; pictures
that it does not name are rests of a run that was cut off.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.curate.finder import Finder, Kept, Open
from trainer.curate.measure import Pixels, Reading

FORMAT = 1


@dataclass(slots=True)
class Progress:
    """entry: pts to go on from; slot: the last sample before it; rows: of the decision file, so
    far; decoded: frames, over all runs; identity: of the video file and the settings."""

    identity: str
    done: bool = False
    entry: int | None = None
    slot: int = -1
    decoded: int = 0
    episodes: int = 0
    length_s: float = 0.0
    rows: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Shelf:
    """Full-size pictures in memory, and on disk once a state names them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures: dict[int, Pixels] = {}
        self._written: set[int] = set()

    def put(self, time_ns: int, picture: Pixels) -> None:
        self._pictures[time_ns] = picture

    def get(self, time_ns: int) -> Pixels:
        if time_ns not in self._pictures:  # of an earlier run
            self._pictures[time_ns] = np.load(self._path(time_ns), allow_pickle=False)
        return self._pictures[time_ns]

    def drop(self, time_ns: int) -> None:
        self._pictures.pop(time_ns, None)

    def save(self, wanted: set[int]) -> None:
        """What a state is about to name."""
        for time_ns in wanted - self._written:
            if self._path(time_ns).exists():  # written by an earlier run, of the same file
                continue
            beside = self._path(time_ns).with_suffix(".part")
            with beside.open("wb") as file:
                np.save(file, self._pictures[time_ns], allow_pickle=False)
            beside.replace(self._path(time_ns))
        self._written |= wanted

    def sweep(self, wanted: set[int]) -> None:
        """Removes what the newest state does not name."""
        for path in self._folder.glob("*.npy"):
            if int(path.stem) not in wanted:
                path.unlink()
        self._written &= wanted

    def _path(self, time_ns: int) -> Path:
        return self._folder / f"{time_ns}.npy"


class Journal:
    """Of one video."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity
        folder.mkdir(parents=True, exist_ok=True)
        self.shelf = Shelf(folder)

    def load(self) -> tuple[Progress, dict[str, NDArray[Any]]]:
        """The last state; a fresh one where there is none, or it is of another file."""
        try:
            with (
                (self.folder / "state.npz").open("rb") as data,
                np.load(data, allow_pickle=False) as file,
            ):
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(str(arrays.pop("facts")))
        except FileNotFoundError:
            return self._fresh(), {}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.folder / 'state.npz'} is damaged: remove it") from error
        if facts.pop("format", None) != FORMAT or facts["identity"] != self.identity:
            return self._fresh(), {}
        return Progress(**facts), arrays

    def _fresh(self) -> Progress:
        """From the start: what lies here is of another file, or of other settings."""
        self.shelf.sweep(set())
        return Progress(self.identity)

    def commit(self, progress: Progress, finder: Finder | None) -> None:
        """Puts the state in place of the last one. finder: None when the video is done."""
        arrays = {} if finder is None else dump(finder)
        wanted = set() if finder is None else pictures_of(finder)
        self.shelf.save(wanted)
        facts = {"format": FORMAT, **dataclasses.asdict(progress)}
        beside = self.folder / "state.part"
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.folder / "state.npz")
        self.shelf.sweep(wanted)


def identity_of(path: Path, settings: object) -> str:
    """Of a file by size and time, and of what is asked of it."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {settings}"


def pictures_of(finder: Finder) -> set[int]:
    """Times of the pictures that the finder may still ask for."""
    return {kept.time_ns for kept in _kept(finder)}


def _kept(finder: Finder) -> list[Kept]:
    found = [*finder.ring, *([finder.spare] if finder.spare else [])]
    if finder.open is not None:
        found += [k for best in finder.open.best.values() for k in best]
        found += [finder.open.clear] if finder.open.clear else []
    return found


def _packed(values: list[Any], name: str, out: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Dataclass values as plain facts, their arrays stacked in `out` under NAME.FIELD."""
    rows = []
    for value in values:
        facts = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        rows.append({k: v for k, v in facts.items() if not isinstance(v, np.ndarray)})
    if values:
        for f in dataclasses.fields(values[0]):
            if isinstance(getattr(values[0], f.name), np.ndarray):
                out[f"{name}.{f.name}"] = np.stack([getattr(v, f.name) for v in values])
    return rows


def _unpacked(
    make: Callable[..., Any], rows: list[dict[str, Any]], name: str, arrays: dict[str, NDArray[Any]]
) -> list[Any]:
    fields = {k.split(".")[1]: v for k, v in arrays.items() if k.startswith(f"{name}.")}
    return [make(**row, **{f: v[n] for f, v in fields.items()}) for n, row in enumerate(rows)]


def _reading(**facts: Any) -> Reading:
    return Reading(**{**facts, "logits": tuple(facts["logits"])})


def dump(finder: Finder) -> dict[str, NDArray[Any]]:
    """All that a finder remembers, as arrays."""
    out: dict[str, NDArray[Any]] = {}
    opened = finder.open
    plain: dict[str, Any] = {
        "entries": _packed(list(finder.view.entries), "entries", out),
        "waiting": _packed(list(finder.view.waiting), "waiting", out),
        "case": list(finder.view.case),
        "arriving": list(finder.view.arriving),
        "before": _packed([finder.before] if finder.before else [], "before", out),
        "ring": _packed(list(finder.ring), "ring", out),
        "spare": _packed([finder.spare] if finder.spare else [], "spare", out),
        "smooth": finder.smooth,
        "history": list(finder.history),
        "strange_since_ns": finder.strange_since_ns,
    }
    if opened is not None:
        plain["open"] = {
            "start_ns": opened.start_ns, "votes": opened.votes, "splashes": opened.splashes,
            "covered": opened.covered, "level": opened.level,
            "clear_since_ns": opened.clear_since_ns, "lost_since_ns": opened.lost_since_ns,
            "levels": [level for level, best in opened.best.items() for _ in best],
        }  # fmt: skip
        best = [k for kept in opened.best.values() for k in kept]
        plain["best"] = _packed(best, "best", out)
        plain["clear"] = _packed([opened.clear] if opened.clear else [], "clear", out)
    out["finder"] = np.array(json.dumps(plain))
    return out


def restore(finder: Finder, arrays: dict[str, NDArray[Any]]) -> None:
    """Gives a new finder the memory of another."""
    plain = json.loads(str(arrays["finder"]))
    finder.view.entries.extend(_unpacked(_reading, plain["entries"], "entries", arrays))
    finder.view.waiting.extend(_unpacked(_reading, plain["waiting"], "waiting", arrays))
    finder.view.case.extend((a, b, c) for a, b, c in plain["case"])
    finder.view.arriving.extend((t, (a, b, c)) for t, (a, b, c) in plain["arriving"])
    before = _unpacked(_reading, plain["before"], "before", arrays)
    finder.before = before[0] if before else None
    finder.ring.extend(_unpacked(Kept, plain["ring"], "ring", arrays))
    spare = _unpacked(Kept, plain["spare"], "spare", arrays)
    finder.spare = spare[0] if spare else None
    finder.smooth = plain["smooth"]
    finder.history.extend((t, s) for t, s in plain["history"])
    finder.strange_since_ns = plain["strange_since_ns"]
    if "open" in plain:
        facts = plain["open"]
        levels = facts.pop("levels")
        clear = _unpacked(Kept, plain["clear"], "clear", arrays)
        facts["votes"] = [tuple(v) for v in facts["votes"]]
        kept_clear = clear[0] if clear else None
        if kept_clear and finder.spare and kept_clear.time_ns == finder.spare.time_ns:
            kept_clear = finder.spare  # the one picture under two names
        finder.open = Open(clear=kept_clear, **facts)
        for level, kept in zip(levels, _unpacked(Kept, plain["best"], "best", arrays), strict=True):
            finder.open.best.setdefault(level, []).append(kept)
