"""The Fourier transform by matrix products, held to torch.fft."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from engines.export import trace
from models.layers.fourier import (
    Norm,
    divisor,
    exporting,
    forward_products,
    inverse_products,
    irfft2,
    rfft2,
)

SIZES = [(16, 16), (17, 33), (20, 36), (13, 7), (6, 1), (1, 2), (72, 100)]
NORMS: list[Norm] = ["backward", "ortho"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", SIZES)
def test_forward(size: tuple[int, int], norm: Norm) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    want = torch.fft.rfft2(x, norm=norm)
    real, imag = forward_products(x, norm)
    assert torch.allclose(real, want.real, atol=1e-10)
    assert torch.allclose(imag, want.imag, atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", SIZES)
def test_inverse_of_spectra_that_no_real_picture_has(size: tuple[int, int], norm: Norm) -> None:
    h, w = size
    real, imag = torch.randn(2, 1, 2, h, w // 2 + 1, dtype=torch.float64)
    want = torch.fft.irfft2(torch.complex(real, imag), s=size, norm=norm)
    assert torch.allclose(inverse_products(real, imag, size, norm), want, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_transformed_in_single(dtype: torch.dtype) -> None:
    x = torch.rand(1, 2, 12, 10).to(dtype)
    real, imag = rfft2(x, "ortho")
    assert real.dtype == imag.dtype == dtype
    back = irfft2(real, imag, (12, 10), "ortho")
    assert back.dtype == dtype
    assert (back.float() - x.float()).abs().max() < 0.03


@pytest.mark.parametrize(("n", "want"), [(1280, 32), (720, 24), (641, 1), (1, 1), (16, 4)])
def test_products_stay_small(n: int, want: int) -> None:
    assert divisor(n) == want


class RoundTrip(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert exporting()
        real, imag = rfft2(x, "ortho")
        return irfft2(real, imag * 0.5, (x.shape[2], x.shape[3]), "ortho")


def test_the_exported_graph_has_products_and_no_transform() -> None:
    model = trace(RoundTrip(), (18, 20))
    kinds = {node.op_type for node in onnx.load_from_string(model).graph.node}
    assert "MatMul" in kinds and not kinds & {"DFT", "STFT"}
    frame = np.random.default_rng(0).integers(0, 256, (1, 18, 20, 3), np.uint8)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (ours,) = session.run(None, {session.get_inputs()[0].name: frame})
    x = torch.from_numpy(frame).permute(0, 3, 1, 2) / 255
    spectrum = torch.fft.rfft2(x, norm="ortho")
    want = torch.fft.irfft2(
        torch.complex(spectrum.real, spectrum.imag * 0.5), s=(18, 20), norm="ortho"
    )
    grey = (want.clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(ours.astype(np.float32) - grey).max() <= 1


def test_eager_mode_does_not_export() -> None:
    assert not exporting()
