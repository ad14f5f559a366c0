"""The wire header's flags and levels say what the frame is."""

from __future__ import annotations

from server.frame import Provenance, Reason
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
