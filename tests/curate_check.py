"""`make curate-check`: curates a generated surgery of 20 minutes and holds it against the truth.

SEED=n takes other scenes: the thresholds were settled on those of SEED=0.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import surgery

from trainer.curate.order import curate


def main() -> int:
    """Exit 1 where precision or recall is not over 0.9, or a pre-smoke frame is not clear."""
    shift = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    made = surgery.Surgery(surgery.reseeded(surgery.TWENTY_MINUTES, shift))
    with tempfile.TemporaryDirectory(prefix="surgiclear-curate-") as folder:
        began = time.monotonic()
        path = made.write(Path(folder) / "surgery.mp4")
        written = time.monotonic()
        done = curate(path, Path(folder) / "out")
        ended = time.monotonic()
    verdict = surgery.judge(made, list(done.rows))
    lines = [
        f"{made.length_s / 60:.1f} minutes, made in {written - began:.0f} s, "
        f"curated in {ended - written:.0f} s",
        done.sentence(),
        *verdict.lines(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    good = verdict.precision > 0.9 and verdict.recall > 0.9 and max(verdict.clear) < 0.01
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
