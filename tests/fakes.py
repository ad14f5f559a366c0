"""A scripted restorer for tests: it delays, raises or returns garbage on named frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from engines.picture import Picture, Rgb, Yuv420
from engines.restorer import NOTHING, Analysis, Degradation, Detection

SMOKY = replace(NOTHING, smoke=Degradation(probability=0.99, coverage=0.6, level=2))


def identity(picture: Picture) -> Picture:
    if isinstance(picture, Rgb):
        return Rgb(picture.pixels.copy())
    return replace(picture, y=picture.y.copy(), u=picture.u.copy(), v=picture.v.copy())


def brighten(picture: Picture) -> Picture:
    """A visible, harmless change: luma up by 8 grey levels."""
    if isinstance(picture, Rgb):
        return Rgb(np.minimum(picture.pixels.astype(np.int16) + 8, 255).astype(np.uint8))
    y = np.minimum(picture.y.astype(np.int16) + 8, 235).astype(np.uint8)
    return replace(picture, y=y, u=picture.u.copy(), v=picture.v.copy())


def wrong_shape(picture: Picture) -> Picture:
    if isinstance(picture, Rgb):
        return Rgb(picture.pixels[:-2, :-2])
    return Yuv420(picture.y[:-2, :-2], picture.u[:-1, :-1], picture.v[:-1, :-1], picture.colour)


def flat(picture: Picture) -> Picture:
    if isinstance(picture, Rgb):
        return Rgb(np.zeros_like(picture.pixels))
    return replace(picture, y=np.full_like(picture.y, 16))


def swap_chroma(picture: Picture) -> Picture:
    """Red and blue changed places."""
    if isinstance(picture, Rgb):
        return Rgb(np.ascontiguousarray(picture.pixels[:, :, ::-1]))
    return replace(picture, u=picture.v.copy(), v=picture.u.copy())


@dataclass
class FakeRestorer:
    """Does `otherwise` to every frame, except those whose index (from 0) is in `script`.

    A script entry is a picture function, a number of seconds to sleep first, or an exception.
    """

    script: Mapping[int, Callable[[Picture], Picture] | float | Exception] = field(
        default_factory=dict
    )
    otherwise: Callable[[Picture], Picture] = brighten
    detection: Detection = SMOKY
    detections: Mapping[int, Detection] = field(default_factory=dict)
    name: str = "fake"
    analysed: int = 0
    applied: int = 0
    references: int = 0

    def analyse(self, picture: Picture) -> Analysis:
        index = self.analysed
        self.analysed += 1
        return Analysis(detection=self.detections.get(index, self.detection), maps=index)

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        self.applied += 1
        step = self.script.get(analysis.maps, self.otherwise)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, int | float):
            time.sleep(step)
            return self.otherwise(picture)
        return step(picture)

    def refer(self, picture: Picture | None) -> None:
        self.references += picture is not None

    def reset(self) -> None: ...

    def warm(self, width: int, height: int) -> None: ...

    def close(self) -> None: ...
