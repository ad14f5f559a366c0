"""Clips: LSVD's layout and the scenes' runs; windows that keep frames, reference and mask alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training import data, scene, write

from trainer.feed.clips import Clips, clips
from trainer.feed.data import read


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data(tmp_path_factory.mktemp("clips") / "data")


def test_the_first_file_is_the_clear_one_and_order_is_by_number(tmp_path: Path) -> None:
    for n in (10, 9, 2, 1):
        write(tmp_path / "c" / f"{n}.png", scene(n, 16, 16))
    (clip,), aside = clips(read(tmp_path), 3)
    assert clip.clear.name == "1.png" and not aside
    assert [f.name for f in clip.frames] == ["2.png", "9.png", "10.png"]
    with pytest.raises(ValueError, match="no clip"):
        clips(read(tmp_path), 4)
    write(tmp_path / "c" / "nameless.png", scene(1, 16, 16))
    found = read(tmp_path)
    assert len(clips(found, 3)[0]) == 1 and "no number" in found.lines("clips")[-1]


def test_runs_of_consecutive_frames_with_one_clear_frame(tmp_path: Path) -> None:
    rows = ["scene,smoky,clear,ncc"]
    for scene_number, frames, clear in ((1, (5, 6, 7, 9), 4), (6, (1, 2, 3), 0), (2, (1, 2), 0)):
        folder = f"scene{scene_number:02d}"
        rows += [
            f"{scene_number},{folder}/smoky_{n}.jpg,{folder}/clear_{clear}.jpg,1" for n in frames
        ]
        for name in (f"clear_{clear}", *(f"smoky_{n}" for n in frames)):
            write(tmp_path / "pairs" / folder / f"{name}.jpg", scene(1, 16, 16))
    (tmp_path / "pairs" / "pairs.csv").write_text("\n".join(rows) + "\n")
    train, aside = clips(read(tmp_path), 3)
    assert [c.group for c in train] == ["scene1"] and [c.group for c in aside] == ["scene6"]
    assert [f.name for f in train[0].frames] == ["smoky_5.jpg", "smoky_6.jpg", "smoky_7.jpg"]


def test_a_sample_is_one_window_of_clip_reference_and_mask(root: Path) -> None:
    source = Clips(clips(read(root / "clips"), 2)[0], 48, 2)
    batch = source.sample(0, np.random.default_rng(3))
    assert batch["input"].shape == (2, 3, 48, 48) and batch["input"].dtype == torch.uint8
    assert batch["reference"].shape == (3, 48, 48) and batch["mask"].shape == (2, 1, 12, 12)
    assert set(batch["mask"].flatten().tolist()) <= {0, 255}
    again = source.sample(0, np.random.default_rng(3))
    assert all(torch.equal(batch[k], again[k]) for k in batch)


def test_a_side_that_the_mask_cannot_have_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        Clips(clips(read(root / "clips"), 2)[0], 50, 2)
