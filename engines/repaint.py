"""A network that takes a whole RGB frame and gives a whole one: the repair, without detection.

`Repaint` runs it at the picture's own size. `HalfRepaint` runs it at half, for a fourth of the
work: the change that the network makes is enlarged and added to the picture, so that the picture
keeps its own detail.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.colour import to_rgb, to_yuv420
from engines.contract import KNOWN, REFERENCE, REFERENCE_SIZE, as_reference
from engines.engine import Array, Engine
from engines.errors import FeedsWrong
from engines.manifest import Manifest
from engines.picture import Picture, Rgb

Pixels = NDArray[np.uint8]  # h w 3


class Repainter(Protocol):
    """Repairs pictures of one size. `warm` raises FeedsWrong for another size.

    reference: a clear picture of the scene as `as_reference` of engines/contract.py makes it, for
    a network that takes one; None for none.
    """

    def apply(
        self, picture: Picture, strength: float = 1.0, reference: Pixels | None = None
    ) -> Picture: ...
    def warm(self, width: int, height: int) -> None: ...
    def close(self) -> None: ...


def mixed(after: Pixels, before: Picture, light: Pixels, strength: float) -> Picture:
    """The repaired pixels as a picture of the kind of `before`, mixed with its own (`light`)."""
    if strength < 1:
        after = np.asarray(cv2.addWeighted(after, strength, light, 1 - strength, 0.0), np.uint8)
    return Rgb(after) if isinstance(before, Rgb) else to_yuv420(Rgb(after), before.colour)


def referred(picture: Picture | None) -> Pixels | None:
    """A clear picture as a reference; None for none."""
    if picture is None:
        return None
    return as_reference((picture if isinstance(picture, Rgb) else to_rgb(picture)).pixels)


class Repaint:
    """Raises FeedsWrong for an engine that does not take and give uint8 RGB frames, 1 h w 3, with
    or without a reference beside them."""

    def __init__(self, engine: Engine, manifest: Manifest) -> None:
        frame, *beside = manifest.inputs
        ports = (frame, *manifest.outputs)
        frames = all(
            port.dtype == "uint8" and port.shape[0] == 1 and port.shape[3:] == (3,)
            for port in ports
        )
        if len(ports) != 2 or not frames or ports[0].shape != ports[1].shape:
            raise FeedsWrong(f"{manifest.name} does not take and give RGB frames", "use another")
        referred = [(p.name, p.dtype, p.shape) for p in beside]
        wanted = [(REFERENCE, "uint8", (1, *REFERENCE_SIZE, 3)), (KNOWN, "float32", (1,))]
        if referred not in ([], wanted):
            raise FeedsWrong(f"{manifest.name} takes more than frame and reference", "use another")
        self._engine = engine
        self._input, self._output = (port.name for port in ports)
        _, self._height, self._width, _ = ports[0].shape
        self._name, self._referred = manifest.name, bool(referred)

    def repaint(self, light: Pixels, reference: Pixels | None = None) -> Pixels:
        """The network's answer to one frame. Raises FeedsWrong, RunFailed."""
        self._fits(light.shape[1], light.shape[0])
        feeds: dict[str, Array] = {self._input: np.ascontiguousarray(light)[None]}
        if self._referred:
            beside = np.zeros((*REFERENCE_SIZE, 3), np.uint8) if reference is None else reference
            feeds[REFERENCE] = beside[None]
            feeds[KNOWN] = np.full(1, reference is not None, np.float32)
        out: Pixels = self._engine.run(feeds)[self._output][0]
        return out

    def apply(
        self, picture: Picture, strength: float = 1.0, reference: Pixels | None = None
    ) -> Picture:
        """The network's picture, mixed with the input by strength. Raises FeedsWrong, RunFailed."""
        light = (picture if isinstance(picture, Rgb) else to_rgb(picture)).pixels
        return mixed(self.repaint(light, reference), picture, light, strength)

    def warm(self, width: int, height: int) -> None:
        """Runs once, so that the first frame is not late. Raises FeedsWrong for another size."""
        self._fits(width, height)
        self.repaint(np.full((height, width, 3), 90, np.uint8))

    def close(self) -> None:
        self._engine.close()

    def _fits(self, width: int, height: int) -> None:
        if (width, height) != (self._width, self._height):
            raise FeedsWrong(
                f"{self._name} takes {self._width}x{self._height}, not {width}x{height}",
                f"surgiclear engines export ... --size {width}x{height}",
            )


def half(side: int) -> int:
    """Of an odd side, the larger half."""
    return (side + 1) // 2


class HalfRepaint:
    """A network for half the sides, over pictures of the whole size."""

    def __init__(self, small: Repaint) -> None:
        self._small = small

    def apply(
        self, picture: Picture, strength: float = 1.0, reference: Pixels | None = None
    ) -> Picture:
        """The picture plus the enlarged change. Raises FeedsWrong, RunFailed."""
        light = (picture if isinstance(picture, Rgb) else to_rgb(picture)).pixels
        h, w = light.shape[:2]
        small = cv2.resize(light, (half(w), half(h)), interpolation=cv2.INTER_AREA)
        small = np.asarray(small, np.uint8)
        change = self._small.repaint(small, reference).astype(np.int16) - small
        wide = cv2.resize(change, (w, h), interpolation=cv2.INTER_LINEAR)
        after = cv2.add(light, wide, dtype=cv2.CV_8U)  # saturates
        return mixed(np.asarray(after, np.uint8), picture, light, strength)

    def warm(self, width: int, height: int) -> None:
        """As Repaint.warm, at half the size."""
        self._small.warm(half(width), half(height))

    def close(self) -> None:
        self._small.close()
