"""One picture out of a stream, as a JPEG for keeping."""

from __future__ import annotations

import numpy as np

from engines.picture import Rgb, Yuv420
from server import jpeg
from server.packet import Packet, as_bytes, picture_of
from server.spec import Outgoing

QUALITY = 95


def rgb(picture: Outgoing) -> Rgb:
    if picture.codec == "jpeg":
        return jpeg.decode(picture.payload)
    packet = Packet(
        stream=picture.stream,
        epoch=picture.epoch,
        seq=picture.place_seq,
        capture_ns=picture.server_in_ns,
        width=picture.width,
        height=picture.height,
        codec=picture.codec,
    )
    planes = picture_of(packet, as_bytes(picture.payload))
    return jpeg.to_rgb(planes) if isinstance(planes, Yuv420) else planes


def still(picture: Outgoing) -> bytes:
    """As it left where it is a JPEG already."""
    return picture.payload if picture.codec == "jpeg" else jpeg.encode(rgb(picture), QUALITY)


def difference(raw: Outgoing, restored: Outgoing) -> bytes:
    """Restored minus raw around mid-grey, of the same frame."""
    change = rgb(restored).pixels.astype(np.int16) - rgb(raw).pixels
    return jpeg.encode(Rgb(np.clip(change + 128, 0, 255).astype(np.uint8)), QUALITY)
