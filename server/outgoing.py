"""What leaves a stream process, as its viewers get it."""

from __future__ import annotations

from server import jpeg
from server.card import card
from server.frame import Provenance, Reason
from server.packet import Packet
from server.spec import Flag, Levels, Outgoing, View

CARD_QUALITY = 85


def outgoing(packet: Packet, payload: bytes, view: View) -> Outgoing:
    note = packet.note
    return Outgoing(
        stream=packet.stream,
        view=view,
        epoch=packet.epoch,
        place_seq=packet.seq,
        seq=packet.tag_seq,
        capture_ts_ns=packet.tag_ns,
        server_in_ns=packet.capture_ns - packet.late_ns,
        server_out_ns=packet.out_ns,
        provenance=Provenance.RAW if view == "raw" else Provenance(note.get("provenance", "RAW")),
        reason=_reason(note.get("reason"), view),
        stale=bool(packet.flags & Flag.STALE),
        card=bool(packet.flags & Flag.CARD),
        levels=Levels(*(int(note.get(kind, 0)) for kind in ("smoke", "fog", "splash"))),
        codec=packet.codec,
        width=packet.width,
        height=packet.height,
        payload=payload,
    )


def no_signal(
    number: int, place: tuple[int, int], size: tuple[int, int], now: int, view: View
) -> Outgoing:
    """The card that the service itself shows while the stream's process is silent."""
    head = Packet(
        stream=number,
        epoch=place[0],
        seq=place[1],
        capture_ns=now,
        width=size[0],
        height=size[1],
        codec="jpeg",
        out_ns=now,
        flags=Flag.CARD | Flag.STALE,
    )
    return outgoing(head, jpeg.encode(card(*size, None), CARD_QUALITY), view)


def _reason(reason: str | None, view: View) -> Reason | None:
    if view == "raw":
        return Reason.BYPASS  # raw because it was asked for
    return None if reason is None else Reason(reason)
