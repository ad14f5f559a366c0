"""Pictures that lie in GPU memory, as a hardware decoder left them, and come back the same way.

An `OnGpu` is a Yuv420 whose planes are on the host as well: detection and the guard read those.
The network reads and writes the planes on the GPU, so that a frame crosses the bus only to be
looked at, never to be restored.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.cuda import Device, Rows
from engines.dlpack import CUDA, Plane
from engines.picture import Colour, Yuv420


@dataclass(frozen=True, kw_only=True, slots=True)
class OnGpu(Yuv420):
    """luma: h w; chroma: h/2 w/2 2 (U V): the same pixels on the GPU."""

    luma: Plane
    chroma: Plane


class Frames:
    """The memory for pictures of one size on one GPU. A buffer is used again once nobody holds
    its plane; there are as many as were ever held at once. place: what DLPack calls the GPU."""

    def __init__(
        self, device: Device, width: int, height: int, *, place: tuple[int, int] = (CUDA, 0)
    ) -> None:
        if width % 2 or height % 2:
            raise ValueError(f"4:2:0 on a GPU has even sides, not {width}x{height}")
        self._device, self._place = device, place
        self._shapes = ((height, width), (height // 2, width // 2, 2))
        self._free: tuple[list[int], list[int]] = ([], [])
        self._hosts = [device.pinned(h * row[0] * (row[1] if len(row) > 1 else 1))
                       for h, *row in self._shapes]  # fmt: skip
        self._stream, self._done = device.stream(), device.event()

    def fresh(self) -> tuple[Plane, Plane]:
        """Planes to write to: h w, and h/2 w/2 2."""
        luma, chroma = (self._plane(which) for which in (0, 1))
        return luma, chroma

    def _plane(self, which: int) -> Plane:
        shape, free = self._shapes[which], self._free[which]
        row_bytes = int(np.prod(shape[1:]))
        address = free.pop() if free else self._device.allocate(shape[0] * row_bytes)
        owner = _Held()
        weakref.finalize(owner, free.append, address)
        return Plane(address, shape, row_bytes, self._place, owner)

    def picture(self, luma: Plane, chroma: Plane, colour: Colour) -> OnGpu:
        """The planes with a copy on the host. Raises ValueError for planes of another size."""
        planes = (luma, chroma)
        if tuple(plane.shape for plane in planes) != self._shapes:
            raise ValueError(f"planes {luma.shape}, {chroma.shape} are not {self._shapes}")
        for plane, host in zip(planes, self._hosts, strict=True):
            address: Any = host.ctypes.data
            self._device.copy_rows(
                Rows(address, plane.row_bytes, plane.address, plane.pitch, plane.row_bytes,
                     plane.rows),
                self._stream,
            )  # fmt: skip
        self._device.mark(self._done, self._stream)
        self._device.wait(self._done)
        y = self._hosts[0].reshape(luma.shape).copy()
        uv = self._hosts[1].reshape(chroma.shape)
        u, v = uv[..., 0].copy(), uv[..., 1].copy()
        return OnGpu(y, u, v, colour, luma=luma, chroma=chroma)


class _Held:
    """Alive while somebody uses a buffer."""

    __slots__ = ("__weakref__",)
