"""The `veil` restorer: a low-resolution net steers a full-resolution affine repair.

Per frame: shrink the planes to the net's input, run the net (ONNX Runtime), smooth its maps over
time, and let engines/apply.py repair every pixel in one pass. In a moving picture the net looks
at every second frame; the one between is repaired by the maps of the frame before it, unless the
view has changed. State between frames is the maps, the detection and the reference (the last
clear frame), never pixels of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import onnxrt
from engines.apply import CHROMA_GAIN_MAX, GAIN_MAX, apply_rgb, apply_yuv420
from engines.bundle import Bundle
from engines.engine import Engine
from engines.errors import FeedsWrong
from engines.picture import Picture, Rgb, Yuv420, rgb_matrix
from engines.restorer import KINDS, SPLASH_TYPES, Analysis, Degradation, Detection, level
from engines.store import Store

Floats = NDArray[np.float32]

INPUT_SIZE = (144, 256)  # h w
FOLLOW = 0.3  # share of a new map that is taken at once in a still scene
FOLLOW_EXPOSURE = 0.08  # the global term moves slower: no pumping
CUT = 0.12  # mean change of the small picture that means another view
HOLD = 0.05  # mean change under which the maps of the frame before still fit
UNTOUCHED = np.array([1, 1, 0, 0, 0], np.float32)[:, None, None]  # coefficients of no repair
TO_BT601 = np.linalg.inv(rgb_matrix("bt601")).astype(np.float32)


def shrink(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One plane at the net's input size, every source pixel counted (no aliasing)."""
    h, w = INPUT_SIZE
    ph, pw = plane.shape[:2]
    # integer ratios have a fast path; others are halved first, which has one too
    while not (ph % h == 0 and pw % w == 0) and ph >= 3 * h and pw >= 3 * w:
        plane = cv2.resize(plane, (pw // 2, ph // 2), interpolation=cv2.INTER_AREA)
        ph, pw = plane.shape[:2]
    grows = ph < h or pw < w
    method = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    out: NDArray[np.uint8] = cv2.resize(plane, (w, h), interpolation=method)
    return out


def small_rgb(picture: Picture) -> Floats:
    """The picture as the net sees it: 3 144 256, RGB in [0, 1]."""
    if isinstance(picture, Rgb):
        small = shrink(picture.pixels).astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(small.transpose(2, 0, 1))
    planes = np.stack([shrink(p) for p in (picture.y, picture.u, picture.v)]).astype(np.float32)
    full = picture.colour.full_range
    low, span, cspan = (0.0, 255.0, 255.0) if full else (16.0, 219.0, 224.0)
    matrix = rgb_matrix(picture.colour.matrix) / np.array([span, cspan, cspan])
    offset = matrix @ np.array([low, 128.0, 128.0])
    flat = matrix.astype(np.float32) @ planes.reshape(3, -1) - offset[:, None].astype(np.float32)
    out: Floats = np.clip(flat, 0, 1).reshape(3, *INPUT_SIZE)
    return out


def difference(a: Floats, b: Floats) -> float:
    """Mean change between two small pictures, of every fourth pixel, in 0-1."""
    return float(np.abs(a[:, ::4, ::4] - b[:, ::4, ::4]).mean())


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the net says of one frame. transmission, withheld: h/4 w/4; veil: 3 h/16 w/16 RGB;
    exposure: g_y, g_c, o_y, o_u, o_v."""

    transmission: Floats
    withheld: Floats
    veil: Floats
    exposure: Floats

    def towards(self, new: Prediction, share: float, exposure_share: float) -> Prediction:
        """This prediction moved towards a new one by a share; t moves in optical depth."""
        depth = (1 - share) * np.log(self.transmission) + share * np.log(new.transmission)
        return Prediction(
            transmission=np.exp(depth),
            withheld=self.withheld + share * (new.withheld - self.withheld),
            veil=self.veil + share * (new.veil - self.veil),
            exposure=self.exposure + exposure_share * (new.exposure - self.exposure),
        )

    def coefficients(self, share: float = 1.0) -> Floats:
        """a, c, b_y, b_u, b_v: 5 h/4 w/4, within the bounds. As models.veil.coefficients, but
        `share` of the way there from leaving the picture as it is."""
        h, w = self.transmission.shape
        t = 1 - (1 - self.transmission) * (1 - self.withheld)
        wide = cv2.resize(self.veil.transpose(1, 2, 0), (w, h), interpolation=cv2.INTER_LINEAR)
        a_y, a_u, a_v = np.tensordot(TO_BT601, wide, (1, 2))
        g_y, g_c, o_y, o_u, o_v = self.exposure
        a, c = np.minimum(g_y / t, GAIN_MAX), np.minimum(g_c / t, CHROMA_GAIN_MAX)
        veil = 1 - t
        full = np.stack(
            (a, c, o_y - g_y * a_y * veil / t, o_u - c * a_u * veil, o_v - c * a_v * veil)
        )
        return (UNTOUCHED + share * (full - UNTOUCHED)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Seen:
    """The last frame that the net looked at, small (3 h w), and what it said."""

    small: Floats
    prediction: Prediction
    detection: Detection


class VeilRestorer:
    """Restores the pictures of one stream, in order. Not to be shared between streams.

    presence_offset: logits subtracted before the presence probability, from the bundle: they
    put 0.5 where under two per cent of clear frames would be called degraded.
    presence_offset_beside: the same beside a reference, where the net tells more; None: no other.
    share: how much of the repair full strength is, from the bundle: the net's own estimate is a
    little too bold. share_beside: the same beside a reference, which steadies it; None: no other.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str = "veil",
        presence_offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
        presence_offset_beside: tuple[float, float, float] | None = None,
        share: float = 1.0,
        share_beside: float | None = None,
    ) -> None:
        self._engine = engine
        self._name = name
        self._share = share
        self._share_beside = share if share_beside is None else share_beside
        self._offset = np.array(presence_offset, np.float32)
        self._beside = np.array(presence_offset_beside or presence_offset, np.float32)
        self._no_reference = np.zeros((1, 3, *INPUT_SIZE), np.float32)
        self._unknown = np.zeros((1, 1, *INPUT_SIZE), np.float32)
        self._known = np.ones((1, 1, *INPUT_SIZE), np.float32)
        self._reference: Floats | None = None
        self._state: Prediction | None = None
        self._seen: Seen | None = None
        self._held = False  # the frame before was not looked at

    @property
    def name(self) -> str:
        return self._name

    def refer(self, picture: Picture | None) -> None:
        """Takes a clear frame of the scene as reference, or forgets it."""
        self._reference = None if picture is None else small_rgb(picture)[None]
        self._held = True  # the next frame is looked at

    def reset(self) -> None:
        """Forgets maps and reference: a new epoch, another scene."""
        self._reference = None
        self._state = None
        self._seen = None

    def analyse(self, picture: Picture) -> Analysis:
        """Detection for the gate, smoothed coefficients for `apply`."""
        small = small_rgb(picture)
        change = None if self._seen is None else difference(small, self._seen.small)
        fits = change is not None and change < HOLD
        if self._seen is None or self._held or not fits:
            self._seen, self._held = self._look(small), False
        else:
            self._held = True
        self._state = self._smooth(self._seen.prediction, change)
        share = self._share if self._reference is None else self._share_beside
        return Analysis(detection=self._seen.detection, maps=self._state.coefficients(share))

    def _look(self, small: Floats) -> Seen:
        """Runs the net once."""
        out = self._engine.run(
            {
                "image": small[None],
                "reference": self._no_reference if self._reference is None else self._reference,
                "known": self._unknown if self._reference is None else self._known,
            }
        )
        prediction = Prediction(
            out["transmission"][0, 0], out["withheld"][0, 0], out["veil"][0], out["exposure"][0]
        )
        return Seen(small, prediction, self._detection(out))

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        """The repair at full resolution; strength 0-1."""
        if isinstance(picture, Yuv420):
            return apply_yuv420(picture, analysis.maps, strength)
        return apply_rgb(picture, analysis.maps, strength)

    def warm(self, width: int, height: int) -> None:
        """Compiles and touches everything for a size, so that the first frame is not late."""
        state = self._reference, self._state, self._seen, self._held
        half = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
        planes = Yuv420(np.full((height, width), 90, np.uint8), half, half)
        for picture in (planes, Rgb(np.full((height, width, 3), 90, np.uint8))):
            self.apply(picture, self.analyse(picture))
        self._reference, self._state, self._seen, self._held = state

    def close(self) -> None:
        self._engine.close()

    def _smooth(self, new: Prediction, change: float | None) -> Prediction:
        """Causal: a still scene is averaged, a changing one is followed, a cut starts anew."""
        if self._state is None or change is None or change > CUT:
            return new
        return self._state.towards(
            new,
            min(1.0, FOLLOW + change / CUT),
            min(1.0, FOLLOW_EXPOSURE + 0.5 * change / CUT),
        )

    def _detection(self, out: Mapping[str, NDArray[np.float32]]) -> Detection:
        offset = self._offset if self._reference is None else self._beside
        probability = 1 / (1 + np.exp(-(out["presence"][0] - offset)))
        coverage = out["coverage"][0]
        kinds = {
            kind: Degradation(
                probability=float(p),
                coverage=float(c),
                level=level(float(c), bool(p >= 0.5)),
            )
            for kind, p, c in zip(KINDS, probability, coverage, strict=True)
        }
        splashed = kinds["splash"].level > 0
        kind = SPLASH_TYPES[int(np.argmax(out["splash_type"][0]))] if splashed else None
        return Detection(**kinds, splash_type=kind)


def from_bundle(bundle: Bundle) -> VeilRestorer:
    """The restorer of a verified bundle. Raises FeedsWrong for another architecture."""
    manifest = bundle.manifest
    if manifest.architecture != "veil":
        raise FeedsWrong(f"{manifest.name} is a {manifest.architecture}, not a veil")
    smoke, fog, splash = manifest.numbers("presence_offset")
    beside = manifest.numbers("presence_offset_beside") or (smoke, fog, splash)
    return VeilRestorer(
        onnxrt.load(bundle),
        name=manifest.name,
        presence_offset=(smoke, fog, splash),
        presence_offset_beside=(beside[0], beside[1], beside[2]),
        share=next(iter(manifest.numbers("share")), 1.0),
        share_beside=next(iter(manifest.numbers("share_beside")), None),
    )


def load(name_or_path: str | Path | None = None, store: Store | None = None) -> VeilRestorer:
    """The restorer of a bundle by name or path; the embedded default when None.

    Raises BundleMissing, BundleRefused, BackendMissing or SelfTestFailed.
    """
    return from_bundle((store or Store()).find(name_or_path or "veil"))
