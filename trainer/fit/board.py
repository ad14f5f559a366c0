"""The run on a board: curves and pictures for TensorBoard, in the process that writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

SHOWN = 4  # samples of a batch


class Board:
    """Writes nothing where `folder` is None."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = SummaryWriter(str(folder)) if folder is not None else None

    def curves(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def pictures(self, rows: Tensor, step: int) -> None:
        """rows: b 3 h w in [0, 1], stacked one under the other."""
        if self._writer is not None:
            sheet = torch.cat(list(rows[:SHOWN].detach().float().clamp(0, 1).cpu()), 1)  # 3 bh w
            self._writer.add_image("samples", sheet, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
