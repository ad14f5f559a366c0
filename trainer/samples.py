"""What the trainer of `veil` draws: synthetic, real and clear samples, with and without reference.

Sample number i of a seed is always the same, whatever came before, so an interrupted run goes on
with the very samples it would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.restorer import KINDS, SPLASH_TYPES
from models.veil import MAP_INPUT, MAP_STRIDE, T_MIN
from trainer import dataset
from trainer.dataset import HAZY_LIMIT
from trainer.degrade import Camera, Recipe, degrade
from trainer.pixels import Image, unit
from trainer.tensors import chw

H, W = MAP_INPUT
MAP_SIZE = (H // MAP_STRIDE, W // MAP_STRIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """Shares of the kinds of sample (the rest is synthetic), of samples with a reference; of real
    pairs seen by another camera (the others teach this camera's own colour) and of those with a
    part of another scene's pair (few scenes are soon known by heart); of synthetic samples over
    the real pairs' clear frames."""

    real: float = 0.0
    real_clear: float = 0.0
    clear: float = 0.2
    reference: float = 0.5
    other_camera: float = 0.3
    other_part: float = 0.6
    over_real: float = 0.4


@dataclass(frozen=True, slots=True)
class Cached:
    """A frame at cache size with what is known about it."""

    pixels: dataset.Pixels
    patient: str
    hazy: float


@dataclass(frozen=True, slots=True)
class CachedPair:
    """A real pair at cache size, and the scene's other clear frames."""

    smoky: dataset.Pixels
    clear: dataset.Pixels
    scene: str
    references: tuple[dataset.Pixels, ...]


def load_clear(
    root: Path, *, held_out: bool, left_out: frozenset[Path] = frozenset()
) -> list[Cached]:
    """The clear frames of the training or the held-out patients. left_out: files."""
    frames = []
    for frame in dataset.clear_frames(root):
        if frame.held_out == held_out and frame.path not in left_out:
            pixels = dataset.load(frame.path, dataset.CACHE_SIZE)
            frames.append(Cached(pixels, frame.patient, dataset.hazy(pixels)))
    return frames


def load_pairs(
    root: Path, scenes: frozenset[str] | None = None, left_out: frozenset[Path] = frozenset()
) -> list[CachedPair]:
    """Real pairs of the named scenes (all when None). left_out: files."""
    out = []
    clear: dict[Path, dataset.Pixels] = {}
    for pair in dataset.pairs(root):
        if scenes is not None and pair.scene not in scenes:
            continue
        if left_out & {pair.smoky, pair.clear}:
            continue
        others = [p for p in dataset.references(root, pair.scene) if p not in left_out]
        for path in (pair.clear, *others):
            if path not in clear:
                clear[path] = dataset.load(path, dataset.CACHE_SIZE)
        refs = tuple(clear[p] for p in others if p != pair.clear) or (clear[pair.clear],)
        smoky = dataset.load(pair.smoky, dataset.CACHE_SIZE)
        out.append(CachedPair(smoky, clear[pair.clear], pair.scene, refs))
    return out


@dataclass(frozen=True, slots=True)
class Window:
    """A crop of the cached frame, and flips: the same for both sides of a pair."""

    x: float
    y: float
    size: float
    flip_x: bool
    flip_y: bool

    @staticmethod
    def draw(rng: np.random.Generator, smallest: float = 0.65) -> Window:
        size = float(rng.uniform(smallest, 1.0))
        x, y = rng.uniform(0, 1 - size, 2)
        return Window(float(x), float(y), size, bool(rng.random() < 0.5), bool(rng.random() < 0.2))

    def cut(self, pixels: dataset.Pixels) -> Image:
        """h w 3 in 0-1 at the net's input size."""
        h, w = pixels.shape[:2]
        y, x = int(self.y * h), int(self.x * w)
        part = pixels[y : y + int(self.size * h), x : x + int(self.size * w)]
        part = part[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        # INTER_AREA, as at run time: the net must see the same softness
        out = cv2.resize(np.ascontiguousarray(part), (W, H), interpolation=cv2.INTER_AREA)
        return unit(out)


def moved(rng: np.random.Generator, image: Image, amount: float) -> Image:
    """The view from a scope that has moved: shift, zoom and roll, `amount` of the width."""
    angle = float(rng.normal(0, 40 * amount))
    zoom = float(np.exp(rng.normal(0, amount)))
    warp = cv2.getRotationMatrix2D((W / 2, H / 2), angle, zoom)
    warp[:, 2] += rng.normal(0, amount * W, 2)
    out: Image = cv2.warpAffine(image, warp, (W, H), borderMode=cv2.BORDER_REFLECT)
    return out


def soft_part(rng: np.random.Generator) -> Image:
    """A side of the view with a soft border, h w 1 in 0-1."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15)
    ys, xs = np.mgrid[0:H, 0:W].astype(np.float32)
    along = (xs / W - 0.5) * np.cos(angle) + (ys / H - 0.5) * np.sin(angle) - offset
    out: Image = np.clip(0.5 + along / rng.uniform(0.02, 0.4), 0, 1)[..., None].astype(np.float32)
    return out


class Samples(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Endless samples by number. clear: frames to degrade; real: pairs (may be empty)."""

    def __init__(self, clear: list[Cached], real: list[CachedPair], mix: Mix, seed: int) -> None:
        self.clear, self.real, self.mix, self.seed = clear, real, mix, seed
        self.truthful = [c for c in clear if c.hazy < HAZY_LIMIT]
        scenes = sorted({p.scene for p in real})
        self.by_scene = [[p for p in real if p.scene == s] for s in scenes]

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, number))
        draw = rng.random()
        mix = self.mix
        if self.real and draw < mix.real:
            return self._real(rng)
        if self.real and draw < mix.real + mix.real_clear:
            return self._real_clear(rng)
        if draw < mix.real + mix.real_clear + mix.clear:
            return self._clear(rng)
        return self._synthetic(rng)

    def _frame(self, rng: np.random.Generator, pool: list[Cached]) -> Cached:
        return pool[int(rng.integers(len(pool)))]

    def _reference(
        self, rng: np.random.Generator, good: Image, patient: str | None
    ) -> tuple[Image | None, bool]:
        """A reference for a sample whose true scene is `good`; and whether it is trustworthy."""
        if rng.random() >= self.mix.reference:
            return None, False
        draw = rng.random()
        if draw < 0.72:
            image = moved(rng, good, float(rng.choice([0.01, 0.05])))
            if rng.random() < 0.4:  # an instrument that has come or gone since
                other = Window.draw(rng).cut(self._frame(rng, self.truthful).pixels)
                h, w = int(rng.integers(20, H // 2)), int(rng.integers(20, W // 2))
                y, x = int(rng.integers(0, H - h)), int(rng.integers(0, W - w))
                image = image.copy()
                image[y : y + h, x : x + w] = other[y : y + h, x : x + w]
            jitter = np.exp(rng.normal(0, 0.03, 3)).astype(np.float32)
            return np.clip(image * jitter, 0, 1), True
        if draw < 0.86:
            return moved(rng, good, 0.3), True
        pool = [c for c in self.truthful if c.patient == patient] if draw < 0.92 else []
        return Window.draw(rng).cut(self._frame(rng, pool or self.truthful).pixels), False

    def _synthetic(self, rng: np.random.Generator) -> dict[str, Tensor]:
        frame = self._frame(rng, self.truthful)
        if self.real and rng.random() < self.mix.over_real:
            frame = Cached(self._pair(rng).clear, "", 0.0)
        clear = Window.draw(rng).cut(frame.pixels)
        if rng.random() < 0.5:  # many clear frames have lifted blacks; give half of them depth
            lift = np.float32(frame.hazy * rng.uniform(0.5, 1.0))
            clear = np.clip((clear - lift) / (1 - lift), 0, 1)
        camera = Camera.draw(rng)
        base = camera.look(clear) * camera.mask(H, W)[..., None]
        reference, _ = self._reference(rng, base, frame.patient)
        shift = float(rng.normal(0, 0.05 if reference is None else 0.25))
        recipe = replace(Recipe.draw(rng), exposure_shift=shift)
        done = degrade(clear, recipe, rng, camera)
        image, truth = done.image, done.truth
        if reference is not None:  # the camera's balance may have followed the smoke
            image = np.clip(image * np.exp(rng.normal(0, 0.05, 3)).astype(np.float32), 0, 1)
        present = {
            "smoke": float((truth.transmission < 1 - 0.07).mean()) > 0.03
            if recipe.smoke
            else False,
            "fog": truth.coverage["fog"] > 0.01,
            "splash": truth.coverage["splash"] > 0.003,
        }
        kind = SPLASH_TYPES.index(truth.splash_type) if truth.splash_type else -1
        return self._pack(
            image=image,
            clear=truth.clear,
            reference=reference,
            transmission=truth.transmission,
            veil=truth.veil,
            soiling=truth.soiling,
            presence=[float(present[k]) for k in KINDS],
            coverage=[truth.coverage[k] for k in KINDS],
            splash_type=kind if present["splash"] else -1,
            exact=0.0 if recipe.linear_light else 1.0,
            real=0.0,
        )

    def _clear(self, rng: np.random.Generator) -> dict[str, Tensor]:
        frame = self._frame(rng, self.clear)
        clear = Window.draw(rng).cut(frame.pixels)
        camera = Camera.draw(rng)
        if rng.random() < 0.5:
            camera = replace(camera, gains=(1.0, 1.0, 1.0), gamma=1.0, vignette=0.0)
        done = degrade(clear, Recipe(), rng, camera)
        reference, _ = self._reference(rng, done.truth.clear, frame.patient)
        return self._still(done.image, done.truth.clear, reference)

    def _real_clear(self, rng: np.random.Generator) -> dict[str, Tensor]:
        pair = self._pair(rng)
        clear = Window.draw(rng, 0.75).cut(pair.clear)
        reference, _ = self._reference(rng, clear, None)
        return self._still(clear, clear, reference)

    def _still(self, image: Image, clear: Image, reference: Image | None) -> dict[str, Tensor]:
        return self._pack(
            image=image,
            clear=clear,
            reference=reference,
            transmission=np.ones((H, W), np.float32),
            veil=np.zeros((H, W, 3), np.float32),
            soiling=np.zeros((H, W), np.float32),
            presence=[0.0, 0.0, 0.0],
            coverage=[0.0, 0.0, 0.0],
            splash_type=-1,
            exact=1.0,
            real=0.0,
        )

    def _pair(self, rng: np.random.Generator) -> CachedPair:
        scene = self.by_scene[int(rng.integers(len(self.by_scene)))]
        return scene[int(rng.integers(len(scene)))]

    def _views(self, rng: np.random.Generator, pair: CachedPair) -> tuple[Image, Image, Image]:
        """One window of a pair: smoky, clear, and another clear frame of its scene."""
        window = Window.draw(rng, 0.6)
        other = pair.references[int(rng.integers(len(pair.references)))]
        return window.cut(pair.smoky), window.cut(pair.clear), window.cut(other)

    def _real(self, rng: np.random.Generator) -> dict[str, Tensor]:
        pair = self._pair(rng)
        image, clear, other = self._views(rng, pair)
        if rng.random() < self.mix.other_part:
            part = soft_part(rng)
            views = self._views(rng, self._pair(rng))
            image, clear, other = (
                a + part * (b - a) for a, b in zip((image, clear, other), views, strict=True)
            )
        if rng.random() < self.mix.other_camera:
            camera = replace(Camera.draw(rng), vignette=0.0)
            image, clear, other = (camera.look(x) for x in (image, clear, other))
        reference, _ = self._reference(rng, other, None)
        return self._pack(
            image=image,
            clear=clear,
            reference=reference,
            transmission=np.ones((H, W), np.float32),
            veil=np.zeros((H, W, 3), np.float32),
            soiling=np.zeros((H, W), np.float32),
            presence=[1.0, 0.0, 0.0],
            coverage=[-1.0, 0.0, 0.0],
            splash_type=-1,
            exact=0.0,
            real=1.0,
        )

    def _pack(
        self,
        *,
        image: Image,
        clear: Image,
        reference: Image | None,
        transmission: NDArray[np.float32],
        veil: Image,
        soiling: NDArray[np.float32],
        presence: list[float],
        coverage: list[float],
        splash_type: int,
        exact: float,
        real: float,
    ) -> dict[str, Tensor]:
        def small(x: NDArray[np.float32], scale: int = 1) -> Tensor:
            size = (MAP_SIZE[1] // scale, MAP_SIZE[0] // scale)
            out = cv2.resize(x, size, interpolation=cv2.INTER_AREA)
            return chw(out[..., None] if out.ndim == 2 else out)

        known = reference is not None
        return {
            "image": chw(image),
            "clear": chw(clear),
            "reference": chw(reference) if reference is not None else torch.zeros(3, H, W),
            "known": torch.full((1, H, W), float(known)),
            "transmission": small(np.maximum(transmission, T_MIN)),
            "veil": small(veil, 4),
            "soiling": small(soiling),
            "presence": torch.tensor(presence),
            "coverage": torch.tensor(coverage),
            "splash_type": torch.tensor(splash_type),
            "exact": torch.tensor(exact),
            "real": torch.tensor(real),
        }
