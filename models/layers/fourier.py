"""The two-dimensional real Fourier transform as a pair of real maps.

Eager mode uses torch.fft. While a graph is exported the same transform is matrix products and
element-wise work only, because TensorRT has no DFT and ONNX Runtime none on the GPU. A side that
is not prime is split in two factors, so the products stay small (J. W. Cooley, J. W. Tukey,
Math. Comp. 19, 1965): 1280 is 32 x 40. float16 and bfloat16 are transformed in float32.
"""

from __future__ import annotations

import math
from typing import Literal

import torch

Pair = tuple[torch.Tensor, torch.Tensor]  # real and imaginary part
Norm = Literal["backward", "ortho"]


def rfft2(x: torch.Tensor, norm: Norm) -> Pair:
    """b c h w -> real and imaginary part, each b c h (w // 2 + 1)."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if exporting():
        real, imag = forward_products(wide, norm)
    else:
        spectrum = torch.fft.rfft2(wide, norm=norm)
        real, imag = spectrum.real, spectrum.imag
    return real.to(x.dtype), imag.to(x.dtype)


def irfft2(
    real: torch.Tensor, imag: torch.Tensor, size: tuple[int, int], norm: Norm
) -> torch.Tensor:
    """Undoes `rfft2` to the given height and width; as in torch.fft, the imaginary parts of the
    first and (even width) the last column count only as far as a real answer allows."""
    dtype = torch.promote_types(real.dtype, torch.float32)
    wide = real.to(dtype), imag.to(dtype)
    if exporting():
        return inverse_products(*wide, size, norm).to(real.dtype)
    answer: torch.Tensor = torch.fft.irfft2(torch.complex(*wide), s=size, norm=norm)
    return answer.to(real.dtype)


def exporting() -> bool:
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()


def forward_products(x: torch.Tensor, norm: Norm) -> Pair:
    """rfft2 by matrix products."""
    h, w = x.shape[-2:]
    real, imag = dft(x, None, -1)
    half = w // 2 + 1
    real, imag = dft(real[..., :half].mT, imag[..., :half].mT, -1)
    scale = 1.0 if norm == "backward" else 1.0 / math.sqrt(h * w)
    return real.mT * scale, imag.mT * scale


def inverse_products(
    real: torch.Tensor, imag: torch.Tensor, size: tuple[int, int], norm: Norm
) -> torch.Tensor:
    """irfft2 by matrix products."""
    h, w = size
    real, imag = (z.mT for z in dft(real.mT, imag.mT, 1))
    # the columns that a real row implies: conjugates, in reverse, of all but the first and middle
    mirror = slice(1, (w + 1) // 2)
    real = torch.cat([real, real[..., mirror].flip(-1)], dim=-1)
    first = torch.zeros_like(imag[..., :1])
    inner = imag[..., mirror]
    middle = [first] if w % 2 == 0 else []
    imag = torch.cat([first, inner, *middle, -inner.flip(-1)], dim=-1)
    answer, _ = dft(real, imag, 1)
    return answer * (1.0 / (h * w) if norm == "backward" else 1.0 / math.sqrt(h * w))


def dft(real: torch.Tensor, imag: torch.Tensor | None, sign: int) -> Pair:
    """The unscaled transform along the last axis, exp(sign 2 pi i k t / n); None: imag is 0."""
    n = real.shape[-1]
    n1 = divisor(n)
    n2 = n // n1
    # t = n2 t1 + t2, k = k1 + n1 k2; first over t1, then a twist, then over t2
    shape = (*real.shape[:-1], n1, n2)
    real = real.reshape(shape)
    imag = None if imag is None else imag.reshape(shape)
    cos, sin = roots(n1, n1, n1, sign, real)
    a = cos @ real, sin @ real  # ... k1 t2
    if imag is not None:
        a = a[0] - sin @ imag, a[1] + cos @ imag
    cos, sin = roots(n1, n2, n, sign, real)
    a = a[0] * cos - a[1] * sin, a[0] * sin + a[1] * cos
    cos, sin = roots(n2, n2, n2, sign, real)
    a = a[0] @ cos - a[1] @ sin, a[0] @ sin + a[1] @ cos  # ... k1 k2
    return a[0].mT.flatten(-2), a[1].mT.flatten(-2)


def divisor(n: int) -> int:
    """The largest divisor of n that is no larger than its root."""
    return next(d for d in range(math.isqrt(n), 0, -1) if n % d == 0)


def roots(rows: int, columns: int, n: int, sign: int, like: torch.Tensor) -> Pair:
    """cos and sin of sign 2 pi i j / n at row i, column j: constants of an exported graph."""
    angles = [[sign * 2.0 * math.pi * (i * j % n) / n for j in range(columns)] for i in range(rows)]
    cos, sin = ([[f(a) for a in row] for row in angles] for f in (math.cos, math.sin))
    return like.new_tensor(cos), like.new_tensor(sin)
