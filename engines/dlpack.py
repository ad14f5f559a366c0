"""Memory of other libraries as plain addresses, and ours as theirs, by DLPack: nothing is copied.

The structures are those of DLPack 0.8 (dmlc/dlpack, dlpack.h), versionless capsules named
"dltensor". A `Plane` that was taken keeps its owner alive; one that was given stays alive until
whoever took it lets go.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

CPU, CUDA, CUDA_HOST = 1, 2, 3
UINT = 1  # DLDataTypeCode
NAME = b"dltensor"


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (
    ("tensor", _Tensor),
    ("context", ctypes.c_void_p),
    ("deleter", _Deleter),
)
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_python = ctypes.pythonapi
_pointer = _python.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", _python)
)
_new = _python.PyCapsule_New
_new.restype = ctypes.py_object
_new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, _Destructor)
_hold, _drop = _python.Py_IncRef, _python.Py_DecRef
_hold.argtypes = _drop.argtypes = (ctypes.py_object,)


@dataclass(frozen=True, slots=True)
class Plane:
    """Rows of bytes somewhere. address: of the first; pitch: bytes from row to row; shape: as its
    owner has it, rows first; device: DLPack's type and number; owner: what keeps it alive."""

    address: int
    shape: tuple[int, ...]
    pitch: int
    device: tuple[int, int]
    owner: Any = None

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        size = 1
        for side in self.shape[1:]:
            size *= side
        return size

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        """A capsule of this memory. Nothing is waited for: be done with it before."""
        return _capsule(self)


class _Given:
    """One tensor in other hands: everything that must outlive it."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        count = len(plane.shape)
        self.shape = (ctypes.c_int64 * count)(*plane.shape)
        strides = [1] * count
        for at in range(count - 2, 0, -1):
            strides[at] = strides[at + 1] * plane.shape[at + 1]
        strides[0] = plane.pitch
        self.strides = (ctypes.c_int64 * count)(*strides)
        self.managed = _Managed()
        tensor = self.managed.tensor
        tensor.data, tensor.ndim = plane.address, count
        tensor.device = _Device(*plane.device)
        tensor.dtype = _Type(UINT, 8, 1)
        tensor.shape, tensor.strides = self.shape, self.strides
        self.managed.context = id(self)
        self.managed.deleter = _let_go


def _release(managed: Any) -> None:
    _drop(ctypes.cast(managed.contents.context, ctypes.py_object))


def _destroy(capsule: int) -> None:
    """A capsule that nobody took still holds its tensor. Its pointer, not the object: the object
    is being destroyed."""
    if _is_valid(capsule, NAME):
        get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
            ("PyCapsule_GetPointer", _python)
        )
        managed = ctypes.cast(get(capsule, NAME), ctypes.POINTER(_Managed))
        managed.contents.deleter(managed)


_let_go, _unused = _Deleter(_release), _Destructor(_destroy)  # called from C, kept for ever


def _capsule(plane: Plane) -> Any:
    given = _Given(plane)
    _hold(given)
    return _new(ctypes.addressof(given.managed), NAME, _unused)


def take(source: Any) -> Plane:
    """8-bit planes of anything with `__dlpack__` (rows may be padded). The capsule stays ours and
    unconsumed, so the memory lives as long as the Plane.

    Raises ValueError for memory that is not rows of bytes.
    """
    capsule = source.__dlpack__()
    managed = ctypes.cast(_pointer(capsule, NAME), ctypes.POINTER(_Managed)).contents
    tensor = managed.tensor
    if (tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes) != (UINT, 8, 1):
        raise ValueError("not a plane of bytes")
    shape = tuple(int(tensor.shape[at]) for at in range(tensor.ndim))
    dense = [1] * len(shape)
    for at in range(len(shape) - 2, -1, -1):
        dense[at] = dense[at + 1] * shape[at + 1]
    strides = [int(tensor.strides[at]) for at in range(tensor.ndim)] if tensor.strides else dense
    if len(shape) < 2 or strides[1:] != dense[1:] or strides[0] < dense[0]:
        raise ValueError(f"not rows of bytes: shape {shape}, strides {strides}")
    return Plane(
        address=int(tensor.data) + int(tensor.byte_offset),
        shape=shape,
        pitch=strides[0],
        device=(int(tensor.device.type), int(tensor.device.id)),
        owner=capsule,
    )
