"""The last step: the chosen picture is marked, encoded once, stamped and handed to the viewers."""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.picture import Picture, Plane, Rgb
from server import jpeg
from server.card import card
from server.controls import Controls, Limits
from server.errors import SourceUnreadable
from server.events import DropReason, Event, EventKind, Scalar
from server.frame import Provenance
from server.mark import Mark, draw, mark_of
from server.packet import BARE, Packet, as_bytes, described, parts_of, picture_of
from server.pair import pair
from server.select import Choice
from server.shared import Bytes, Slot
from server.spec import Codec, Flag, StreamSpec, View, flags_of

CARD_SIZE = (1280, 720)  # before any frame has come


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture ready to leave, and the packet that says how."""

    codec: Codec
    parts: list[Bytes] | list[Plane]
    picture: Picture | None = None


class Originals:
    """The raw frames of the last seconds, bounded in time and bytes (I7)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: deque[tuple[Packet, Bytes]] = deque()
        self._bytes = 0

    def keep(self, packet: Packet, body: Bytes) -> bool:
        self._kept.append((packet, body))
        self._bytes += body.nbytes
        oldest = packet.capture_ns - int(self._limits.original_s * 1e9)
        while self._kept and (
            self._kept[0][0].capture_ns < oldest or self._bytes > self._limits.original_bytes
        ):
            self._bytes -= self._kept.popleft()[1].nbytes
        return bool(self._kept)

    def get(self, place: tuple[int, int]) -> tuple[Packet, Bytes] | None:
        return next((kept for kept in self._kept if kept[0].place == place), None)


