"""Pictures become tensors and are themselves again."""

from __future__ import annotations

import numpy as np
import torch

from trainer.tensors import chw, hwc


def test_a_picture_becomes_a_tensor_and_is_itself_again() -> None:
    image = np.random.default_rng(0).random((3, 5, 2), np.float32)
    x = chw(image)
    assert x.shape == (2, 3, 5) and x.is_contiguous()
    assert x[1, 2, 4] == float(image[2, 4, 1])
    back = hwc(x)
    np.testing.assert_array_equal(back, image)
    assert back.flags.c_contiguous and hwc(x.double()).dtype == np.float32


def test_what_is_made_of_a_flipped_picture_can_be_a_tensor() -> None:
    image = np.arange(12, dtype=np.float32).reshape(2, 3, 2)[:, ::-1]
    assert torch.equal(chw(image), chw(image.copy()))
