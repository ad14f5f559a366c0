"""Pushed frames: measured before they are decoded, numbered without holes, given to both."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from simulated import PAYLOAD

from server.controls import Limits
from server.errors import FrameTooLarge, SettingInvalid, SourceUnreadable
from server.ingest import Ingest
from server.packet import Packet
from server.spec import Codec, Mode

LIMITS = replace(Limits(), max_pixels=100 * 100, max_width=200, max_height=200)


def ingest(mode: Mode = "live") -> Ingest:
    return Ingest(7, mode, LIMITS)


@pytest.mark.parametrize(
    ("payload", "codec", "size", "error"),
    [
        (b"no", "jpeg", (0, 0), SourceUnreadable),
        (b"", "rgb24", (0, 5), FrameTooLarge),
        (b"", "rgb24", (201, 1), FrameTooLarge),
        (b"", "i420", (101, 100), FrameTooLarge),
        (bytes(10), "rgb24", (2, 2), SettingInvalid),
        (bytes(13), "i420", (3, 3), SettingInvalid),
    ],
)
def test_what_does_not_fit_is_refused(
    payload: bytes, codec: Codec, size: tuple[int, int], error: type[Exception]
) -> None:
    made = ingest()
    with pytest.raises(error):
        made.measure(payload, codec, size)
    made.close()


def test_sizes_are_read_or_believed() -> None:
    made = ingest()
    assert made.measure(PAYLOAD, "jpeg", (0, 0)) == (64, 48)
    assert made.measure(bytes(3 * 3 + 2 * 4), "i420", (3, 3)) == (3, 3)
    made.close()


def test_seq_has_no_holes_and_a_new_size_begins_an_epoch() -> None:
    made = ingest()
    sizes = [(4, 4), (4, 4), (8, 4), (8, 4), (4, 4)]
    assert [made.place(size) for size in sizes] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    made.renew(9)
    assert made.place((4, 4)) == (9, 0)
    made.close()


def test_both_get_the_frame_as_it_came() -> None:
    made = ingest()
    made.put(PAYLOAD, "jpeg", (64, 48), (0, 0), (42, 43))
    for slot in (made.raw, made.pushed):
        item = slot.take()
        assert item is not None
        head = Packet.unpack(item.head)
        assert (head.stream, head.place, head.tag_seq, head.tag_ns) == (7, (0, 0), 42, 43)
        assert item.body.tobytes() == PAYLOAD
    made.close()


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_lossless_waits_for_both_and_live_for_nobody(mode: Mode) -> None:
    async def scenario() -> None:
        made = ingest(mode)
        made.put(PAYLOAD, "jpeg", (64, 48), (0, 0), (0, 0))
        turn = asyncio.create_task(made.room())
        await asyncio.sleep(0.05)
        assert turn.done() is (mode == "live")
        made.raw.take()
        await asyncio.sleep(0.05)
        assert turn.done() is (mode == "live")
        made.pushed.take()
        (await turn).release()
        made.close()
        (await made.room()).release()  # and for nothing once it is closed
        assert made.closed

    asyncio.run(scenario())
