"""The clip for timing moves, is textured, and has the bit rate of a real recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from clips import read

from server.clip import BITS_PER_PIXEL, write_clip


def test_the_clip_is_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    seen: list[tuple[int, int | None]] = []
    write_clip(path, 320, 180, 50, lambda done, total: seen.append((done, total)))
    found = read(path)
    assert found.sizes == {(320, 180)}
    assert [float(t) for t in found.times] == [i / 25 for i in range(50)]
    assert seen[-1] == (50, 50)
    bits_a_second = path.stat().st_size * 8 / 2
    assert 0.5 < bits_a_second / (BITS_PER_PIXEL * 320 * 180) < 2
    first, last = found.lumas[0].astype(float), found.lumas[-1].astype(float)
    assert first.std() > 12
    assert np.abs(first - last).mean() > 5
    assert np.median(found.chromas[0]) < 128  # red, not blue
