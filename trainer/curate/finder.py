"""Finds episodes in the readings of one video, in one pass: clear, then degraded, then clear.

It decides at once which pictures may be needed later (the last clear ones, the best of each level)
and has only these kept, so that no video is decoded a second time for them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from engines.restorer import LEVEL_BOUNDS, Kind, SplashType
from trainer.curate.clear import ClearView, Hindrance
from trainer.curate.measure import Floats, Pixels, Reading, agreement, is_cut

S = 1_000_000_000
OUTSIDE_S = 1.0  # so long without tissue is out of the body; less is a glare
SAME_SCENE = 0.35  # agreement of structure: real pairs 0.40 and more, other scenes 0.23 and less
STEADY = 0.6  # agreement of two samples in a row between which nothing much moved
LOST_S = 4.0
SPARE_S = 90.0  # an older clear frame shows too much else
CLIMB_S = 6.0  # the longest that thin smoke is seen to rise before it counts
LEVEL_SLACK = 0.05  # coverage under a bound at which a level falls again


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """every_s: between samples; close: score under which it is clear again (1 opens); smooth_s:
    time constant of the score, level_s: of the coverage; clear_s: so long clear ends an episode;
    per_level: pictures of each level in an episode; longest_s: a view that never clears is not an
    episode; test_share: of the cases."""

    every_s: float = 0.5
    close: float = 0.75
    smooth_s: float = 1.0
    level_s: float = 0.6
    clear_s: float = 1.5
    shortest_s: float = 1.0
    longest_s: float = 300.0
    per_level: int = 2
    apart_s: float = 1.0
    ring_s: float = 12.0
    test_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Kept:
    """A frame whose picture is on the shelf. small, sketch: as in trainer/curate/measure.py."""

    time_ns: int
    small: Pixels
    sketch: Floats
    score: float
    sharp: float
    covered: float
    level: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One time of bad view. frames: chosen degraded ones; agreements: of each with the clear frame;
    refusal: why it gives no pairs, empty where it does."""

    start_ns: int
    end_ns: int
    clear: Kept | None
    frames: tuple[Kept, ...]
    agreements: tuple[float, ...]
    kind: Kind
    splash_type: SplashType | None
    refusal: str


@dataclass(slots=True)
class Open:
    """An episode that has not ended."""

    start_ns: int
    clear: Kept | None
    best: dict[int, list[Kept]] = field(default_factory=dict)
    votes: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    splashes: list[SplashType] = field(default_factory=list)
    covered: float = 0.0
    level: int = 1
    clear_since_ns: int | None = None
    lost_since_ns: int | None = None


class Shelf(Protocol):
    """Full-size pictures by the time of their frame."""

    def put(self, time_ns: int, picture: Pixels) -> None: ...
    def drop(self, time_ns: int) -> None: ...


