"""What viewers get says what the packet says."""

from __future__ import annotations

from server import jpeg
from server.frame import Provenance, Reason
from server.outgoing import no_signal, outgoing
from server.packet import Packet
from server.spec import Flag, Levels


def test_an_outgoing_picture_repeats_its_packet() -> None:
    note = {"provenance": "RAW", "reason": "GUARD", "smoke": 2}
    packet = Packet(
        stream=5, epoch=1, seq=2, capture_ns=10, width=64, height=48, codec="jpeg", tag_seq=77,
        tag_ns=78, out_ns=30, flags=Flag.GUARD | Flag.STALE, note=note,
    )  # fmt: skip
    picture = outgoing(packet, b"x", "restored")
    assert picture.flags == packet.flags
    assert (picture.seq, picture.capture_ts_ns, picture.place_seq) == (77, 78, 2)
    assert (picture.reason, picture.levels, picture.age_ns) == (Reason.GUARD, Levels(smoke=2), 20)
    raw = outgoing(packet, b"x", "raw")
    assert (raw.provenance, raw.reason) == (Provenance.RAW, Reason.BYPASS)


def test_the_service_has_a_card_of_its_own() -> None:
    picture = no_signal(5, (1, 2), (320, 240), 30, "split")
    assert picture.card
    assert picture.flags == Flag.CARD | Flag.STALE
    assert picture.view == "split"
    assert jpeg.size_of(picture.payload) == (320, 240)
