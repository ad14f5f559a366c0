"""`surgiclear bench rtsp`: a camera's picture in, the restored picture out, both over RTSP.

What is measured: from the moment before the camera hands a coded picture to its RTSP connection,
to the moment after a player of the published stream has decoded the same picture. So it holds two
passages through the RTSP server, which are measured alone as well, and the player's own decoder.
Each picture says its number in pixels. The camera's pictures are coded beforehand.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import numpy as np

from server import rtsp
from server.errors import Failure, SourceUnreadable
from server.frame import Reason
from server.live_bench import Cost, Meter, Spread, ready, service
from server.rtsp_ends import Camera, Format, Player, Sight, recorded

STAGE = re.compile(r'^surgiclear_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)$', re.M)
ALONE_S, ENDS_S = 10.0, 10.0
SETTLE_MOST_S, SETTLED_S = 90.0, 3.0
REPAIRED_LEAST = 0.9  # less is no restoration that a surgeon would notice
PLAY_S, BACK_S = 60.0, 60.0  # for a first picture to come
OFF_S = 2.0  # that the camera is away


@dataclass(frozen=True, kw_only=True, slots=True)
class RtspPlan:
    """publish, play: addresses under which NAMEs are published and played (MediaMTX: the same);
    drops: how often the camera leaves afterwards."""

    publish: str
    play: str
    form: Format = Format(1280, 720, 25)
    seconds: float = 60.0
    drops: int = 10
    engine: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RtspMeasured:
    """sent: by the camera while it was measured; seen: by the player; lost: numbers that never
    came; disordered: that came after a later one; growth_ms: p50 of the last 10 s less that of the
    first; latched: the stream is held to raw until a person releases it; alone_ms: through the
    server once, without the service; back_s: from the camera's first picture after it was away to
    the player's; unseen: how often it did not come back in 60 s."""

    form: Format
    seconds: float
    sent: int
    seen: int
    lost: int
    disordered: int
    cards: int
    latency_ms: Spread
    alone_ms: Spread
    growth_ms: float
    latched: bool
    restored: int
    raw: dict[str, int]
    drops: dict[str, int]
    sink: dict[str, int]
    violations: dict[str, int]
    stages_ms: dict[str, float]
    cost: Cost
    back_s: list[float]
    unseen: int

    @property
    def repaired(self) -> float:
        """Share of the frames restored, of those that the service did not find clear; 0 where
        all were clear, which the phantom's are not."""
        wanted = self.restored + sum(n for reason, n in self.raw.items() if reason != Reason.CLEAR)
        return self.restored / wanted if wanted else 0.0

    @property
    def verdict(self) -> str | None:
        """What is wrong with the figures, None where nothing is."""
        wrong = []
        if self.disordered:
            wrong.append(f"{self.disordered} out of order")
        if self.unseen:
            wrong.append(f"{self.unseen} times not back")
        if self.repaired < REPAIRED_LEAST:
            why = ", ".join(f"{n} {reason}" for reason, n in self.raw.items())
            wrong.append(
                f"only {self.repaired:.0%} of the frames that were not clear were restored"
                f" (raw: {why or 'none'})"
            )
        if self.violations:
            wrong.append(f"invariants violated: {self.violations}")
        return "; ".join(wrong) or None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"repaired": round(self.repaired, 4), "verdict": self.verdict}

    def lines(self) -> list[str]:
        """For a person."""
        a, b, c, f = self.latency_ms, self.alone_ms, self.cost, self.form
        raw = ", ".join(f"{count} {reason}" for reason, count in self.raw.items()) or "none"
        out = [
            f"{f.width}x{f.height} at {f.fps} a second for {self.seconds:g} s:"
            f" {self.sent} sent, {self.seen} seen, {self.lost} lost,"
            f" {self.disordered} out of order, {self.cards} cards",
            f"by the service: {self.restored} restored, raw: {raw}"
            f"{' (latched)' if self.latched else ''}:"
            f" {self.repaired:.1%} of the frames that were not clear",
            f"dropped: {self.drops or 'none'},"
            f" sink: {self.sink}, invariants violated: {self.violations or 'none'}",
            "mean ms in the service: "
            + ", ".join(f"{stage} {ms:.1f}" for stage, ms in self.stages_ms.items()),
            f"camera to player: p50 {a.p50:.0f} p95 {a.p95:.0f} p99 {a.p99:.0f} max {a.max:.0f} ms,"
            f" growth {self.growth_ms:+.1f} ms",
            f"of which the server alone, once: p50 {b.p50:.0f} p95 {b.p95:.0f} p99 {b.p99:.0f} ms",
            f"service: {c.cpu_cores:.2f} of {c.cores} cores, {c.memory_mb:.0f} MB,"
            f" {c.slope_mb_per_min:+.1f} MB/min; {c.other_cores:.2f} cores busy with other work,"
            f" load {c.load_1min:.1f}",
        ]
        if self.back_s or self.unseen:
            times = " ".join(f"{s:.1f}" for s in self.back_s)
            out.append(f"back after the camera was away: {times} s, {self.unseen} times never")
        return out


