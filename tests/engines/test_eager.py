"""Torch as an engine gives what torch gives, in bytes, and says what it cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nets import SIZE, Small

from engines.eager import Eager
from engines.errors import BackendMissing, FeedsWrong
from engines.export import noise, run_torch
from engines.half import psnr_db


def test_it_gives_what_torch_gives() -> None:
    net = Small().eval()
    engine = Eager("small", net)
    frame = noise(SIZE, 2)
    restored = engine.run({"frame": frame})["restored"]
    np.testing.assert_array_equal(restored, run_torch(net, frame))
    assert (engine.info.provider, engine.info.name) == ("cpu", "small")
    engine.close()


def test_sixteen_bits_are_near() -> None:
    net = Small().eval()
    frame = noise(SIZE, 2)
    full = Eager("small", net).run({"frame": frame})["restored"]
    engine = Eager("small", net, precision="bf16")
    less = engine.run({"frame": frame})["restored"]
    assert 30 < psnr_db(less, full) < 99  # near, and really another precision
    assert "bf16" in engine.info.detail


@pytest.mark.parametrize(
    "feeds",
    [{}, {"frame": np.zeros((1, 8, 8, 3), np.float32)}, {"frame": np.zeros((8, 8, 3), np.uint8)}],
)
def test_wrong_feeds_are_refused(feeds: dict[str, Any]) -> None:
    with pytest.raises(FeedsWrong):
        Eager("small", Small()).run(feeds)


def test_a_device_that_is_not_there() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendMissing, match="cuda"):
        Eager("small", Small(), device="cuda")
