"""How the gate judges cases of patients that no net was trained on: `make gate-check`.

A case is eight other clear frames of the patient, two seconds each and each the reference of the
next, then one second of a frame that is either clear or hidden by synthetic smoke or fog of level
2 and more. The eight views and the last are minutes apart: harder than a real case, where the
last clear frame is seconds old.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from engines.restorer import Detection, Kind, level
from engines.veil import VeilRestorer, load
from server.gate import CaseGate
from trainer import dataset
from trainer.degrade import Recipe, degrade
from trainer.pixels import Pixels, grey_levels, unit
from trainer.quality import SYNTHETIC_SIZE, detected, held_out_frames, truthful_frames

FRAME_NS = 40_000_000
BEFORE, BEFORE_S, LAST_S = 8, 2.0, 1.0
LAST: tuple[Kind | None, ...] = (None, "smoke", "smoke", "fog")  # what hides the last frame


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


def main(count: int) -> int:
    root = dataset.shared_data()
    if root is None:
        sys.stderr.write("needs the surgical frames: see tests/shared.py\n")
        return 2
    veil, clear, everything = load(), truthful_frames(root), held_out_frames(root)
    found: dict[str, list[bool]] = {"smoke": [], "fog": [], "clear": []}
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
        last = dataset.load(frame.path, SYNTHETIC_SIZE)
        if kind is not None:
            done = degrade(unit(last), Recipe.of(kind, float(rng.uniform(0.03, 1.0))), rng)
            if level(done.truth.coverage[kind], True) < 2:
                continue
            last = grey_levels(done.image)
        found[kind or "clear"].append(opens(seen(veil, views), detected(veil, last, views[-1])))
        if (number + 1) % 50 == 0:
            sys.stderr.write(f"{number + 1}/{count}\n")
    for name, hits in found.items():
        sys.stdout.write(f"{name:6} opens the gate in {sum(hits)} of {len(hits)} cases\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
