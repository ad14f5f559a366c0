"""A phantom comes as any other video does: pictures, times, and facts that agree."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from server.decode import planes_of
from server.errors import SettingInvalid
from server.rendered import Rendered
from server.stages import Stages

URL = "phantom:?size=160x96&seconds=1&fps=10&loops=2"


def test_pictures_and_images_are_the_same_frames() -> None:
    stages = Stages()
    rendered = Rendered(URL, watch=stages)
    items = list(rendered)
    facts = rendered.facts
    assert (facts.width, facts.height, facts.frames) == (160, 96, 20)
    assert facts.rate == Fraction(10)
    assert [item.pts for item in items] == list(range(20))
    assert [item.time_ns for item in items] == [i * 100_000_000 for i in range(20)]
    for item in items[::7]:
        assert np.array_equal(planes_of(item.image, facts.colour).y, item.picture.y)
        assert item.picture.colour == facts.colour
    assert stages.percentiles()["decode"].p50 > 0


def test_an_endless_one_and_a_wrong_one_are_refused() -> None:
    with pytest.raises(SettingInvalid, match="never ends"):
        Rendered("phantom:?loops=0")
    with pytest.raises(SettingInvalid):
        Rendered("phantom:?colour=red")
