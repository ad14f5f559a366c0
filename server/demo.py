"""`surgiclear demo`: the main job end to end, on the sample feed or on a file.

Starts the service as a process of its own, streams the feed through its WebSocket at the feed's
own rate, keeps every answer, and leaves before-after.mp4, before-after.png and report.json with
latency, throughput and, where the truth is known (the sample feed), quality.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from server import jpeg, mark
from server.errors import Failure, SourceUnreadable
from server.live_bench import START_S, Spread, service
from server.phantom.feed import Feed
from server.phantom.spec import parse
from server.push import Pushed, Still, play, stills
from server.whole import Whole
from surgiclear_client import AsyncClient, AsyncPush, Dropped, Frame

Pixels = NDArray[np.uint8]
Say = Callable[[str], None]
SAMPLE = "phantom:?size=1280x720&fps=25&seconds=24&loops=1"
LONGEST_S = 60.0  # of a file
QUALITY = 90
MOMENTS = 6  # rows of the picture
ROW_WIDTH = 640
JUDGED_EVERY = 5  # frames
BLOCK = 16  # of JPEG with halved chroma, pixels
DEADLINE_MS = 40.0  # one frame period: a newcomer's machine does other things too


@dataclass
class Recorder:
    """An AsyncPush that keeps what it sent and got, by seq."""

    live: AsyncPush
    sent: dict[int, bytes] = field(default_factory=dict)
    got: dict[int, Frame] = field(default_factory=dict)

    @property
    def credit(self) -> int:
        return self.live.credit

    @property
    def pending(self) -> int:
        return self.live.pending

    async def send(self, picture: bytes) -> int:
        seq = await self.live.send(picture)
        self.sent[seq] = picture
        return seq

    async def receive(self, timeout_s: float | None = None) -> Frame | Dropped | None:
        answer = await self.live.receive(timeout_s)
        if isinstance(answer, Frame):
            self.got[answer.seq] = answer
        return answer


@dataclass(frozen=True, slots=True)
class _Run:
    recorder: Recorder
    pushed: Pushed
    wall_s: float


async def _stream(url: str, frames: list[Still], engine: str | None, say: Say) -> _Run:
    async with (
        AsyncClient(url) as client,
        client.push(engine=engine, deadline_ms=DEADLINE_MS) as live,
    ):
        until = time.monotonic() + START_S
        while True:  # the clock starts when the engine is warm
            await live.send(frames[0].jpeg)
            answer = await live.receive(5.0)
            if isinstance(answer, Frame) and answer.reason not in ("WARMING", "ENGINE_DOWN"):
                break
            if time.monotonic() > until:
                raise Failure("the engine did not become ready", "run `surgiclear doctor`")
            await asyncio.sleep(0.1)
        recorder = Recorder(live)
        told = count(1)
        every = max(1, len(frames) // 10)

        def progress(_: Pushed) -> None:
            number = next(told)
            if number % every == 0:
                say(f"streamed {number} of {len(frames)} frames")

        began = time.monotonic()
        pushed = await play(recorder, iter(frames), progress)
        return _Run(recorder, pushed, time.monotonic() - began)


def psnr(one: Pixels, other: Pixels) -> float:
    """In dB."""
    error = float(np.mean((one.astype(np.float32) - other) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def demo(video: str | None, out: Path, *, engine: str | None = None, say: Say) -> str:
    """Runs the demo and returns its table. Raises SurgiclearError."""
    source = video or SAMPLE
    say(f"preparing {source}")
    longest_s = LONGEST_S if video else parse(SAMPLE).seconds - 1e-3  # one loop, no frame of two
    frames = list(stills(source, quality=QUALITY, seconds=longest_s))
    if not frames:
        raise SourceUnreadable(f"{source} gave no frame")
    frames = [Still(s.jpeg, n / 25 if s.at_s is None else s.at_s) for n, s in enumerate(frames)]
    say("starting the service")
    with service() as (url, _):
        run = asyncio.run(_stream(url, frames, engine, say))
    out.mkdir(parents=True, exist_ok=True)
    pairs = [(run.recorder.sent[s], run.recorder.got[s]) for s in sorted(run.recorder.got)]
    if not pairs:
        raise Failure("the service answered no frame", "run `surgiclear doctor`")
    rate = _rate(frames)
    say("writing before-after.mp4 and before-after.png")
    _film(out / "before-after.mp4", pairs, rate)
    _sheet(out / "before-after.png", pairs)
    report = _report(source, run, rate, None if video else _quality(run.recorder, frames))
    with Whole(out / "report.json") as whole:
        whole.write_bytes((json.dumps(report, indent=1) + "\n").encode())
        whole.commit()
    return _table(report, out)


def _rate(frames: list[Still]) -> Fraction:
    last = frames[-1].at_s or 0.0
    fps = (len(frames) - 1) / last if last > 0 else 25.0
    return Fraction(fps).limit_denominator(1001)


def _shown(payload: bytes) -> Pixels:
    pixels: Pixels = simplejpeg.decode_jpeg(payload)
    return pixels


def _unmarked(pixels: Pixels) -> Pixels:
    """A copy with the mark's corner black; a mark in JPEG reaches into the blocks around it."""
    h, w = (side + BLOCK for side in mark.extent(*pixels.shape[:2]))
    out = pixels.copy()
    out[:h, :w] = 0
    return out


def _label(pixels: Pixels, text: str, at: tuple[int, int]) -> None:
    scale = pixels.shape[0] / 900
    for colour, thick in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        cv2.putText(
            pixels, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale + 0.3, colour,
            max(1, round(thick * scale)), cv2.LINE_AA,
        )  # fmt: skip


