"""How the gate judges cases of patients that no net was trained on: `make gate-check`.

A case is eight other clear frames of the patient, two seconds each and each the reference of the
next, then one second of a view that is either clear or hidden by synthetic smoke or fog of level
2 and more. That view is met in two ways:

elsewhere  the scope jumps there: the last clear frame is of another place, minutes away
there      the scope has rested there for two clear seconds, as it has when smoke rises in an
           operation; the last clear frame is of the same view, the scope having moved a little
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from engines.restorer import Detection, Kind, level
from engines.veil import VeilRestorer, load
from models.veil import MAP_INPUT
from server.gate import CaseGate
from trainer import dataset
from trainer.degrade import Recipe, degrade
from trainer.pixels import Pixels, grey_levels, unit
from trainer.quality import SYNTHETIC_SIZE, detected, held_out_frames, truthful_frames
from trainer.samples import moved

FRAME_NS = 40_000_000
BEFORE, BEFORE_S, LAST_S = 8, 2.0, 1.0
LAST: tuple[Kind | None, ...] = (None, "smoke", "smoke", "fog")  # what hides the last view
SWAY = 0.03  # of the width: how far the scope moves between the last clear frame and the last view


def opens(before: Sequence[Detection], last: Detection) -> bool:
    """Whether the gate finds something in the last frame of a case."""
    gate, time_ns = CaseGate(), 0
    for detection, seconds in [*((d, BEFORE_S) for d in before), (last, LAST_S)]:
        for _ in range(int(seconds * 1e9 / FRAME_NS)):
            time_ns += FRAME_NS
            gate.step(detection, time_ns)
    return gate.grade(last).level > 0


def seen(veil: VeilRestorer, views: Sequence[Pixels]) -> list[Detection]:
    """Each view beside the one before it."""
    references = [None, *views]
    return [detected(veil, v, r) for v, r in zip(views, references, strict=False)]


def swayed(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """The view after the scope has moved a little, at the size that the net sees."""
    return grey_levels(moved(rng, unit(dataset.resize(pixels, MAP_INPUT)), SWAY))


def main(count: int) -> int:
    root = dataset.shared_data()
    if root is None:
        sys.stderr.write("needs the surgical frames: see tests/shared.py\n")
        return 2
    veil, clear, everything = load(), truthful_frames(root), held_out_frames(root)
    found: dict[tuple[str, str], list[bool]] = {}
    for number in range(count):
        rng = np.random.default_rng((7, number))
        kind = LAST[number % len(LAST)]
        pool = clear if kind else everything
        frame = pool[int(rng.integers(len(pool)))]
        others = [f for f in clear if f.patient == frame.patient and f.path != frame.path]
        if len(others) < 3:
            continue
        drawn = rng.permutation(len(others))[:BEFORE]
        views = [dataset.load(others[int(n)].path, SYNTHETIC_SIZE) for n in drawn]
        rested = last = dataset.load(frame.path, SYNTHETIC_SIZE)
        if kind is not None:
            done = degrade(unit(last), Recipe.of(kind, float(rng.uniform(0.03, 1.0))), rng)
            if level(done.truth.coverage[kind], True) < 2:
                continue
            last = grey_levels(done.image)
        before, reference = seen(veil, views), swayed(rng, rested)
        answers = {
            "elsewhere": opens(before, detected(veil, last, views[-1])),
            "there": opens(
                [*before, detected(veil, reference, views[-1])], detected(veil, last, reference)
            ),
        }
        for where, answer in answers.items():
            found.setdefault((kind or "clear", where), []).append(answer)
        if (number + 1) % 50 == 0:
            sys.stderr.write(f"{number + 1}/{count}\n")
    for (what, where), hits in sorted(found.items()):
        share = 100 * sum(hits) / len(hits)
        sys.stdout.write(
            f"{what:5} {where:9} opens the gate in {sum(hits)} of {len(hits)} cases"
            f" ({share:.1f} %)\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
