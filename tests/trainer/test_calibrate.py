"""What is set after training: where presence begins."""

from __future__ import annotations

import torch

from trainer.calibrate import FALSE_SHARES, presence_offset


def test_presence_begins_where_few_clear_frames_reach() -> None:
    logits = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    offset = torch.tensor(presence_offset(logits))
    over = (logits > offset).float().mean(0)
    assert torch.allclose(over, torch.tensor(FALSE_SHARES), atol=2e-4)
