"""The wire header's flags and levels say what the frame is."""

from __future__ import annotations

from server.frame import Provenance, Reason
from server.outgoing import outgoing
from server.packet import Packet
from server.spec import REASON_FLAG, Flag, Levels, flags_of


def test_every_reason_has_a_flag_of_its_own() -> None:
    assert set(REASON_FLAG) == set(Reason)
    bits = [*REASON_FLAG.values(), Flag.RESTORED, Flag.STALE, Flag.CARD]
    assert len(set(bits)) == len(bits)
    assert all(bit.bit_count() == 1 and bit < 2**16 for bit in bits)


def test_flags_of_each_state() -> None:
    assert flags_of(Provenance.RESTORED, None, stale=False, card=False) == Flag.RESTORED
    assert flags_of(Provenance.RAW, Reason.LATE, stale=True, card=False) == Flag.LATE | Flag.STALE
    card = flags_of(Provenance.RAW, None, stale=False, card=True)
    assert card == Flag.CARD | Flag.STALE


def test_the_mask_holds_two_bits_a_kind() -> None:
    assert Levels(smoke=1, fog=2, splash=3).mask == 0b111001
    assert Levels(smoke=4, fog=4, splash=4).mask == 0b111111


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
