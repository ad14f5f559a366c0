"""Trains every small case; started by torchrun, as each of two processes. DATA OUT STEPS"""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from pathlib import Path

import torch
from training import CASES

from models.veil import Veil
from trainer.fit.launch import launch
from trainer.fit.loop import fit
from trainer.fit.norm import share_statistics


def normalisation() -> float:
    """Largest difference, relative, between gradients of one process with four samples and of two
    with two each, through veil and its batch normalisation; in double precision."""
    torch.manual_seed(0)
    net = Veil(widths=(8, 8, 16, 16)).double().train()
    whole = copy.deepcopy(net)
    image, reference = torch.rand(2, 4, 3, 48, 64, dtype=torch.float64)
    known = torch.ones(4, 1, 48, 64, dtype=torch.float64)

    def loss(model: Veil, rows: slice) -> torch.Tensor:
        maps = model(image[rows], reference[rows], known[rows])
        out: torch.Tensor = maps.coefficients.square().mean() + maps.presence.square().mean()
        return out

    loss(whole, slice(0, 4)).backward()  # type: ignore[no-untyped-call]
    share_statistics(net)
    rank = torch.distributed.get_rank()
    loss(net, slice(2 * rank, 2 * rank + 2)).backward()  # type: ignore[no-untyped-call]
    worst = 0.0
    for mine, want in zip(net.parameters(), whole.parameters(), strict=True):
        if mine.grad is None or want.grad is None:
            assert mine.grad is want.grad
            continue
        torch.distributed.all_reduce(mine.grad)
        gap = (mine.grad / 2 - want.grad).abs().max() / want.grad.abs().max().clamp_min(1e-12)
        worst = max(worst, float(gap))
    for kept, wanted in zip(net.buffers(), whole.buffers(), strict=True):
        worst = max(worst, float((kept - wanted).abs().max()))
    return worst


def main(data: Path, out: Path, steps: int) -> None:
    found = {}
    for name, case in CASES.items():
        plan = replace(case.plan, steps=steps)
        fabric = launch(plan.precision)
        assert fabric.world_size == 2
        outcome = fit(
            case.make(), case.source(data), plan, out / name, fabric=fabric, recipe={"name": name}
        )
        found[name] = (outcome.losses, outcome.net.state_dict())
    gap = normalisation()
    if fabric.is_global_zero:
        torch.save({"runs": found, "normalisation": gap}, out / "found.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
