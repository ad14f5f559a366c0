"""Memory changes hands without a copy, lives as long as anybody uses it, and no longer."""

from __future__ import annotations

import gc
import weakref

import av
import numpy as np
import pytest

from engines.dlpack import CPU, Plane, take


class Owner:
    """Holds memory; seen to die."""

    def __init__(self, rows: int, pitch: int) -> None:
        self.bytes = np.arange(rows * pitch, dtype=np.uint32).astype(np.uint8).reshape(rows, pitch)

    def plane(self, *shape: int) -> Plane:
        rows, pitch = self.bytes.shape
        return Plane(self.bytes.ctypes.data, shape, pitch, (CPU, 0), owner=self)


def test_numpy_sees_our_memory() -> None:
    owner = Owner(4, 16)
    seen = np.from_dlpack(owner.plane(4, 10))
    np.testing.assert_array_equal(seen, owner.bytes[:, :10])
    owner.bytes[2, 3] = 77
    assert seen[2, 3] == 77  # the memory itself
    pairs = np.from_dlpack(owner.plane(4, 5, 2))
    np.testing.assert_array_equal(pairs, owner.bytes[:, :10].reshape(4, 5, 2))


def test_it_lives_as_long_as_it_is_used() -> None:
    owner = Owner(4, 16)
    gone = weakref.ref(owner)
    seen = np.from_dlpack(owner.plane(4, 10))
    want = owner.bytes[:, :10].copy()
    del owner
    gc.collect()
    assert gone() is not None
    np.testing.assert_array_equal(seen, want)
    del seen
    gc.collect()
    assert gone() is None


def test_a_capsule_that_nobody_took_lets_go() -> None:
    owner = Owner(2, 8)
    gone = weakref.ref(owner)
    capsule = owner.plane(2, 8).__dlpack__()
    del owner
    gc.collect()
    assert gone() is not None
    del capsule
    gc.collect()
    assert gone() is None


def test_planes_of_numpy_are_taken() -> None:
    wide = np.arange(60, dtype=np.uint8).reshape(5, 12)
    plane = take(wide[:, :8])
    assert (plane.address, plane.shape, plane.pitch) == (wide.ctypes.data, (5, 8), 12)
    assert (plane.rows, plane.row_bytes, plane.device) == (5, 8, (CPU, 0))
    for wrong in (wide.astype(np.float32), wide[:, ::2], wide[0]):
        with pytest.raises(ValueError, match="not"):
            take(wrong)


def test_frames_go_in_and_out_of_the_codec_library() -> None:
    luma = np.arange(64 * 32, dtype=np.uint32).astype(np.uint8).reshape(32, 64)
    chroma = np.arange(16 * 64, dtype=np.uint32).astype(np.uint8).reshape(16, 32, 2)
    planes = (take(luma), take(chroma))
    frame = av.VideoFrame.from_dlpack(planes, format="nv12")
    assert (frame.width, frame.height, frame.format.name) == (64, 32, "nv12")
    back = [take(plane) for plane in frame.planes]
    assert [plane.shape for plane in back] == [(32, 64), (16, 32, 2)]
    np.testing.assert_array_equal(np.from_dlpack(back[0]), luma)
    np.testing.assert_array_equal(np.from_dlpack(back[1]), chroma)
    del frame, planes
    gc.collect()
    np.testing.assert_array_equal(np.from_dlpack(back[0]), luma)
