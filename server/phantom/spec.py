"""What a phantom feed shows: its size and rate, its episodes, and the URL that says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar, get_args
from urllib.parse import parse_qsl

from engines.restorer import KINDS, SPLASH_TYPES, SplashType
from server.errors import SettingInvalid
from server.spec import Kind

N = TypeVar("N", int, float, Fraction)

SCHEME = "phantom:"
SIDES_PX = (64, 1920)  # shortest and longest side
USAGE = "phantom:?size=1280x720&fps=25&seconds=40&seed=3&episodes=smoke,fog,splash&level=1-4"

# Shares of an episode's slot: clear before it, rise, hold, fall; what is left is clear again.
SHARES: dict[Kind, tuple[float, float, float, float]] = {
    "smoke": (0.20, 0.30, 0.20, 0.20),
    "fog": (0.20, 0.25, 0.32, 0.06),
    "splash": (0.20, 0.05, 0.50, 0.06),
}
DEFAULT_LEVELS: dict[Kind, int] = {"smoke": 4, "fog": 3, "splash": 2}

OPTIONS = ("size", "fps", "seconds", "seed", "episodes", "level", "splash", "loops")
NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?(/[0-9]{1,6})?")

TARGETS = {1: 0.22, 2: 0.50, 3: 0.79, 4: 0.985}  # coverage that an episode of each level holds


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSpec:
    """One feed. Raises SettingInvalid for values out of range.

    episodes: in order, each a set of kinds that come together; level: what every episode reaches,
    None for the defaults; splash_type: None draws one from the seed; loops: how many times
    `pictures` plays, 0 for ever.
    """

    width: int = 1280
    height: int = 720
    fps: Fraction = Fraction(25)
    seconds: float = 40.0
    seed: int = 0
    episodes: tuple[tuple[Kind, ...], ...] = (("smoke",), ("fog",), ("splash",))
    level: int | None = None
    splash_type: SplashType | None = None
    loops: int = 1

    def __post_init__(self) -> None:
        low, high = SIDES_PX
        _demand(
            low <= self.width <= high and low <= self.height <= high,
            f"phantom size {self.width}x{self.height} is out of range",
            f"use sides of {low} to {high} pixels",
        )
        _demand(1 <= self.fps <= 240, f"phantom fps {self.fps} is out of range", "use 1 to 240")
        _demand(
            1.0 <= self.seconds <= 600.0,
            f"phantom seconds {self.seconds:g} is out of range",
            "use 1 to 600",
        )
        _demand(
            0 <= self.seed < 2**32, f"phantom seed {self.seed} is out of range", "use 0 to 2^32"
        )
        _demand(
            self.level in (None, 1, 2, 3, 4),
            f"phantom level {self.level} does not exist",
            "use 1-4",
        )
        _demand(self.loops >= 0, f"phantom loops {self.loops} is negative", "use 0 for ever")

    @property
    def frames(self) -> int:
        """Frames in one loop, at least 1."""
        return max(1, round(self.seconds * self.fps))

    def timeline(self) -> tuple[Episode, ...]:
        """The episodes of one loop; the loop begins and ends clear."""
        slot = self.frames / float(self.fps) / max(1, len(self.episodes))
        found = []
        for index, kinds in enumerate(self.episodes):
            for kind in kinds:
                lead, rise, hold, fall = (share * slot for share in SHARES[kind])
                level = DEFAULT_LEVELS[kind] if self.level is None else self.level
                found.append(
                    Episode(kind, level, TARGETS[level], index * slot + lead, rise, hold, fall)
                )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Episode:
    """One kind, once in a loop. target: coverage while it holds."""

    kind: Kind
    level: int
    target: float
    start_s: float
    rise_s: float
    hold_s: float
    fall_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.rise_s + self.hold_s + self.fall_s

    def grown(self, t_s: float) -> float:
        """How far it has risen, 0-1, linear in time; stays 1 after."""
        return min(1.0, max(0.0, (t_s - self.start_s) / self.rise_s))

    def gone(self, t_s: float) -> float:
        """How far it has fallen or been wiped, 0-1, linear in time."""
        return min(1.0, max(0.0, (t_s - self.end_s + self.fall_s) / self.fall_s))

    def on(self, t_s: float) -> bool:
        return self.start_s < t_s < self.end_s


def parse(url: str) -> PhantomSpec:
    """The feed that `phantom:` and its query name. Raises SettingInvalid for anything else."""
    if not url.startswith(SCHEME):
        raise SettingInvalid(f"{url!r} is not a phantom", f"write {USAGE}")
    rest = url[len(SCHEME) :].removeprefix("//")
    if rest and not rest.startswith("?"):
        raise SettingInvalid(f"{url!r} has {rest!r} where its options begin", f"write {USAGE}")
    try:
        query = rest[1:].replace("+", "%2B")  # in a query + means a space
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise SettingInvalid(f"{rest!r} is not key=value&key=value", f"write {USAGE}") from None
    values: dict[str, str] = {}
    for key, value in pairs:
        if key not in OPTIONS:
            raise SettingInvalid(f"phantom has no option {key!r}", f"it has {', '.join(OPTIONS)}")
        if key in values:
            raise SettingInvalid(f"phantom option {key} is given twice", "give it once")
        values[key] = value
    return from_options(values)


def from_options(values: dict[str, str]) -> PhantomSpec:
    """The feed that options by name describe (those not named keep their defaults)."""
    base = PhantomSpec()
    width, height = _size(values["size"]) if "size" in values else (base.width, base.height)
    splash = values.get("splash")
    if splash is not None and splash not in SPLASH_TYPES:
        raise SettingInvalid(f"no splash is called {splash!r}", f"it is {', '.join(SPLASH_TYPES)}")
    return PhantomSpec(
        width=width,
        height=height,
        fps=_number("fps", values["fps"], Fraction) if "fps" in values else base.fps,
        seconds=_number("seconds", values["seconds"], float)
        if "seconds" in values
        else base.seconds,
        seed=_number("seed", values["seed"], int) if "seed" in values else base.seed,
        episodes=_episodes(values["episodes"]) if "episodes" in values else base.episodes,
        level=_number("level", values["level"], int) if "level" in values else None,
        splash_type=next((known for known in SPLASH_TYPES if known == splash), None),
        loops=_number("loops", values["loops"], int) if "loops" in values else base.loops,
    )


def _demand(held: bool, what: str, do: str) -> None:
    if not held:
        raise SettingInvalid(what, do)


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise SettingInvalid(f"phantom size {text!r} is not WIDTHxHEIGHT", "write size=1280x720")
    return int(sides[0]), int(sides[1])


def _number(name: str, text: str, kind: Callable[[str], N]) -> N:
    try:
        if NUMBER.fullmatch(text):
            return kind(text)
    except (ValueError, ZeroDivisionError):
        pass  # said below
    raise SettingInvalid(f"phantom {name} {text!r} is not such a number", f"write {USAGE}")


def _episodes(text: str) -> tuple[tuple[Kind, ...], ...]:
    """`smoke,fog` one after the other; `smoke+splash` together; `none`."""
    if text in ("", "none"):
        return ()
    found: list[tuple[Kind, ...]] = []
    for item in text.split(","):
        names = item.split("+")
        wrong = [name for name in names if name not in KINDS]
        if wrong or len(set(names)) != len(names):
            raise SettingInvalid(
                f"phantom episode {item!r} is not known",
                f"it is none, or of {', '.join(KINDS)}, with + for together",
            )
        found.append(tuple(kind for kind in get_args(Kind) if kind in names))
    return tuple(found)
