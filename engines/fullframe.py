"""A restorer around a network that takes whole RGB frames: RAMiT, FocalNet and the rest.

Such a network says nothing of what hides the view, so a detector (the `veil` restorer) looks at
each frame first, and the gate decides by its word. The network keeps no state between frames;
unlike `veil` its output is not bounded by its input, and the guard has the last word on it.
"""

from __future__ import annotations

import cv2
import numpy as np

from engines.colour import to_rgb, to_yuv420
from engines.engine import Engine
from engines.errors import FeedsWrong
from engines.manifest import Manifest
from engines.picture import Picture, Rgb
from engines.restorer import Analysis, Restorer


class FullFrame:
    """Restores the pictures of one stream, in order, at the one size that the engine takes.

    Raises FeedsWrong for an engine that does not take and give uint8 RGB frames, 1 h w 3.
    """

    def __init__(self, engine: Engine, manifest: Manifest, detector: Restorer) -> None:
        ports = (*manifest.inputs, *manifest.outputs)
        frames = all(
            port.dtype == "uint8" and port.shape[0] == 1 and port.shape[3:] == (3,)
            for port in ports
        )
        if len(ports) != 2 or not frames or ports[0].shape != ports[1].shape:
            raise FeedsWrong(f"{manifest.name} does not take and give RGB frames", "use another")
        self._engine, self._detector = engine, detector
        self._input, self._output = (port.name for port in ports)
        _, self._height, self._width, _ = ports[0].shape
        self._name = manifest.name

    @property
    def name(self) -> str:
        return self._name

    def refer(self, picture: Picture | None) -> None:
        """Only the detector uses a clear frame."""
        self._detector.refer(picture)

    def reset(self) -> None:
        """Forgets what the detector remembers."""
        self._detector.reset()

    def analyse(self, picture: Picture) -> Analysis:
        """The detector's word; the network runs in `apply`, so not on clear frames."""
        return Analysis(detection=self._detector.analyse(picture).detection, maps=None)

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        """The network's picture, mixed with the input by strength. Raises FeedsWrong, RunFailed."""
        self._fits(picture.width, picture.height)
        before = picture if isinstance(picture, Rgb) else to_rgb(picture)
        frame = np.ascontiguousarray(before.pixels)[None]
        after = self._engine.run({self._input: frame})[self._output][0]
        if strength < 1:
            after = np.asarray(
                cv2.addWeighted(after, strength, before.pixels, 1 - strength, 0.0), np.uint8
            )
        return Rgb(after) if isinstance(picture, Rgb) else to_yuv420(Rgb(after), picture.colour)

    def warm(self, width: int, height: int) -> None:
        """Runs once, so that the first frame is not late. Raises FeedsWrong for another size."""
        self._fits(width, height)
        self._detector.warm(width, height)
        shape = (1, height, width, 3)
        self._engine.run({self._input: np.full(shape, 90, np.uint8)})

    def close(self) -> None:
        self._engine.close()
        self._detector.close()

    def _fits(self, width: int, height: int) -> None:
        if (width, height) != (self._width, self._height):
            raise FeedsWrong(
                f"{self._name} takes {self._width}x{self._height}, not {width}x{height}",
                f"surgiclear engines export ... --size {width}x{height}",
            )
