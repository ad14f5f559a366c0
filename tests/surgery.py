"""A generated surgery with known episodes: phantom scenes, camera cuts and out-of-body views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from engines.picture import Yuv420
from engines.restorer import Kind
from server.phantom.feed import Feed, PhantomFrame
from server.phantom.spec import PhantomSpec
from trainer.curate.decisions import Row

SIZE = (180, 320)  # h w
FPS = 5


@dataclass(frozen=True, slots=True)
class Scene:
    """A phantom scene of one loop, shown up to `until_s` (None: whole)."""

    seed: int
    seconds: float
    episodes: tuple[tuple[Kind, ...], ...]
    level: int | None = None
    until_s: float | None = None

    @property
    def length_s(self) -> float:
        return self.seconds if self.until_s is None else self.until_s

    def spec(self) -> PhantomSpec:
        return PhantomSpec(
            width=SIZE[1], height=SIZE[0], fps=Fraction(FPS), seconds=self.seconds,
            seed=self.seed, episodes=self.episodes, level=self.level,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outside:
    """Out of the body: drapes in room light, or dark."""

    length_s: float
    dark: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A true episode. whole: it began after, and ended before, clear frames of the same scene."""

    kind: Kind
    level: int
    start_s: float
    end_s: float
    whole: bool


KINDS: dict[str, Kind] = {"S": "smoke", "F": "fog", "P": "splash"}


def turn(*letters: str) -> tuple[tuple[Kind, ...], ...]:
    """Episodes one after the other."""
    return tuple((KINDS[letter],) for letter in letters)


TWENTY_MINUTES: tuple[Scene | Outside, ...] = (
    Outside(14),
    Scene(3, 252, turn(*"SFSPSSFSP")),
    Outside(8, dark=True),
    Scene(5, 252, turn(*"SSPFSSFSS"), 3),
    Scene(11, 224, turn(*"SFSSPSSF"), 2, until_s=212),
    Outside(11),
    Scene(23, 168, turn(*"FSSPSS"), None, until_s=160),
    Scene(31, 224, turn(*"SPSFSSFS"), 4),
    Outside(5),
    Scene(40, 60, ()),
)
SHORT: tuple[Scene | Outside, ...] = (
    Scene(3, 56, turn(*"SF")),
    Outside(4),
    Scene(11, 84, turn(*"SPS"), 3, until_s=72),
)


def reseeded(plan: tuple[Scene | Outside, ...], shift: int) -> tuple[Scene | Outside, ...]:
    """The same plan in other scenes."""
    return tuple(replace(p, seed=p.seed + shift) if isinstance(p, Scene) else p for p in plan)