class Finder:
    """Takes the readings of one video in order."""

    def __init__(self, settings: Settings, shelf: Shelf) -> None:
        self.settings, self.shelf = settings, shelf
        self.view = ClearView()
        self.ring: deque[Kept] = deque()
        self.before: Reading | None = None
        self.smooth = 0.0
        self.history: deque[tuple[int, float]] = deque()  # smoothed scores of the last ring_s
        self.open: Open | None = None
        self.strange_since_ns: int | None = None
        self.spare: Kept | None = None  # the last episode's clear frame, while the view is the same

    @property
    def reference(self) -> Pixels | None:
        """A clear frame for the detector: not the very last, which may hold the first smoke."""
        if self.before is None:
            return None
        if self.open is not None:
            return None if self.open.clear is None else self.open.clear.small
        trusted = [k for k in self.ring if self.before.time_ns - k.time_ns >= 4 * S]
        return trusted[-1].small if trusted else None

    def step(self, now: Reading, small: Pixels, full: Callable[[], Pixels]) -> Episode | None:
        """One frame; an episode where this one ends it. full: the picture at its own size."""
        settings, before = self.settings, self.before
        self.before = now
        if now.outside:
            since = self.strange_since_ns = self.strange_since_ns or now.time_ns
            if now.time_ns - since >= OUTSIDE_S * S:
                return self._leave(now, f"the scope left the body ({now.outside})")
            return None
        self.strange_since_ns = None
        left: Episode | None = None
        veiled = self.open is not None and self.smooth >= settings.close
        if before is not None and not before.outside:
            if is_cut(before, now, veiled=veiled):
                left = self._leave(now, "the camera cut to another view")
            elif self.open is not None and self._lost(self.open, before, now):
                left = self._leave(now, "the camera turned to another view")
        found = self.view.judge(now)
        share = min(1.0, settings.every_s / settings.smooth_s)
        self.smooth = found.score if left else self.smooth + (found.score - self.smooth) * share
        self.history.append((now.time_ns, self.smooth))
        while now.time_ns - self.history[0][0] > settings.ring_s * S:
            self.history.popleft()
        if self.open is None:
            if self.smooth >= 1.0:
                self._begin(now)
            elif found.score < 1.0 and self.smooth < settings.close:
                self._clear(now, small, found, full)
        if self.open is not None:
            return left or self._degraded(self.open, now, small, found, full)
        return left

    def end(self) -> Episode | None:
        """The video is over."""
        now = self.before
        ended = None
        if now is not None and self.open is not None:
            ended = self._finish(self.open, now.time_ns, "the video ended before it was clear")
        return ended

    def forget(self, episode: Episode) -> None:
        """The pictures of an episode have been written."""
        for kept in (*episode.frames, *([episode.clear] if episode.clear else [])):
            self._drop(kept)

    def _drop(self, kept: Kept) -> None:
        """Off the shelf, unless it is still wanted."""
        wanted = [*self.ring, *([self.spare] if self.spare else [])]
        if all(kept.time_ns != other.time_ns for other in wanted):
            self.shelf.drop(kept.time_ns)

    def _lost(self, episode: Open, before: Reading, now: Reading) -> bool:
        """Whether a scene is seen, and steadily, that is not the one the episode began in."""
        if episode.clear is None:
            return False
        other = agreement(episode.clear.sketch, now.sketch) < SAME_SCENE
        if not (other and agreement(before.sketch, now.sketch) > STEADY):
            episode.lost_since_ns = None
            return False
        since = episode.lost_since_ns = episode.lost_since_ns or now.time_ns
        return now.time_ns - since >= LOST_S * S

    def _leave(self, now: Reading, why: str) -> Episode | None:
        """Another view: nothing known of the old one holds any more."""
        ended = self._finish(self.open, now.time_ns, why) if self.open else None
        wanted = {k.time_ns for k in _pictures(ended)}
        for kept in (*self.ring, *([self.spare] if self.spare else [])):
            if kept.time_ns not in wanted:
                self.shelf.drop(kept.time_ns)
        self.ring.clear()
        self.spare = None
        self.view.turn()
        self.smooth = 0.0
        self.history.clear()
        return ended

    def _clear(
        self, now: Reading, small: Pixels, found: Hindrance, full: Callable[[], Pixels]
    ) -> None:
        """A clear frame: what the case looks like, and perhaps the next pre-smoke frame."""
        self.view.add(now)
        if self.ring and now.time_ns - self.ring[-1].time_ns < 1 * S:
            return
        self.shelf.put(now.time_ns, full())
        self.ring.append(
            Kept(now.time_ns, small, now.sketch, found.score, found.sharp, found.covered, 0)
        )
        while now.time_ns - self.ring[0].time_ns > self.settings.ring_s * S:
            self.shelf.drop(self.ring.popleft().time_ns)

    def _begin(self, now: Reading) -> None:
        """Goes back to where the score began to rise, and farther for what was not yet seen."""
        onset = now.time_ns
        for low in (0.3, 0.5, self.settings.close):  # some cases are never quieter
            below = [t for t, smooth in self.history if smooth < low]
            if below and now.time_ns - below[-1] <= CLIMB_S * S:
                onset = below[-1]
                break
        climb_s = (now.time_ns - onset) / S
        guard_s = min(1.0 + 1.5 * climb_s, 5.0)
        past = [k for k in self.ring if k.time_ns <= onset - 1 * S]
        early = [k for k in past if k.time_ns <= onset - guard_s * S] or past[:1]
        sharp = [k for k in early if k.sharp >= 0.85 and k.score < 0.4]
        clear = (sharp or early)[-1] if early else None
        if clear is not None and early[-1].time_ns - clear.time_ns > 3 * S:
            clear = early[-1]
        spare = self.spare
        if clear is None and spare is not None and now.time_ns - spare.time_ns <= SPARE_S * S:
            clear = spare  # it has hardly been clear since the last time
        for kept in self.ring:
            if clear is None or kept.time_ns != clear.time_ns:
                self.shelf.drop(kept.time_ns)
        self.ring.clear()
        self.view.distrust()
        self.open = Open(onset, clear)

    def _degraded(
        self, episode: Open, now: Reading, small: Pixels, found: Hindrance,
        full: Callable[[], Pixels],
    ) -> Episode | None:  # fmt: skip
        settings = self.settings
        share = min(1.0, settings.every_s / settings.level_s)
        episode.covered += (found.covered - episode.covered) * share
        episode.level = steady_level(episode.level, episode.covered)
        if self.smooth < settings.close:
            since = episode.clear_since_ns = episode.clear_since_ns or now.time_ns
            if now.time_ns - since >= settings.clear_s * S:
                refusal = ""
                if episode.clear is not None and (
                    agreement(episode.clear.sketch, now.sketch) < SAME_SCENE
                ):
                    refusal = "it was clear again only in another view"
                return self._finish(episode, since, refusal)
            return None
        episode.clear_since_ns = None
        if found.score >= 1.0:
            episode.votes.append(found.rises)
            if now.splash_type is not None:
                episode.splashes.append(now.splash_type)
            kept = Kept(now.time_ns, small, now.sketch, found.score, found.sharp, found.covered,
                        episode.level)  # fmt: skip
            self._choose(episode.best.setdefault(episode.level, []), kept, full)
        if now.time_ns - episode.start_ns > settings.longest_s * S:
            ended = self._finish(episode, now.time_ns, "it lasted too long to be one episode")
            self.view, self.smooth = ClearView(), 0.0
            return ended
        return None

    def _choose(self, best: list[Kept], kept: Kept, full: Callable[[], Pixels]) -> None:
        """Keeps the sharpest of a level that are not neighbours."""
        near = [k for k in best if kept.time_ns - k.time_ns < self.settings.apart_s * S]
        rivals = near or (best if len(best) >= self.settings.per_level else [])
        if rivals:
            worst = min(rivals, key=lambda k: k.sharp)
            if worst.sharp >= kept.sharp:
                return
            best.remove(worst)
            self.shelf.drop(worst.time_ns)
        self.shelf.put(kept.time_ns, full())
        best.append(kept)

    def _finish(self, episode: Open, end_ns: int, refusal: str) -> Episode:
        self.open = None
        if episode.clear is not None and episode.clear is not self.spare:
            if self.spare is not None:
                self.shelf.drop(self.spare.time_ns)
            self.spare = episode.clear
        frames = tuple(
            sorted((k for best in episode.best.values() for k in best), key=lambda k: k.time_ns)
        )
        clear = episode.clear
        if clear is None:
            refusal = refusal or "no clear frame was seen before it"
        elif len(episode.votes) * self.settings.every_s < self.settings.shortest_s or not frames:
            refusal = refusal or "it was too short"
        fits = tuple(0.0 if clear is None else agreement(clear.sketch, k.sketch) for k in frames)
        kind = kind_of(episode.votes)
        names = episode.splashes
        splash = Counter(names).most_common(1)[0][0] if kind == "splash" and names else None
        return Episode(episode.start_ns, end_ns, clear, frames, fits, kind, splash, refusal)


def _pictures(episode: Episode | None) -> tuple[Kept, ...]:
    if episode is None:
        return ()
    return (*episode.frames, *([episode.clear] if episode.clear else []))


def steady_level(before: int, covered: float) -> int:
    """The level of a coverage, which rises at a bound and falls only well under it."""
    up = 1 + sum(covered >= bound for bound in LEVEL_BOUNDS)
    down = 1 + sum(covered >= bound - LEVEL_SLACK for bound in LEVEL_BOUNDS)
    return max(up, min(before, down))


def kind_of(votes: list[tuple[float, float, float, float, float]]) -> Kind:
    """What the detector rose most for; where it rose for nothing, lost detail is soiling and lost
    black is smoke."""
    if not votes:
        return "smoke"
    smoke, fog, splash, dulled, lifted = np.mean(np.maximum(votes, 0), 0)
    if max(smoke, fog, splash) < 0.8:
        return "splash" if dulled >= lifted else "smoke"
    kinds: dict[Kind, float] = {"smoke": float(smoke), "fog": float(fog), "splash": float(splash)}
    return max(kinds, key=lambda kind: kinds[kind])