def bench(plan: RtspPlan, told: Callable[[str], None]) -> RtspMeasured:
    """Raises Failure or SourceUnreadable."""
    for address in (plan.publish, plan.play):
        rtsp.check(address)
    told("codes the camera's pictures")
    camera = Camera(f"{plan.publish}/camera", plan.form, recorded(plan.form))
    camera.on()
    try:
        told(f"the server alone, {ALONE_S:g} s")
        alone = _alone(plan, camera)
        engine = ("--engine", plan.engine) if plan.engine else ()
        source = ("--source", f"{plan.play}/camera", "--sink", f"{plan.publish}/restored")
        with service((*source, *engine)) as (url, pid):
            if not ready(url):
                raise Failure("the service does not answer")
            with Player(f"{plan.play}/restored", camera) as player:
                return _through(plan, camera, player, url, pid, alone, told)
    finally:
        camera.off()


def _alone(plan: RtspPlan, camera: Camera) -> Spread:
    with Player(f"{plan.play}/camera", camera) as player:
        if not player.wait(lambda: bool(player.sights), PLAY_S):
            why = camera.trouble or "nothing is played there"
            raise SourceUnreadable(f"no picture through the RTSP server ({why})", "is it running?")
        time.sleep(ALONE_S)
        return Spread.of(_latencies(player.sights[len(player.sights) // 5 :], camera))


def _latencies(sights: list[Sight], camera: Camera) -> list[float]:
    return [
        (sight.at_s - camera.sent[sight.number]) * 1e3
        for sight in sights
        if sight.number is not None and sight.number in camera.sent
    ]


def _state(url: str) -> dict[str, Any]:
    (state,) = httpx.get(f"{url}/v1/streams", timeout=10, trust_env=False).json()
    return dict(state)


def _through(
    plan: RtspPlan,
    camera: Camera,
    player: Player,
    url: str,
    pid: int,
    alone: Spread,
    told: Callable[[str], None],
) -> RtspMeasured:
    if not player.wait(lambda: any(s.number is not None for s in player.sights), PLAY_S):
        raise Failure(f"no picture came out ({_state(url)['trouble'] or _state(url)['sinks']})")
    told("waits until frames are restored")
    _settle(url)
    told(f"measures, {plan.seconds:g} s")
    before, begin, sums = _state(url), camera.next, _sums(url)
    with Meter(pid) as meter:
        time.sleep(plan.seconds)
        cost = meter.cost()
    after, end = _state(url), camera.next
    player.wait(lambda: (player.unrolled.last or 0) >= end - 1, 5.0)
    sights = list(player.sights)
    disordered = player.unrolled.disordered
    ours = [s for s in sights if s.number is not None and begin <= s.number < end]
    numbers = {s.number for s in ours}
    first_s, last_s = camera.sent[begin], camera.sent[end - 1]
    early = [s for s in ours if s.at_s < first_s + ENDS_S]
    late = [s for s in ours if s.at_s > last_s - ENDS_S]
    back_s = list(_come_back(plan, camera, player, told))
    return RtspMeasured(
        form=plan.form,
        seconds=plan.seconds,
        sent=end - begin,
        seen=len(ours),
        lost=end - begin - len(numbers),
        disordered=disordered,
        cards=sum(s.number is None and first_s < s.at_s < last_s for s in sights),
        latency_ms=Spread.of(_latencies(ours, camera)),
        alone_ms=alone,
        growth_ms=round(_middle(late, camera) - _middle(early, camera), 2),
        latched=after["latched"],
        restored=after["restored"] - before["restored"],
        raw=_less(after["raw"], before["raw"]),
        drops=_less(after["drops"], before["drops"]),
        sink=_less(_sink(after), _sink(before)),
        violations=after["violations"],
        stages_ms=_stages(sums, _sums(url)),
        cost=cost,
        back_s=[round(s, 2) for s in back_s if s is not None],
        unseen=sum(s is None for s in back_s),
    )


def _middle(sights: list[Sight], camera: Camera) -> float:
    return float(np.median(_latencies(sights, camera) or [np.nan]))


def _sink(state: dict[str, Any]) -> dict[str, int]:
    return {"sent": state["sinks"][0]["sent"], **state["sinks"][0]["dropped"]}


def _less(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return dict(+(Counter(after) - Counter(before)))


def _sums(url: str) -> dict[str, tuple[float, float]]:
    """Of each stage: seconds spent, and how often."""
    text = httpx.get(f"{url}/metrics", timeout=10, trust_env=False).text
    found: dict[str, dict[str, float]] = {}
    for kind, stage, value in STAGE.findall(text):
        found.setdefault(stage, {})[kind] = float(value)
    return {stage: (one["sum"], one["count"]) for stage, one in found.items()}


def _stages(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]
) -> dict[str, float]:
    """Mean ms of each stage between the two."""
    out = {}
    for stage, (spent_s, count) in after.items():
        spent_before_s, count_before = before.get(stage, (0.0, 0.0))
        if count > count_before:
            out[stage] = round((spent_s - spent_before_s) / (count - count_before) * 1e3, 2)
    return out


def _settle(url: str) -> None:
    """Until frames are restored or clear for a while, or the machine proves too slow for it. A
    stream that latched itself to raw while its engine warmed up is released, as by a person."""
    end = time.monotonic() + SETTLE_MOST_S
    good_since: float | None = None
    while time.monotonic() < end:
        state = _state(url)
        if state["latched"]:
            httpx.post(
                f"{url}/v1/streams/{state['id']}/bypass",
                json={"on": False}, timeout=10, trust_env=False,
            )  # fmt: skip
        good = state["provenance"] == "RESTORED" or state["reason"] == "CLEAR"
        good_since = (good_since or time.monotonic()) if good else None
        if good_since is not None and time.monotonic() - good_since > SETTLED_S:
            return
        time.sleep(0.25)


def _come_back(
    plan: RtspPlan, camera: Camera, player: Player, told: Callable[[str], None]
) -> Iterator[float | None]:
    """Seconds from the camera's first picture to the player's, None where it never came."""
    for turn in range(1, plan.drops + 1):
        camera.off()
        time.sleep(OFF_S)
        first = camera.on()
        there = player.wait(
            lambda first=first: (player.unrolled.last or 0) >= first,  # type: ignore[misc]
            BACK_S,
        )
        if not there:
            yield None
            continue
        seen = next(s for s in player.sights if s.number is not None and s.number >= first)
        back_s = seen.at_s - camera.sent[first]
        told(f"camera away, {turn} of {plan.drops}: back after {back_s:.1f} s")
        yield back_s
        time.sleep(1.0)