class Egress:
    """Lets frames leave, one after the other. outs: a slot per view; sinks: slots of processes
    that send the picture on; log: takes every event."""

    def __init__(
        self,
        number: int,
        spec: StreamSpec,
        limits: Limits,
        controls: Controls,
        outs: Mapping[View, Slot],
        log: Callable[[Event], None],
        clock: Callable[[], int] = time.monotonic_ns,
        sinks: Sequence[Slot] = (),
    ) -> None:
        self.sinks = sinks
        self.clock = clock
        self.number = number
        self.spec = spec
        self.limits = limits
        self.controls = controls
        self.outs = outs
        self.log = log
        self.wants: frozenset[View] = frozenset()  # besides the picture itself
        self.watched = True  # somebody looks at that; for sinks alone it becomes no JPEG
        self.originals = Originals(limits)
        self.side_ns = 0  # spent since the last frame on telling others
        self.waiting = 0
        self.shown_ns = self.clock()
        self.left = 0
        self._size = CARD_SIZE
        self._lost_wall_s: float | None = None
        self._place = (0, 0)

    def emit(self, choice: Choice) -> None:
        """One frame leaves, or is dropped because it grew too old on the way."""
        packet = choice.arrived.packet
        started = self.clock()
        stale = packet.age_ns(started) > self.limits.stale_warn_ms * 1e6
        mark = mark_of(choice.provenance, stale=stale, seq=packet.seq)
        if not self.controls.mark:
            mark = None
        encoded = self._encode(choice, mark is not None and stale)
        if encoded.picture is None:
            mark = None  # a payload that leaves as it came: the header says it
        elif mark is not None:
            draw(encoded.picture, mark)
        ready, shown = encoded, self.watched or self._pushed or self.spec.mode != "live"
        if shown:
            encoded = self._finish(encoded)
        now = self.clock()
        age = packet.age_ns(now)
        if self.spec.mode == "live" and self.controls.age_drop and age > self._age_most_ns:
            self._drop(packet, now)
            return
        stale = self.controls.stale_mark and age > self.limits.stale_warn_ms * 1e6
        flags = flags_of(choice.provenance, choice.reason, stale=stale, card=False)
        head = replace(
            packet,
            codec=encoded.codec,
            out_ns=now,
            flags=flags if self.controls.visible else 0,
            note=self._note(choice),
        )
        self.outs["restored"].put(head.pack(), encoded.parts)  # empty where nobody looks: it counts
        self._publish(head, ready)
        kept = self.controls.original and self.originals.keep(packet, choice.arrived.body)
        self._tell(choice, head, now, encoded, stale, None if mark is None else mark.label, kept)
        self._others(choice, head, mark)
        self.shown_ns, self._size = now, (packet.width, packet.height)
        self._lost_wall_s, self._place = time.time(), packet.place
        self.left += 1

    def card(self, now: int) -> None:
        """Nothing fit to show has come for stale_stop_ms: says so, again and again."""
        if not self.controls.card:
            return
        width, height = self._size
        payload = as_bytes(jpeg.encode(card(width, height, self._lost_wall_s), 85))
        head = Packet(
            stream=self.number,
            epoch=self._place[0],
            seq=self._place[1],
            capture_ns=self.shown_ns,
            width=width,
            height=height,
            codec="jpeg",
            out_ns=now,
            flags=Flag.CARD | Flag.STALE,
        )
        for view in ("restored", *self.wants):
            self.outs[view].put(head.pack(), [payload])
        self._publish(head, Encoded("jpeg", [payload]))
        self.shown_ns = self.clock()
        self.left += 1
        self.log(Event(EventKind.CARD, now, self.number, data={"left": self.left}))

    def original(self, place: tuple[int, int]) -> tuple[bytes, list[Bytes]]:
        """The raw frame at (epoch, seq) as it came in, if it is still kept; else an empty one."""
        kept = self.originals.get(place)
        if kept is not None:
            return kept[0].pack(), [kept[1]]
        head = Packet(
            stream=self.number, epoch=place[0], seq=place[1], capture_ns=0, width=0, height=0,
            codec="jpeg",
        )  # fmt: skip
        return head.pack(), []

    @property
    def card_due_ns(self) -> int:
        return self.shown_ns + int(self.limits.stale_stop_ms * 1e6)

    # how a picture is made ready

    def _encode(self, choice: Choice, stale: bool) -> Encoded:
        """What leaves: a raw payload as it came, else a picture that may still be marked."""
        packet, body = choice.arrived.packet, choice.arrived.body
        if choice.provenance is Provenance.RESTORED and choice.answer is not None:
            picture = choice.answer.picture
            if picture is not None:
                return Encoded(packet.codec if self._pushed else "jpeg", [], picture)
        if self._pushed and self.controls.verbatim:
            return Encoded(packet.codec, [body])
        if packet.codec == "jpeg":
            return Encoded("jpeg", [], jpeg.decode(body.data))
        picture = picture_of(packet, body)
        return Encoded("jpeg", [], _own(picture) if stale else picture)

    def _finish(self, encoded: Encoded) -> Encoded:
        picture = encoded.picture
        if picture is None:
            return encoded
        if encoded.codec == "jpeg":
            payload = as_bytes(jpeg.encode(picture, self.spec.jpeg_quality))
            return Encoded("jpeg", [payload])
        return Encoded(encoded.codec, parts_of(picture))

    def _publish(self, head: Packet, ready: Encoded) -> None:
        """The very picture that leaves, before it became a JPEG; a payload that leaves as it came
        carries no mark, and says so."""
        if not self.sinks:
            return
        parts: Sequence[Bytes]
        if ready.picture is None:
            head, parts = replace(head, note=head.note | {BARE: True}), ready.parts
        else:
            head, parts = described(head, ready.picture), parts_of(ready.picture)
        for sink in self.sinks:
            sink.put(head.pack(), parts)

    def _others(self, choice: Choice, head: Packet, mark: Mark | None) -> None:
        """The other views of the same frame, for those who asked."""
        for view in self.wants:
            packet, body = choice.arrived.packet, choice.arrived.body
            if view == "raw":
                encoded = (
                    Encoded(packet.codec, [body])
                    if self._pushed
                    else self._finish(Encoded("jpeg", [], picture_of(packet, body)))
                )
                flags = head.flags & Flag.STALE | Flag.BYPASS
                head_raw = replace(head, codec=encoded.codec, flags=flags)
                self.outs[view].put(head_raw.pack(), encoded.parts)
            elif view == "split":
                encoded = self._split(choice, mark)
                self.outs[view].put(replace(head, codec=encoded.codec).pack(), encoded.parts)
            elif view == "both" and (both := self._both(choice, mark)) is not None:
                head_both = replace(head, codec="jpeg", height=2 * packet.height)
                self.outs[view].put(head_both.pack(), both.parts)

    def _both(self, choice: Choice, mark: Mark | None) -> Encoded | None:
        """Raw above what was chosen, from the same frame; None for a raw JPEG that is broken."""
        answer, packet, body = choice.answer, choice.arrived.packet, choice.arrived.body
        raw = None if answer is None else answer.raw
        if raw is None and packet.codec != "jpeg":
            raw = picture_of(packet, body)
        elif raw is None:
            try:
                raw = jpeg.decode(body.data)
            except SourceUnreadable:
                return None  # it left as it came; there is nothing to set beside it
        chosen = raw
        if choice.provenance is Provenance.RESTORED and answer is not None and answer.picture:
            chosen = answer.picture  # marked already
        elif mark is not None:
            chosen = _own(raw)
            draw(chosen, mark)
        return self._finish(Encoded("jpeg", [], pair(raw, chosen)))

    def _split(self, choice: Choice, mark: Mark | None) -> Encoded:
        """Left half raw, right half what was chosen, from the same frame."""
        answer, packet, body = choice.answer, choice.arrived.packet, choice.arrived.body
        restored = None if answer is None else answer.picture
        if choice.provenance is Provenance.RAW or restored is None or answer is None:
            return Encoded(packet.codec, [body]) if self._pushed else self._plain(packet, body)
        raw = answer.raw if packet.codec == "jpeg" else picture_of(packet, body)
        if raw is None or type(raw) is not type(restored):
            return self._finish(Encoded("jpeg", [], restored))
        joined = _own(restored)
        for ours, theirs in zip(parts_of(joined), parts_of(raw), strict=True):
            half = ours.shape[1] // 2
            ours[:, :half] = theirs[:, :half]
            ours[:, half - 1 : half + 1] = 255 if ours is parts_of(joined)[0] else 128
        if mark is not None:
            draw(joined, mark)
        return self._finish(Encoded(packet.codec if self._pushed else "jpeg", [], joined))

    def _plain(self, packet: Packet, body: Bytes) -> Encoded:
        return self._finish(Encoded("jpeg", [], picture_of(packet, body)))

    @property
    def _pushed(self) -> bool:
        return self.spec.source == "push"

    @property
    def _age_most_ns(self) -> int:
        return int(self.spec.max_age_ms * 1e6)

    # how it reports

    def _note(self, choice: Choice) -> dict[str, str | int]:
        levels = None if choice.answer is None else choice.answer.levels
        note: dict[str, str | int] = {"provenance": choice.provenance.value}
        if choice.reason is not None:
            note["reason"] = choice.reason.value
        if levels is not None:
            note |= {"smoke": levels.smoke, "fog": levels.fog, "splash": levels.splash}
        return note

    def _tell(
        self,
        choice: Choice,
        head: Packet,
        now: int,
        encoded: Encoded,
        stale: bool,
        mark: str | None,
        kept: bool,
    ) -> None:
        packet, answer = choice.arrived.packet, choice.answer
        restored = choice.provenance is Provenance.RESTORED
        data: dict[str, Scalar] = {
            "provenance": choice.provenance.value,
            "reason": None if choice.reason is None else choice.reason.value,
            "decided_ns": choice.at_ns,
            "age_ns": packet.age_ns(now),
            "stale": stale,
            "flags": head.flags,
            "mark": mark,
            "engine": answer.engine if restored and answer is not None else None,
            "source": packet.stream,
            "original": kept,
            "side_ns": self.side_ns,
            "waiting": self.waiting,
            "width": packet.width,
            "height": packet.height,
            "encode_ms": round((now - choice.at_ns) / 1e6, 3),
            "wait_ms": round((choice.at_ns - packet.capture_ns) / 1e6, 3),
        }
        if choice.arrived.crc is not None and not restored:
            data["crc"] = zlib.crc32(np.ascontiguousarray(encoded.parts[0]).data)
        if answer is not None:
            data |= {"smoke": answer.levels.smoke, "fog": answer.levels.fog}
            data |= {"splash": answer.levels.splash}
            data |= {f"{stage}_ms": ms for stage, ms in answer.stages_ms.items()}
        self.log(Event(EventKind.EMIT, now, self.number, *packet.place, data=data))
        self.side_ns = 0

    def _drop(self, packet: Packet, now: int) -> None:
        if self.controls.account:
            data: dict[str, Scalar] = {"reason": DropReason.AGE, "hop": "egress", "count": 1}
            self.log(Event(EventKind.DROP, now, self.number, *packet.place, data=data))


def _own(picture: Picture) -> Picture:
    """The same in memory of its own."""
    if isinstance(picture, Rgb):
        return Rgb(picture.pixels.copy())
    return replace(picture, y=picture.y.copy(), u=picture.u.copy(), v=picture.v.copy())