def _beside(before: bytes, after: Frame) -> Pixels:
    left, right = _shown(before), _shown(after.payload)
    h, w = (side // 2 * 2 for side in left.shape[:2])
    both = np.ascontiguousarray(np.hstack((left[:h, :w], right[:h, :w])))
    line = round(h * 0.95)
    _label(both, "before", (round(0.02 * w), line))
    state = "restored" if after.restored else f"raw: {(after.reason or '').lower()}"
    _label(both, state, (w + round(0.02 * w), line))
    return both


def _film(path: Path, pairs: list[tuple[bytes, Frame]], rate: Fraction) -> None:
    with Whole(path) as whole:
        with av.open(str(whole.temporary), "w", format="mp4") as film:
            stream = film.add_stream("libx264", rate=rate)
            stream.options = {"preset": "veryfast", "crf": "21"}
            stream.pix_fmt = "yuv420p"
            stream.height, stream.width = _beside(*pairs[0]).shape[:2]
            for before, after in pairs:
                both = _beside(before, after)
                film.mux(stream.encode(av.VideoFrame.from_ndarray(both, format="rgb24")))
            film.mux(stream.encode())
        whole.commit()


def _sheet(path: Path, pairs: list[tuple[bytes, Frame]]) -> None:
    """The most degraded restored moments, spread over the run; the first frames if none is."""
    restored = [p for p in pairs if p[1].restored] or pairs
    chosen = [restored[round(i)] for i in np.linspace(0, len(restored) - 1, MOMENTS + 2)[1:-1]]
    rows = []
    for before, after in chosen:
        both = _beside(before, after)
        height = round(both.shape[0] * 2 * ROW_WIDTH / both.shape[1])
        rows.append(cv2.resize(both, (2 * ROW_WIDTH, height), interpolation=cv2.INTER_AREA))
    ok, data = cv2.imencode(".png", np.vstack(rows)[..., ::-1])
    if not ok:
        raise Failure(f"cannot encode {path.name}")
    with Whole(path) as whole:
        whole.write_bytes(data.tobytes())
        whole.commit()


def _quality(recorder: Recorder, frames: list[Still]) -> dict[str, dict[str, float]]:
    """PSNR of the answers, restored or raw, and of their inputs to the truth, by kind and level.

    The corner of the mark is left out of both: it is no part of the restoration.
    """
    feed = Feed(parse(SAMPLE))
    scores: dict[str, list[tuple[float, float]]] = {}
    number = {id(still.jpeg): n for n, still in enumerate(frames)}  # a skipped frame has no seq
    for seq in sorted(recorder.got)[::JUDGED_EVERY]:
        answer = recorder.got[seq]
        truth = feed.frame(number[id(recorder.sent[seq])])
        found = truth.detection
        levels = {"smoke": found.smoke.level, "fog": found.fog.level, "splash": found.splash.level}
        kind = max(levels, key=lambda k: levels[k])
        clear = _unmarked(jpeg.to_rgb(truth.truth).pixels)
        shown = (_unmarked(_shown(payload)) for payload in (recorder.sent[seq], answer.payload))
        before, after = (psnr(pixels, clear) for pixels in shown)
        scores.setdefault(f"{kind} {levels[kind]}" if levels[kind] else "clear", []).append(
            (before, after)
        )
    return {
        group: {
            "frames": len(values),
            "input_psnr": round(float(np.mean([v[0] for v in values])), 2),
            "answer_psnr": round(float(np.mean([v[1] for v in values])), 2),
        }
        for group, values in sorted(scores.items())
    }


def _report(
    source: str, run: _Run, rate: Fraction, quality: dict[str, dict[str, float]] | None
) -> dict[str, Any]:
    pushed = run.pushed
    spread = Spread.of(pushed.added_ms)
    return {
        "source": source,
        "fps": round(float(rate), 3),
        "sent": pushed.sent,
        "answered": pushed.answered,
        "skipped": pushed.skipped,
        "lost": pushed.lost,
        "restored": pushed.restored,
        "raw": dict(pushed.raw),
        "dropped": dict(pushed.dropped),
        "wall_s": round(run.wall_s, 2),
        "answers_per_s": round(pushed.answered / run.wall_s, 2),
        "added_ms": {
            "p50": spread.p50, "p95": spread.p95, "p99": spread.p99, "max": spread.max,
        },
        "load_1min": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
        "quality_psnr_db": quality,
    }  # fmt: skip


def _table(report: dict[str, Any], out: Path) -> str:
    added = report["added_ms"]
    raw = ", ".join(f"{v} {k}" for k, v in report["raw"].items()) or "none"
    lines = [
        f"source            {report['source']}",
        f"frames            {report['sent']} sent at {report['fps']:g} a second, "
        f"{report['answered']} answered, {report['lost']} lost, {report['skipped']} skipped",
        f"restored          {report['restored']}   raw: {raw}",
        f"throughput        {report['answers_per_s']:g} answers a second",
        f"added latency ms  p50 {added['p50']:g}  p95 {added['p95']:g}  p99 {added['p99']:g}  "
        f"max {added['max']:g}   (load {report['load_1min']:g} on {report['cores']} cores)",
    ]
    for group, q in (report["quality_psnr_db"] or {}).items():
        lines.append(
            f"{group:<18s}PSNR to the truth: input {q['input_psnr']:.2f} dB, "
            f"answer {q['answer_psnr']:.2f} dB ({q['frames']:.0f} frames judged)"
        )
    if late := report["raw"].get("LATE"):
        lines.append(
            f"late              {late} frames left raw, as promised, since restoring took over "
            f"{DEADLINE_MS:g} ms: was the machine busy?"
        )
    lines.append(f"look at           {out / 'before-after.png'}, {out / 'before-after.mp4'}")
    lines.append("Research software, not a cleared medical device.")
    return "\n".join(lines)
