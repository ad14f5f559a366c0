"""A phantom feed as a video to restore: rendered instead of decoded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction

from engines.picture import Colour, Yuv420
from server.decode import BT709, ColourTags, Decoded, VideoFacts
from server.encode import image_of
from server.errors import SettingInvalid
from server.phantom.spec import SCHEME as PHANTOM
from server.phantom.spec import PhantomSpec, parse
from server.pipeline import Stopwatch

__all__ = ["PHANTOM", "Rendered"]

LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


def facts_of(spec: PhantomSpec) -> VideoFacts:
    """What the header of a phantom's video says."""
    count = spec.frames * spec.loops
    return VideoFacts(
        width=spec.width,
        height=spec.height,
        colour=Colour("bt709", full_range=False),
        tags=ColourTags(LIMITED_RANGE, BT709, BT709, BT709),
        rate=spec.fps,
        time_base=1 / Fraction(spec.fps),
        frames=count or None,
        sample_aspect=None,
        display_matrix=None,
        interlaced=False,
        losses=(),
    )


class Rendered:
    """The frames of one phantom, in order. Raises SettingInvalid for one without an end."""

    def __init__(self, url: str, *, watch: Stopwatch | None = None) -> None:
        spec = parse(url)
        if spec.loops == 0:
            raise SettingInvalid(f"{url} never ends", "give it loops=1")
        from server.phantom.feed import Feed  # renders with numba: only who shows it pays

        self._feed = Feed(spec)
        self._count = spec.frames * spec.loops
        self._watch = watch
        self.facts = facts_of(spec)

    def __iter__(self) -> Iterator[Decoded]:
        for index in range(self._count):
            started = time.perf_counter_ns()
            picture: Yuv420 = self._feed.picture(index)
            image = image_of(picture, self.facts)
            if self._watch is not None:
                self._watch.add("decode", time.perf_counter_ns() - started)
            time_ns = int(index * self.facts.time_base * 1_000_000_000)
            yield Decoded(image, picture, index, 1, time_ns)
