"""Where a run takes place: one CPU, one GPU, or as many as `torchrun` has started.

    surgiclear train RECIPE
    torchrun --nproc-per-node 8 --no-python surgiclear train RECIPE
    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        --no-python surgiclear train RECIPE         (all nodes see the same --out)
"""

from __future__ import annotations

import logging
import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from trainer.fit.plan import Precision


def launch(precision: Precision) -> Fabric:
    """The processes of this run, found in the environment that torchrun sets."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if world == 1:
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    else:
        # some nets have parameters that only some of their outputs depend on
        strategy = DDPStrategy(find_unused_parameters=True)
        fabric = Fabric(
            accelerator=accelerator,
            strategy=strategy,
            devices=local,
            num_nodes=world // local,
            precision=precision,
        )
    fabric.launch()
    return fabric
