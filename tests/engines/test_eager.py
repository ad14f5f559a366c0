"""Torch as an engine gives what torch gives, in bytes, and says what it cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from nets import SIZE, Convolutions, Small

from engines.eager import Eager
from engines.errors import BackendMissing, FeedsWrong
from engines.export import noise, run_torch
from engines.half import psnr_db
from models.tiled import Tiling


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


def test_it_works_in_tiles_where_memory_is_short() -> None:
    net = Convolutions().eval()
    frame = noise((96, 128), 3)
    whole = Eager("small", net).run({"frame": frame})["restored"]
    seen: list[tuple[int, ...]] = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    tiling = Tiling(side=64, halo=4, blend=8)
    tiled = Eager("small", net, tiling=tiling).run({"frame": frame})["restored"]
    assert set(seen) == {(64, 64)}
    assert np.abs(tiled.astype(int) - whole).max() <= 1

    def short(_: object, inputs: tuple[torch.Tensor]) -> None:
        if inputs[0].shape[2] * inputs[0].shape[3] > 5000:
            raise torch.OutOfMemoryError("CUDA out of memory")

    net.register_forward_pre_hook(short)
    rescued = Eager("small", net).run({"frame": frame})["restored"]
    assert np.abs(rescued.astype(int) - whole).max() <= 1


@pytest.mark.parametrize(
    "feeds",
    [{}, {"frame": np.zeros((1, 8, 8, 3), np.float32)}, {"frame": np.zeros((8, 8, 3), np.uint8)}],
)
def test_wrong_feeds_are_refused(feeds: dict[str, Any]) -> None:
    with pytest.raises(FeedsWrong):
        Eager("small", Small()).run(feeds)


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendMissing, match="cuda"):
        Eager("small", Small(), device="cuda")
