"""A viewer's slot: one answer a pushed frame, the newest picture, nothing older than the last."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.controls import Controls
from server.frame import Provenance, Reason
from server.spec import Dropped, Levels, Outgoing
from server.subscription import Subscription


def picture(place: tuple[int, int], *, card: bool = False) -> Outgoing:
    return Outgoing(
        stream=1,
        view="restored",
        epoch=place[0],
        place_seq=place[1],
        seq=100 + place[1],
        capture_ts_ns=0,
        server_in_ns=0,
        server_out_ns=0,
        provenance=Provenance.RAW,
        reason=Reason.LATE,
        stale=card,
        card=card,
        levels=Levels(),
        codec="jpeg",
        width=1,
        height=1,
        payload=b"",
    )


def viewer(*, answers: bool, controls: Controls | None = None) -> Subscription:
    return Subscription(
        "restored", answers=answers, closed=lambda _: None, controls=controls or Controls()
    )


def drain(subscription: Subscription) -> list[Outgoing | Dropped]:
    """Everything that can be had without waiting."""
    items: list[Outgoing | Dropped] = []
    while subscription.full or subscription._lost:
        with pytest.raises(StopIteration) as done:
            subscription.get().send(None)
        items.append(done.value.value)
    return items


def test_a_viewer_gets_the_newest_picture_and_the_others_are_counted() -> None:
    subscription = viewer(answers=False)
    for seq in range(5):
        subscription.show(picture((0, seq)))
    assert [item.seq for item in drain(subscription)] == [104]
    assert subscription.skipped == 4


@pytest.mark.parametrize("control", [True, False])
def test_nothing_older_than_the_last_is_shown(control: bool) -> None:
    subscription = viewer(answers=False, controls=Controls(order=control))
    subscription.show(picture((1, 0)))
    assert len(drain(subscription)) == 1
    for place in ((0, 9), (1, 0)):
        subscription.show(picture(place))
    assert (len(drain(subscription)) == 0) is control


def test_a_card_is_for_viewers_and_answers_no_frame() -> None:
    pusher, other = viewer(answers=True), viewer(answers=False)
    pusher.owe((0, 0), 100)
    for subscription in (pusher, other):
        subscription.show(picture((0, 0), card=True))
    assert drain(pusher) == []
    assert pusher.owed == 1
    assert len(drain(other)) == 1


def test_the_end_answers_what_is_owed_and_then_says_so() -> None:
    async def scenario() -> None:
        subscription = viewer(answers=True)
        subscription.owe((0, 0), 7)
        subscription.end()
        assert await subscription.get() == Dropped(7, "STOPPED")
        assert await subscription.get() is None
        subscription.owe((0, 1), 8)
        assert subscription.owed == 0

    asyncio.run(scenario())


@given(
    st.lists(st.sampled_from(["push", "show", "lose", "read", "card", "restart"]), max_size=80),
    st.randoms(use_true_random=False),
)
def test_every_pushed_frame_has_exactly_one_answer(steps: list[str], random: object) -> None:
    """Whatever the order in which frames leave, are lost, and are read."""
    choose = getattr(random, "choice")  # noqa: B009  hypothesis types it as object
    subscription = viewer(answers=True)
    epoch, seq, pushed, read = 0, 0, [], []
    for step in steps:
        open_places = [(epoch, s) for s in range(seq)]
        if step == "push":
            subscription.owe((epoch, seq), 1000 * epoch + seq)
            pushed.append(1000 * epoch + seq)
            seq += 1
        elif step == "show" and open_places:
            epoch_, seq_ = choose(open_places)
            subscription.show(replace(picture((epoch_, seq_)), seq=1000 * epoch_ + seq_))
        elif step == "lose" and open_places:
            subscription.lose(choose(open_places), "AGE")
        elif step == "card":
            subscription.show(picture((epoch, max(0, seq - 1)), card=True))
        elif step == "restart":
            subscription.lose_before((2**63, 0), "RESTART")
            epoch, seq = epoch + 1, 0
        elif step == "read":
            read += [item.seq for item in drain(subscription)]
    subscription.end()
    read += [item.seq for item in drain(subscription)]
    assert sorted(read) == pushed
