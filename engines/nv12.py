"""A full-frame network over a decoder's own planes (the nv12 contract), on the host or on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from engines.colour import to_rgb, to_yuv420
from engines.contract import CHROMA, COLOUR, LUMA, RESTORED_CHROMA, RESTORED_LUMA, STRENGTH
from engines.dlpack import Plane
from engines.engine import Array, Engine
from engines.errors import FeedsWrong
from engines.manifest import Manifest
from engines.ongpu import Frames, OnGpu
from engines.onnxrt import fixed_shape
from engines.picture import Picture, Rgb, Yuv420


@runtime_checkable
class TakesPlanes(Protocol):
    """An engine that reads and writes planes where they lie."""

    def run_planes(
        self, planes: Mapping[str, Plane], feeds: Mapping[str, Array], outputs: Mapping[str, Plane]
    ) -> None: ...


class Nv12Repaint:
    """A Repainter. frames: where restored planes on a GPU go, None for an engine on the host.

    Raises FeedsWrong for an engine of another contract.
    """

    def __init__(self, engine: Engine, manifest: Manifest, frames: Frames | None = None) -> None:
        names = [port.name for port in (*manifest.inputs, *manifest.outputs)]
        if names != [LUMA, CHROMA, STRENGTH, RESTORED_LUMA, RESTORED_CHROMA]:
            raise FeedsWrong(f"{manifest.name} does not take and give planes", "use another")
        self._engine, self._frames = engine, frames
        _, self._height, self._width = fixed_shape(manifest.inputs[0])
        self._name = manifest.name

    def apply(
        self, picture: Picture, strength: float = 1.0, reference: Array | None = None
    ) -> Picture:
        """The picture with the network's change, mixed by strength; on the GPU where it was. No
        network of this contract takes a reference.

        Raises FeedsWrong, RunFailed.
        """
        self._fits(picture.width, picture.height)
        planes = to_yuv420(picture, COLOUR) if isinstance(picture, Rgb) else picture
        if planes.colour != COLOUR:
            raise FeedsWrong(f"{self._name} takes BT.709 in 16-235", "export the rgb contract")
        share = np.full(1, strength, np.float32)
        on_gpu = isinstance(planes, OnGpu) and isinstance(self._engine, TakesPlanes)
        if on_gpu and self._frames is not None:
            return self._on_gpu(planes, share, self._frames)  # type: ignore[arg-type]
        chroma = np.stack([planes.u, planes.v], axis=-1)[None]
        luma = np.ascontiguousarray(planes.y)[None]
        feeds: dict[str, Array] = {LUMA: luma, CHROMA: chroma, STRENGTH: share}
        out = self._engine.run(feeds)
        y, uv = out[RESTORED_LUMA][0], out[RESTORED_CHROMA][0]
        u, v = np.ascontiguousarray(uv[..., 0]), np.ascontiguousarray(uv[..., 1])
        restored = Yuv420(y, u, v, COLOUR)
        return to_rgb(restored) if isinstance(picture, Rgb) else restored

    def _on_gpu(self, picture: OnGpu, share: Array, frames: Frames) -> OnGpu:
        luma, chroma = frames.fresh()
        engine = self._engine
        assert isinstance(engine, TakesPlanes)
        engine.run_planes(
            {LUMA: picture.luma, CHROMA: picture.chroma},
            {STRENGTH: share},
            {RESTORED_LUMA: luma, RESTORED_CHROMA: chroma},
        )
        return frames.picture(luma, chroma, picture.colour)

    def warm(self, width: int, height: int) -> None:
        """Runs once. Raises FeedsWrong for another size."""
        self._fits(width, height)
        half = np.full((height // 2, width // 2), 128, np.uint8)
        self.apply(Yuv420(np.full((height, width), 90, np.uint8), half, half, COLOUR))

    def close(self) -> None:
        self._engine.close()

    def _fits(self, width: int, height: int) -> None:
        if (width, height) != (self._width, self._height):
            raise FeedsWrong(
                f"{self._name} takes {self._width}x{self._height}, not {width}x{height}",
                f"surgiclear engines export ... --size {width}x{height}",
            )
