"""Stills out of a stream, from every codec."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import scene
from streams import planes

from engines.picture import Picture, Rgb
from server import jpeg
from server.frame import Provenance
from server.packet import parts_of
from server.snapshot import difference, still
from server.spec import Codec, Levels, Outgoing


def left(picture: Picture, codec: Codec) -> Outgoing:
    payload = b"".join(part.tobytes() for part in parts_of(picture))
    return Outgoing(
        stream=1,
        view="restored",
        epoch=0,
        place_seq=0,
        seq=0,
        capture_ts_ns=0,
        server_in_ns=0,
        server_out_ns=0,
        provenance=Provenance.RESTORED,
        reason=None,
        stale=False,
        card=False,
        levels=Levels(),
        codec=codec,
        width=64,
        height=48,
        payload=jpeg.encode(picture, 95) if codec == "jpeg" else payload,
    )


@pytest.mark.parametrize("codec", ["jpeg", "rgb24", "i420"])
def test_a_still_is_the_picture(codec: Codec) -> None:
    picture: Picture = planes(4) if codec == "i420" else scene(4)
    outgoing = left(picture, codec)
    shown = jpeg.decode(still(outgoing)).pixels.astype(int)
    own = planes(4).y[..., None] if codec == "i420" else scene(4).pixels
    assert np.abs(shown - own).mean() < 4
    assert codec != "jpeg" or still(outgoing) == outgoing.payload


def test_a_difference_is_grey_where_nothing_changed() -> None:
    brighter = Rgb(np.clip(scene().pixels.astype(int) + 20, 0, 255).astype(np.uint8))
    same = jpeg.decode(difference(left(scene(), "rgb24"), left(scene(), "rgb24")))
    changed = jpeg.decode(difference(left(scene(), "rgb24"), left(brighter, "rgb24")))
    assert np.abs(same.pixels.astype(int) - 128).max() <= 2
    assert abs(np.median(changed.pixels) - 148) <= 2
