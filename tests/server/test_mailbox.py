"""The one-slot hand-over: newest wins, the rest is counted."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from server.mailbox import Mailbox


@given(st.lists(st.booleans(), max_size=60))
def test_in_is_out_plus_dropped_plus_waiting(steps: list[bool]) -> None:
    """True: put the next number; False: take."""
    box: Mailbox[int] = Mailbox()
    put, out = 0, []
    for step in steps:
        if step:
            put += 1
            box.put(put)
        elif (item := box.take()) is not None:
            assert item == put  # the newest
            out.append(item)
    assert put == len(out) + box.dropped + box.full
    assert out == sorted(set(out))


def test_put_says_what_gave_way() -> None:
    box: Mailbox[str] = Mailbox()
    assert box.put("a") is None
    assert box.put("b") == "a"
    assert box.dropped == 1


def test_ready_waits_for_an_item_or_a_wake() -> None:
    async def scenario() -> None:
        box: Mailbox[int] = Mailbox()
        waiting = asyncio.create_task(box.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        box.put(1)
        await waiting
        assert box.take() == 1
        waiting = asyncio.create_task(box.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        box.wake()
        await waiting
        assert box.take() is None

    asyncio.run(scenario())
