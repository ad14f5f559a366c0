"""Alignment: a known movement is found again, under smoke too; masks say where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training import scene

from trainer.align import (
    Dis,
    StructureFlow,
    agrees,
    align,
    dehazed,
    masked_l1,
    plain,
    reference_mask,
    structured,
    warp,
    within,
)
from trainer.flow_bench import known_flow, measure, moved
from trainer.pixels import Pixels, unit

SIZE = (160, 208)  # h w


def tissue(number: int) -> Pixels:
    return scene(number, *SIZE)


def test_a_warp_follows_its_flow() -> None:
    image = unit(tissue(1))
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, -2
    out = warp(image, flow)
    assert np.allclose(out[10:-10, 10:-10], image[8:-12, 13:-7], atol=1e-5)
    valid = within(flow)
    assert valid[10:-10, 10:-10].all() and not valid[:, -3:].any() and not valid[:2].any()


def test_a_known_movement_is_found_again() -> None:
    clear = tissue(2)
    flow = known_flow(*SIZE, np.random.default_rng(1))
    found = Dis()(clear, moved(clear, flow))
    inner = np.linalg.norm(found - flow, axis=-1)[20:-20, 20:-20]
    assert inner.mean() < 0.35 and np.abs(flow).max() > 3


def test_under_smoke_structure_is_followed_better_than_the_picture() -> None:
    """The same three scenes and movements; dense synthetic smoke on one side."""
    rows = measure([tissue(n) for n in range(3)], severity=0.7)
    assert rows["structured"].all_px < 0.75 * rows["plain"].all_px
    assert rows["structured"].trusted_share > 0.8
    # where the picture itself misleads, the masks say so
    assert rows["plain"].trusted_px < 0.8 * rows["plain"].all_px


def test_structure_sees_through_even_smoke() -> None:
    clear = tissue(4)
    smoky = np.round(clear * 0.5 + 90).astype(np.uint8)
    near = np.abs(structured(clear).astype(int) - structured(smoky)).mean()
    assert near < 8 < np.abs(clear.astype(int) - smoky).mean()
    flat = np.full((*SIZE, 3), 120, np.uint8) + np.random.default_rng(1).integers(
        0, 2, (*SIZE, 3), dtype=np.uint8
    )
    assert np.abs(structured(flat).astype(int) - 128).mean() < 12  # noise is not blown up


def test_what_is_hidden_in_one_frame_is_not_seen() -> None:
    clear = tissue(5)
    degraded = clear.copy()
    degraded[60:100, 80:130] = tissue(9)[60:100, 80:130]  # an instrument has come
    found = align(clear, degraded)
    assert found.mask[60:100, 80:130].mean() < 0.5
    assert found.mask[20:50, 20:180].mean() > 0.9


def test_forward_and_backward_must_agree() -> None:
    there = np.zeros((*SIZE, 2), np.float32)
    there[..., 0] = 4
    assert agrees(there, -there)[:, :-8].all()
    assert not agrees(there, there)[:, :-8].any()


def test_dense_smoke_is_not_trusted() -> None:
    clear = tissue(6)
    hidden = clear.copy()
    rng = np.random.default_rng(2)
    hidden[:, 100:] = np.clip(rng.normal(200, 2, (SIZE[0], SIZE[1] - 100, 3)), 0, 255)
    found = align(clear, hidden)
    assert found.sure[:, 120:].mean() < 0.2 < 0.8 < found.sure[:, :80].mean()


def test_aligned_pairs_teach_what_moved_ones_cannot() -> None:
    clear = tissue(7)
    flow = known_flow(*SIZE, np.random.default_rng(3))
    degraded = moved(clear, flow)
    found = align(clear, degraded)
    truth = unit(degraded)
    before = np.abs(unit(clear) - truth)[found.mask].mean()
    after = np.abs(found.warped - truth)[found.mask].mean()
    assert found.mask.mean() > 0.6 and after < 0.3 * before


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        align(tissue(1), tissue(1)[:-1])


def test_masked_l1_is_a_mean_over_all_pixels() -> None:
    out, target = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert masked_l1(out, target, mask).item() == pytest.approx(0.25)


def test_the_flow_of_tensors_is_the_flow_of_pictures() -> None:
    a, b = tissue(1), moved(tissue(1), known_flow(*SIZE, np.random.default_rng(1)))
    want = Dis()(structured(a), structured(b))
    x, y = (torch.from_numpy(unit(p)).permute(2, 0, 1)[None] for p in (a, b))
    got = StructureFlow()(x.requires_grad_(), y)
    assert got.shape == (1, 2, *SIZE) and not got.requires_grad
    assert np.abs(got[0].permute(1, 2, 0).numpy() - want).max() < 1e-3


def test_a_reference_is_masked_where_it_does_not_agree() -> None:
    clear = tissue(8)
    degraded = clear.copy()
    degraded[:, 112:] = 255 - degraded[:, 112:]
    mask = reference_mask(clear, degraded)
    assert mask.shape == (SIZE[0] // 4, SIZE[1] // 4) and set(np.unique(mask)) <= {0.0, 1.0}
    assert mask[:, 34:].mean() > 0.5 > 0.2 > mask[:, :8].mean()


def test_dehazed_and_plain_are_pictures() -> None:
    for way in (plain, dehazed, structured):
        out = way(tissue(1))
        assert out.shape == (*SIZE, 3) and out.dtype == np.uint8


def test_raft_is_told_by_its_keys(tmp_path: Path) -> None:
    """Needs torchvision, which is an extra of its own."""
    pytest.importorskip("torchvision.models.optical_flow", exc_type=ImportError)
    from torchvision.models.optical_flow import raft_small

    from trainer.align import Raft

    torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pt")
    flow = Raft(tmp_path / "raft.pt", updates=1)(tissue(1), tissue(1))
    assert flow.shape == (*SIZE, 2)
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="neither"):
        Raft(tmp_path / "other.pt")
