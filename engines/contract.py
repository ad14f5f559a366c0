"""What a full-frame engine takes and gives: four contracts, by name.

rgb       frame: uint8 b h w 3 -> restored: the same. The usual one.
nv12      luma: uint8 b h w, chroma: uint8 b h/2 w/2 2, strength: float32 1 -> restored_luma,
          restored_chroma. What hardware decoders give and encoders take (BT.709, 16-235), so that
          a frame need not leave the GPU; the graph adds the network's change to the planes
          themselves, mixed by strength, and what it leaves alone keeps its bytes.
float     frame: float32 b 3 h w in 0-1 -> restored: the same. For other programs.
referred  frame: uint8 b h w 3, reference: uint8 b 144 256 3, known: float32 1 -> restored: as the
          frame. The reference is a clear picture of the scene from before, averaged to that size;
          known is 1, or 0 where there is none: then the answer is that of the rgb contract.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.colour import to_yuv420
from engines.engine import Array
from engines.errors import ExportRefused
from engines.picture import Colour, Rgb

Contract = Literal["rgb", "nv12", "float", "referred"]
COLOUR = Colour("bt709", full_range=False)  # of the nv12 contract
FRAME, RESTORED = "frame", "restored"
LUMA, CHROMA, STRENGTH = "luma", "chroma", "strength"
REFERENCE, KNOWN = "reference", "known"
REFERENCE_SIZE = (144, 256)  # h w, whatever the frame's
RESTORED_LUMA, RESTORED_CHROMA = "restored_luma", "restored_chroma"
OUTPUTS: dict[Contract, tuple[str, ...]] = {
    "rgb": (RESTORED,),
    "nv12": (RESTORED_LUMA, RESTORED_CHROMA),
    "float": (RESTORED,),
    "referred": (RESTORED,),
}


def feeds(contract: Contract, frame: NDArray[np.uint8]) -> dict[str, Array]:
    """An RGB frame (1 h w 3) as the inputs of a contract, at full strength, beside its own mirror
    image where there is to be a reference."""
    if contract == "rgb":
        return {FRAME: frame}
    if contract == "float":
        return {FRAME: np.ascontiguousarray(frame.transpose(0, 3, 1, 2), np.float32) / 255}
    if contract == "referred":
        mirrored = as_reference(frame[0, :, ::-1])[None]
        return {FRAME: frame, REFERENCE: mirrored, KNOWN: np.ones(1, np.float32)}
    planes = to_yuv420(Rgb(frame[0]), COLOUR)
    chroma = np.stack([planes.u, planes.v], axis=-1)
    return {LUMA: planes.y[None], CHROMA: chroma[None], STRENGTH: np.ones(1, np.float32)}


def as_reference(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A clear picture, h w 3, as the referred contract takes it: 144 256 3."""
    whole = np.ascontiguousarray(pixels)
    h, w = REFERENCE_SIZE
    return np.asarray(cv2.resize(whole, (w, h), interpolation=cv2.INTER_AREA), np.uint8)


def ports(
    contract: Contract, size: tuple[int, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and outputs for the manifest, at one size (h w). Raises ExportRefused for sides that
    the contract cannot have."""
    h, w = size
    whole = {"dtype": "uint8", "range": (0, 255)}
    if contract == "rgb":
        port = {"layout": "b h w c", "shape": (1, h, w, 3), "colour": "rgb", **whole}
        return [{"name": FRAME, **port}], [{"name": RESTORED, **port}]
    if contract == "referred":
        port = {"layout": "b h w c", "colour": "rgb", **whole}
        frame, reference = (
            {"name": name, "shape": (1, *sides, 3), **port}
            for name, sides in ((FRAME, size), (REFERENCE, REFERENCE_SIZE))
        )
        known = {"name": KNOWN, "layout": "n", "shape": (1,), "dtype": "float32", "range": (0, 1)}
        return [frame, reference, known], [{**frame, "name": RESTORED}]
    if contract == "float":
        port = {"layout": "b c h w", "shape": (1, 3, h, w), "colour": "rgb", "dtype": "float32",
                "range": (0, 1)}  # fmt: skip
        return [{"name": FRAME, **port}], [{"name": RESTORED, **port}]
    if h % 2 or w % 2:
        raise ExportRefused(f"nv12 has even sides, not {w}x{h}", "use the rgb contract")
    luma = {"layout": "b h w", "shape": (1, h, w), "colour": "bt709", **whole}
    chroma = {"layout": "b h w c", "shape": (1, h // 2, w // 2, 2), "colour": "bt709", **whole}
    strength = {"name": STRENGTH, "layout": "n", "shape": (1,), "dtype": "float32", "range": (0, 1)}
    return (
        [{"name": LUMA, **luma}, {"name": CHROMA, **chroma}, strength],
        [{"name": RESTORED_LUMA, **luma}, {"name": RESTORED_CHROMA, **chroma}],
    )
