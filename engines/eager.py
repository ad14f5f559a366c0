"""Torch itself as an engine: the reference that every other backend is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from engines.engine import Array, Info
from engines.errors import BackendMissing, FeedsWrong, RunFailed
from engines.export import FRAME, RESTORED, Deployed

Precision = Literal["fp32", "fp16", "bf16"]
SHORT = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Eager:
    """A network in torch: uint8 b h w 3 in and out, as an exported bundle.

    precision: fp16 and bf16 by autocast. Raises BackendMissing where torch sees no such device.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        compiled: bool = False,
    ) -> None:
        try:
            self._net: nn.Module = Deployed(net).eval().to(device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise BackendMissing(
                f"torch cannot use {device}: {str(error).splitlines()[0]}", "use --device cpu"
            ) from error
        if compiled:
            self._net.compile()
        self._device, self._precision = torch.device(device), precision
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
                restored = self._net(torch.from_numpy(frame).to(self._device))
                return {RESTORED: restored.cpu().numpy()}
        except RuntimeError as error:
            raise RunFailed(f"{self.info.name} failed: {str(error).splitlines()[0]}") from error

    def close(self) -> None:
        """Frees the network."""
        self._net = nn.Identity()
