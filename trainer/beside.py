"""Nets that take a reference: judged with a good one, a stale one, a wrong one and none.

Real pairs of the scenes kept aside that have further clear frames, and synthetic episodes of smoke
over a view that drifts, whose reference is the last clear frame from before the smoke.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from engines.restorer import Restorer
from models.steered import VIEW, Steered
from trainer import dataset
from trainer.baselines import global_match
from trainer.datasets.scenes import ASIDE
from trainer.degrade import Recipe, Sequence
from trainer.pixels import Image, Pixels, grey_levels, unit
from trainer.quality import SYNTHETIC_SIZE, Say, Score, Table, farthest, restored, truthful_frames
from trainer.rivals import VeilFor
from trainer.tasks.judging import shown
from trainer.tensors import chw

GOOD, MOVED, WRONG = "reference", "moved by 20 %", "wrong scene"
FPS, FRAMES, RISE_S = 0.5, 5, 4.0  # of an episode: 8 s long, the smoke rises for half of them
SHOWN = 0.85  # share of each side of a frame that an episode's view shows
DRIFT = 0.03  # of the width, from one frame of an episode to the next; one axis


@dataclass(slots=True)
class Beside:
    """The same pictures beside every kind of reference."""

    real: Table = field(default_factory=Table)
    episodes: Table = field(default_factory=Table)

    def text(self) -> str:
        return "\n\n".join(
            (
                "Real pairs of scenes kept aside, beside the farthest other clear frame",
                self.real.text(),
                "Synthetic episodes of held-out patients, beside the last clear frame",
                self.episodes.text(),
            )
        )

    def as_dict(self) -> dict[str, object]:
        return {"real": self.real.as_dict(), "episodes": self.episodes.as_dict()}


def compare(
    root: Path,
    nets: Mapping[str, Steered],
    veil_for: VeilFor,
    *,
    episodes: int = 20,
    seed: int = 7,
    say: Say = lambda _: None,
) -> Beside:
    """nets: by name, in eval mode; veil_for: as trainer/rivals.py makes it."""
    found = Beside()
    pairs = dataset.pairs(root)
    scenes = sorted({p.scene for p in pairs}, key=int)
    for scene in ASIDE:
        frames = dataset.references(root, scene)
        elsewhere = scenes[(scenes.index(scene) + 3) % len(scenes)]
        wrong = dataset.load(dataset.references(root, elsewhere)[0])
        for pair in (p for p in pairs if p.scene == scene):
            path = farthest(frames, pair.clear)
            if path is None:
                continue
            smoky, other = dataset.load(pair.smoky), dataset.load(path)
            _judge(found.real, f"scene {scene}", nets, veil_for(scene), smoky,
                   unit(dataset.load(pair.clear)), references(other, wrong))  # fmt: skip
        say(f"scene {scene}")
    clear = truthful_frames(root)
    for number in range(episodes):
        rng = np.random.default_rng((seed, number))
        at = int(rng.integers(len(clear)))
        far = next(f for f in (*clear[at:], *clear) if f.patient != clear[at].patient)
        wrong = dataset.load(far.path, SYNTHETIC_SIZE)
        before, *after = drifting(dataset.load(clear[at].path, SYNTHETIC_SIZE), rng)
        h, w = before.shape[:2]
        episode = Sequence(rng, h, w, Recipe.of("smoke", float(rng.uniform(0.03, 1.0))))
        played = [*episode.play(iter([unit(v) for v in (before, *after)]), FPS, RISE_S)][1:]
        for done in played:
            t = float(done.truth.transmission.mean())
            group = "light t>.8" if t > 0.8 else "mid" if t >= 0.5 else "dense t<.5"
            _judge(found.episodes, group, nets, veil_for(""), grey_levels(done.image),
                   done.truth.clear, references(before, wrong))  # fmt: skip
        if (number + 1) % 10 == 0:
            say(f"episode {number + 1}/{episodes}")
    return found


def references(good: Pixels, wrong: Pixels) -> dict[str, Pixels]:
    """By kind; h w 3 each."""
    h, w = good.shape[:2]
    return {GOOD: good, MOVED: np.roll(good, (h // 5, w // 5), (0, 1)), WRONG: wrong}


def drifting(pixels: Pixels, rng: np.random.Generator) -> Iterator[Pixels]:
    """A frame as a slowly moving scope shows it: the clear view before, then FRAMES more."""
    h, w = pixels.shape[:2]
    size = np.array((round(h * SHOWN), round(w * SHOWN)))
    room = np.array((h, w)) - size
    place = rng.uniform(0, 1, 2) * room
    for _ in range(FRAMES + 1):
        y, x = np.clip(place, 0, room).round().astype(int)
        yield np.ascontiguousarray(pixels[y : y + size[0], x : x + size[1]])
        place = np.abs(place + rng.normal(0, DRIFT * w, 2))


def _judge(
    table: Table,
    group: str,
    nets: Mapping[str, Steered],
    veil: Restorer | None,
    pixels: Pixels,
    truth: Image,
    beside: Mapping[str, Pixels],
) -> None:
    """One picture by every method."""
    image, good = unit(pixels), unit(beside[GOOD])
    answers = {"input": image, "global match": global_match(image, good)}
    if good.shape == image.shape:
        answers["copy of the reference"] = good
    for name, net in nets.items():
        for label, answer in steered(net, pixels, beside).items():
            answers[f"{name}, {label}"] = answer
        answers[f"{name}, then global match"] = global_match(answers[f"{name}, none"], good)
    if veil is not None:
        for label, reference in {"none": None, **beside}.items():
            answers[f"{veil.name}, {label}"] = restored(veil, pixels, reference)
    for method, answer in answers.items():
        table.add(method, group, Score.of(answer, truth))


def steered(net: Steered, pixels: Pixels, beside: Mapping[str, Pixels]) -> dict[str, Image]:
    """The answer beside no reference (`none`) and beside each of some: h w 3 in [0, 1]."""
    device = next(net.parameters()).device
    with torch.inference_mode():
        x = chw(unit(pixels))[None].to(device)
        answer = net(x)
        out = {"none": shown(answer)}
        for label, reference in beside.items():
            small = cv2.resize(reference, VIEW[::-1], interpolation=cv2.INTER_AREA)
            out[label] = shown(net.steered(x, answer, chw(unit(small))[None].to(device)))
    return out
