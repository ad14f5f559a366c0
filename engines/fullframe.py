"""A restorer around a network that takes whole RGB frames: RAMiT, FocalNet and the rest.

Such a network says nothing of what hides the view, so a detector (the `veil` restorer) looks at
each frame first, and the gate decides by its word. The network keeps no state between frames; one
that takes a reference gets the clear frame that was the last at the picture's analysis. Unlike
`veil` its output is not bounded by its input, and the guard has the last word on it.
"""

from __future__ import annotations

from engines.contract import LUMA
from engines.engine import Engine
from engines.manifest import Manifest
from engines.nv12 import Nv12Repaint
from engines.ongpu import Frames
from engines.picture import Picture
from engines.repaint import Pixels, Repaint, Repainter, referred
from engines.restorer import Analysis, Restorer


def repainter(engine: Engine, manifest: Manifest, frames: Frames | None = None) -> Repainter:
    """The network's repair by its contract. Raises FeedsWrong for one that is none."""
    if manifest.inputs[0].name == LUMA:
        return Nv12Repaint(engine, manifest, frames)
    return Repaint(engine, manifest)


class FullFrame:
    """Restores the pictures of one stream, in order, at the one size that the engine takes.
    frames: memory on the GPU for pictures that stay there.

    Raises FeedsWrong for an engine that takes neither RGB frames nor a decoder's planes.
    """

    def __init__(
        self,
        engine: Engine,
        manifest: Manifest,
        detector: Restorer,
        frames: Frames | None = None,
    ) -> None:
        self._repaint = repainter(engine, manifest, frames)
        self._detector = detector
        self._name = manifest.name
        self._reference: Pixels | None = None

    @property
    def name(self) -> str:
        return self._name

    def refer(self, picture: Picture | None) -> None:
        """Detector and network have a clear frame beside the next pictures, or none."""
        self._reference = referred(picture)
        self._detector.refer(picture)

    def reset(self) -> None:
        """Forgets the clear frame, and what the detector remembers."""
        self._reference = None
        self._detector.reset()

    def analyse(self, picture: Picture) -> Analysis:
        """The detector's word, with the reference; the network runs in `apply`, so not on clear
        frames."""
        detection = self._detector.analyse(picture).detection
        return Analysis(detection=detection, maps=self._reference)

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        """The network's picture, mixed with the input by strength. Raises FeedsWrong, RunFailed."""
        return self._repaint.apply(picture, strength, analysis.maps)

    def warm(self, width: int, height: int) -> None:
        """Runs once, so that the first frame is not late. Raises FeedsWrong for another size."""
        self._repaint.warm(width, height)
        self._detector.warm(width, height)

    def close(self) -> None:
        self._repaint.close()
        self._detector.close()
