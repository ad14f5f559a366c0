"""Where a run takes place."""

from __future__ import annotations

import pytest
import torch

from trainer.fit.launch import launch


def test_alone_it_is_one_process_on_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(key, raising=False)
    fabric = launch("32-true")
    assert fabric.world_size == 1 and fabric.is_global_zero
    assert fabric.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_precision_is_the_recipes() -> None:
    fabric = launch("bf16-mixed")
    module, _ = fabric.setup(
        torch.nn.Conv2d(3, 3, 1), torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    )
    seen: list[torch.dtype] = []
    inner = module.module
    inner.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    module(torch.rand(1, 3, 8, 8))
    assert seen == [torch.bfloat16]
