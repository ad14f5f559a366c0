"""Round trips between grey levels and [0, 1]."""

import numpy as np

from trainer.pixels import grey_levels, unit


def test_every_grey_level_survives_the_round_trip() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(grey_levels(unit(levels)), levels)


def test_values_beyond_the_range_are_clipped() -> None:
    assert grey_levels(np.array([-0.5, 1.5], np.float32)).tolist() == [0, 255]
