"""Real and synthetic samples together: the share, the truth, what may stand for truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from training import scene

from trainer.dataset import ClearFrame, patient_of
from trainer.feed.crops import Crops
from trainer.feed.mixed import Mixed, truthful
from trainer.feed.pairs import Views

SIZE = (64, 64)


class Grey:
    """Pairs that are grey, so that a synthetic sample is told from a real one."""

    def __len__(self) -> int:
        return 3

    def views(self, index: int) -> Views:
        flat = np.full((80, 96, 3), 128, np.uint8)
        return Views(flat, flat, np.full((80, 96), 7, np.uint8))


def drawn(share: float, count: int = 60) -> list[dict[str, torch.Tensor]]:
    clear = [scene(n, 128, 228) for n in range(3)]
    mixed = Mixed(Crops(Grey(), SIZE), clear, share)
    assert len(mixed) == 3
    return [dict(mixed.sample(n % 3, np.random.default_rng(n))) for n in range(count)]


def synthetic(sample: dict[str, torch.Tensor]) -> bool:
    return bool((sample["mask"] == 255).all())


def test_the_share_is_kept() -> None:
    assert not any(synthetic(s) for s in drawn(0.0))
    assert all(synthetic(s) for s in drawn(1.0, 20))
    assert 15 <= sum(synthetic(s) for s in drawn(0.5)) <= 45


def test_synthetic_samples_hide_a_clear_truth() -> None:
    samples = drawn(1.0, 40)
    for s in samples:
        assert s["input"].shape == s["target"].shape == (3, *SIZE)
        assert s["mask"].shape == (1, *SIZE) and s["input"].dtype == torch.uint8
    change = [float((s["input"].float() - s["target"].float()).abs().mean()) for s in samples]
    assert max(change) > 20 and min(change) < 6  # dense ones, and ones left clear


def test_the_same_number_is_the_same_sample() -> None:
    for a, b in zip(drawn(0.7, 12), drawn(0.7, 12), strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_hazy_frames_and_held_out_patients_do_not_stand_for_truth(tmp_path: Path) -> None:
    folder = tmp_path / "clean"
    folder.mkdir()
    dark, white = np.zeros((90, 160, 3), np.uint8), np.full((90, 160, 3), 200, np.uint8)
    dark[:, :, 2] = 90
    numbers = range(40)
    for n in numbers:
        cv2.imwrite(str(folder / f"cam_P{n}_1.jpg"), dark if n % 2 else white)
    held = [ClearFrame(Path(), patient_of(f"cam_P{n}_1.jpg")).held_out for n in numbers if n % 2]
    assert any(held) and not all(held)
    found = truthful(tmp_path, (45, 80))
    assert len(found) == len(held) - sum(held)
    assert all(f.shape == (45, 80, 3) and f.mean() < 60 for f in found)
    assert truthful(tmp_path / "elsewhere") == []