class Surgery:
    """Its frames and the truth about them."""

    def __init__(self, plan: tuple[Scene | Outside, ...]) -> None:
        self.plan = plan
        self.starts_s: list[float] = []
        at = 0.0
        for part in plan:
            self.starts_s.append(at)
            at += part.length_s
        self.length_s = at
        self._feeds: dict[int, Feed] = {}

    def known(self) -> list[Known]:
        out = []
        for start, part in zip(self.starts_s, self.plan, strict=True):
            if isinstance(part, Scene):
                for e in part.spec().timeline():
                    if e.start_s < part.length_s:
                        whole = e.end_s <= part.length_s - 2
                        end = min(e.end_s, part.length_s)
                        out.append(Known(e.kind, e.level, start + e.start_s, start + end, whole))
        return out

    def frame(self, time_s: float) -> PhantomFrame | None:
        """The phantom's frame at this time; None out of the body."""
        number = max(n for n, start in enumerate(self.starts_s) if start <= time_s + 1e-6)
        part = self.plan[number]
        if isinstance(part, Outside):
            return None
        return self._feed(number, part).frame(round((time_s - self.starts_s[number]) * FPS))

    def _feed(self, number: int, part: Scene) -> Feed:
        if number not in self._feeds:
            self._feeds = {number: Feed(part.spec())}  # one at a time: a feed is large
        return self._feeds[number]

    def pictures(self) -> Iterator[Yuv420]:
        for number, part in enumerate(self.plan):
            for index in range(round(part.length_s * FPS)):
                if isinstance(part, Scene):
                    yield self._feed(number, part).picture(index)
                else:
                    yield outside(index, part.dark)

    def write(self, path: Path) -> Path:
        """As H.264 with B-frames and a key frame every 5 s."""
        with av.open(str(path), "w") as container:
            stream = container.add_stream(
                "libx264", rate=FPS, options={"preset": "veryfast", "crf": "18", "threads": "1"}
            )
            stream.height, stream.width = SIZE
            stream.pix_fmt = "yuv420p"
            stream.gop_size = 25
            for index, picture in enumerate(self.pictures()):
                planes = np.concatenate([p.ravel() for p in (picture.y, picture.u, picture.v)])
                image = av.VideoFrame.from_ndarray(
                    planes.reshape(SIZE[0] * 3 // 2, SIZE[1]), format="yuv420p"
                )
                image.pts, image.time_base = index, Fraction(1, FPS)
                container.mux(stream.encode(image))
            container.mux(stream.encode())
        return path


def outside(index: int, dark: bool) -> Yuv420:
    """Green drapes with folds, swinging as a scope in a hand does; or a lens with no light."""
    h, w = SIZE
    if dark:
        half = np.full((h // 2, w // 2), 128, np.uint8)
        return Yuv420(np.full((h, w), 18, np.uint8), half, half.copy())
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    swing = 9 * np.sin(index / 4)
    folds = 0.5 + 0.5 * np.sin((x + 2 * y) / 11 + swing)
    rgb = np.stack((40 + 20 * folds, 110 + 80 * folds, 90 + 50 * folds), 2).astype(np.uint8)
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    half_h, half_w = h // 2, w // 2
    u = planes[h : h + h // 4].reshape(half_h, half_w)
    v = planes[h + h // 4 :].reshape(half_h, half_w)
    return Yuv420(planes[:h].copy(), u.copy(), v.copy())


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a curation of a surgery compares with the truth. clear: for each accepted episode the
    covered share of the view in its pre-smoke frame, 0 for a truly clear one; kinds: true and
    graded kind of each; levels: true and graded level of each accepted picture."""

    found: int
    right: int
    known: int
    met: int
    clear: list[float]
    direct: list[float]
    kinds: list[tuple[str, str]]
    levels: list[tuple[int, int]]

    @property
    def precision(self) -> float:
        return self.right / max(1, self.found)

    @property
    def recall(self) -> float:
        return self.met / max(1, self.known)

    def lines(self) -> list[str]:
        kinds = Counter(self.kinds)
        exact = sum(true == graded for true, graded in self.levels)
        near = sum(abs(true - graded) <= 1 for true, graded in self.levels)
        worst = max(self.clear, default=0.0)
        return [
            f"precision {self.precision:.3f} ({self.right} of {self.found} accepted episodes)",
            f"recall {self.recall:.3f} ({self.met} of {self.known} known episodes)",
            f"pre-smoke frames: {sum(c == 0 for c in self.clear)} of {len(self.clear)} "
            f"have nothing covered, the worst {worst:.3f} of its view; least light let through "
            f"{min(self.direct, default=1.0):.3f}",
            f"levels: {exact} of {len(self.levels)} exact, {near} within one",
            "kinds, true as graded: "
            + ", ".join(f"{t} as {g} {n}" for (t, g), n in sorted(kinds.items())),
        ]


def judge(surgery: Surgery, rows: list[Row]) -> Verdict:
    """Holds the accepted episodes against the truth: half of the shorter one must overlap."""
    whole = [k for k in surgery.known() if k.whole]
    episodes: dict[str, list[Row]] = {}
    for row in rows:
        if row.verdict == "accept":
            episodes.setdefault(row.start_s, []).append(row)
    met: set[Known] = set()
    right = 0
    clear, direct = [], []
    kinds: list[tuple[str, str]] = []
    levels: list[tuple[int, int]] = []
    for group in episodes.values():
        start, end = float(group[0].start_s), float(group[0].end_s)
        truly = [k for k in whole if min(end, k.end_s) - max(start, k.start_s)
                 > 0.5 * min(end - start, k.end_s - k.start_s)]  # fmt: skip
        right += bool(truly)
        met |= set(truly)
        kinds += [(k.kind, group[0].kind) for k in truly[:1]]
        before = surgery.frame(float(group[0].clear_s))
        # a frame out of the body is no clear frame
        seen = before.detection if before else None
        worst = max(getattr(seen, kind).coverage for kind in KINDS.values()) if seen else 1.0
        clear.append(worst)
        direct.append(float(before.transmission.mean()) if before else 0.0)
        for row in group:
            now = surgery.frame(float(row.frame_s))
            levels.append((now.detection.level if now else 0, int(row.level)))
    return Verdict(len(episodes), right, len(whole), len(met), clear, direct, kinds, levels)
