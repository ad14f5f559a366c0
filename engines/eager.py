"""Torch itself as an engine: the reference that every other backend is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from engines.contract import FRAME, RESTORED
from engines.engine import Array, Info
from engines.errors import BackendMissing, FeedsWrong, RunFailed
from engines.export import Deployed
from models.tiled import Tiling, restore

Precision = Literal["fp32", "fp16", "bf16"]
SHORT = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Roomy(nn.Module):
    """A network over whole pictures where memory allows, else over tiles: b 3 h w -> b 3 h w."""

    def __init__(self, net: nn.Module, tiling: Tiling | None) -> None:
        super().__init__()
        self.net, self.tiling = net, tiling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return restore(self.net, x, self.tiling)


class Eager:
    """A network in torch: uint8 b h w 3 in and out, as an exported bundle.

    precision: fp16 and bf16 by autocast; tiling: None for whole pictures, and for tiles only
    where memory runs out. Raises BackendMissing where torch sees no such device.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        compiled: bool = False,
        tiling: Tiling | None = None,
    ) -> None:
        if compiled:
            net.compile()
        try:
            self._net: nn.Module = Deployed(Roomy(net, tiling)).eval().to(device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise BackendMissing(
                f"torch cannot use {device}: {str(error).splitlines()[0]}", "use --device cpu"
            ) from error
        self._device, self._precision = torch.device(device), precision
        self.device_ms: float | None = None  # what a GPU took for the last frame
        how = f"{precision}{', compiled' if compiled else ''}"
        self.info = Info(
            name=name,
            version="0.0.0",
            sha256="",
            provider=device,
            detail=f"torch {torch.__version__} {how}",
        )

    def _casts(self) -> AbstractContextManager[object]:
        if self._precision == "fp32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=SHORT[self._precision])

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One frame, in and out. Raises FeedsWrong, RunFailed."""
        frame = feeds.get(FRAME)
        if frame is None or frame.dtype != "uint8" or frame.ndim != 4 or frame.shape[-1] != 3:
            raise FeedsWrong(f"inputs {sorted(feeds)}", f"give {FRAME}: uint8 b h w 3")
        try:
            with torch.inference_mode(), self._casts():
                placed = torch.from_numpy(frame).to(self._device)
                restored = self._timed(placed) if self._device.type == "cuda" else self._net(placed)
                return {RESTORED: restored.cpu().numpy()}
        except RuntimeError as error:
            raise RunFailed(f"{self.info.name} failed: {str(error).splitlines()[0]}") from error

    def _timed(self, frame: torch.Tensor) -> torch.Tensor:
        """The same between two events of the GPU."""
        event: Any = torch.cuda.Event  # torch gives it no types
        begun, done = (event(enable_timing=True) for _ in range(2))
        begun.record()
        restored: torch.Tensor = self._net(frame)
        done.record()
        done.synchronize()
        self.device_ms = float(begun.elapsed_time(done))
        return restored

    def close(self) -> None:
        """Frees the network."""
        self._net = nn.Identity()
