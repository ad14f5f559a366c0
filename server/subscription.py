"""One viewer of a stream: a slot in which the newest picture waits, and nothing older."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable

from server.controls import Controls
from server.events import DropReason
from server.mailbox import Mailbox
from server.spec import Dropped, Outgoing, View

Place = tuple[int, int]


class Subscription:
    """With answers=True (the pusher) every frame pushed from now on gives exactly one item, an
    Outgoing or a Dropped; without, only pictures come (signal-lost cards among them), and those
    that the viewer was too slow for are counted in `skipped`."""

    def __init__(
        self,
        want: View,
        *,
        answers: bool,
        closed: Callable[[Subscription], None],
        controls: Controls,
    ) -> None:
        self.want = want
        self.answers = answers
        self._on_close = closed
        self._controls = controls
        self._mail: Mailbox[Outgoing] = Mailbox()
        self._lost: deque[Dropped] = deque()
        self._owed: OrderedDict[Place, int] = OrderedDict()  # the pusher's seq of unanswered frames
        self._last: Place | None = None
        self._ended = False

    @property
    def skipped(self) -> int:
        """Pictures that newer ones replaced before they were read."""
        return self._mail.dropped

    @property
    def owed(self) -> int:
        """Pushed frames without an answer yet."""
        return len(self._owed)

    @property
    def full(self) -> bool:
        """Whether a picture waits to be read."""
        return self._mail.full

    async def get(self) -> Outgoing | Dropped | None:
        """The next item; None once the stream has ended, or this was closed."""
        while True:
            if self._lost:
                return self._lost.popleft()
            picture = self._mail.take()
            if picture is not None or self._ended:
                return picture
            await self._mail.ready()

    def __aiter__(self) -> AsyncIterator[Outgoing | Dropped]:
        return self._items()

    async def _items(self) -> AsyncIterator[Outgoing | Dropped]:
        while (item := await self.get()) is not None:
            yield item

    def close(self) -> None:
        self.end()
        self._on_close(self)

    # the stream's side

    def owe(self, place: Place, seq: int) -> None:
        """A frame was pushed."""
        if self.answers and not self._ended:
            self._owed[place] = seq

    def show(self, outgoing: Outgoing) -> None:
        """A picture of this view has left."""
        place = (outgoing.epoch, outgoing.place_seq)
        if outgoing.card:
            if not self.answers:
                self._mail.put(outgoing)
            return
        if self._controls.order and self._last is not None and place <= self._last:
            return
        self._last = place
        if self.answers:
            self.lose_before(place)
            if self._owed.pop(place, None) is None:
                return  # another pusher's, or answered already
        old = self._mail.put(outgoing)
        if self.answers and old is not None:
            self._lost.append(Dropped(old.seq, DropReason.SUPERSEDED))

    def lose(self, place: Place, reason: str) -> None:
        """A pushed frame will not leave."""
        seq = self._owed.pop(place, None)
        if seq is not None:
            self._lost.append(Dropped(seq, reason))
            self._mail.wake()

    def lose_before(self, place: Place, reason: str = DropReason.SUPERSEDED) -> None:
        """Older frames that have no answer: newer ones took their place."""
        for older in [p for p in self._owed if p < place]:
            self.lose(older, reason)

    def end(self, reason: str = DropReason.STOPPED) -> None:
        """Nothing more will come."""
        for place in list(self._owed):
            self.lose(place, reason)
        self._ended = True
        self._mail.wake()
