"""The process that restores single pictures: hostile bytes in, a picture or a refusal out.

Everything that touches a picture's bytes happens here, so that a decoder that crashes or hangs
takes nothing else along. One request at a time; each picture stands alone.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import select
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from engines.errors import EngineError, FeedsWrong
from engines.picture import Rgb
from engines.restorer import NOTHING, Detection, Kind, Restorer
from server.child import Control
from server.compare import Compare, compared
from server.engine_process import RestorerFactory
from server.errors import EngineUnavailable, SourceUnreadable, SurgiclearError
from server.frame import Frame, Reason, Result
from server.gate import StillGate
from server.packet import as_bytes
from server.pipeline import Pipeline, PipelineSettings
from server.shared import Slot, SlotHandle
from server.stills import Still, parse_still, still_bytes, upright

Format = Literal["jpeg", "png"]
FORMATS = ("JPEG", "PNG")
LOADED_MOST = 2  # engines kept in memory
NICE = 5  # live pictures go first
WARM_SIZE = (640, 360)


@dataclass(frozen=True, kw_only=True, slots=True)
class StillJob:
    """What is asked for. format: None for the input's own; number: comes back with the answer."""

    task: Literal["restore", "detect"]
    engine: str
    number: int = 0
    format: Format | None = None
    compare: Compare = "none"
    strength: float = 1.0
    kinds: tuple[Kind, ...] = ("smoke", "fog", "splash")
    max_pixels: int = 4096 * 2160


@dataclass(frozen=True, kw_only=True, slots=True)
class StillAnswer:
    """What came of it. error: a code of the HTTP surface, "" for success; levels: 0-4 each."""

    number: int
    error: str = ""
    message: str = ""
    format: Format = "jpeg"
    provenance: str = ""
    reason: str = ""
    engine: str = ""
    detection: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StillTask:
    """What the process is started with."""

    requests: SlotHandle
    answers: SlotHandle
    factories: Mapping[str, RestorerFactory]
    default: str


class Refused(Exception):
    """A request that cannot be fulfilled; code: of the HTTP surface."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Engines:
    """Restorers by name, made when first asked for; the least used give way."""

    def __init__(self, factories: Mapping[str, RestorerFactory]) -> None:
        self._factories = factories
        self._loaded: OrderedDict[str, Restorer] = OrderedDict()

    def get(self, name: str) -> Restorer:
        """Raises Refused."""
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        factory = self._factories[name]
        try:
            if not factory.facts().verified:
                raise EngineUnavailable(f"{name} did not verify")
            restorer = factory()
        except (SurgiclearError, EngineError) as error:
            raise Refused("engine_unavailable", str(error)) from error
        while len(self._loaded) >= LOADED_MOST:
            self._loaded.popitem(last=False)[1].close()
        self._loaded[name] = restorer
        return restorer


def read(data: bytes, max_pixels: int) -> Still:
    """The picture, its size checked before it is decoded. Raises Refused."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise Refused("too_many_pixels", f"a picture has at most {max_pixels} pixels") from None
    except Exception as error:  # a decoder may raise anything over bytes made to confuse it
        raise Refused("not_an_image", "neither a JPEG nor a PNG picture") from error
    if width * height > max_pixels:
        raise Refused("too_many_pixels", f"{width}x{height} is more than {max_pixels} pixels")
    try:
        return parse_still(data, Path("the picture"), FORMATS)
    except SourceUnreadable as error:
        raise Refused("unreadable_image", str(error)) from error
    except Exception as error:  # a decoder may raise anything over bytes made to confuse it
        raise Refused("unreadable_image", f"not decodable: {type(error).__name__}") from error


def described(detection: Detection) -> dict[str, Any]:
    """The body of an answer to /v1/detect."""
    found: dict[str, Any] = {
        kind: asdict(getattr(detection, kind)) for kind in ("smoke", "fog", "splash")
    }
    found["splash"]["type"] = detection.splash_type
    return found


def restored(data: bytes, still: Still, result: Result, job: StillJob) -> tuple[Format, bytes]:
    """The picture to send back. A raw result in its own format is the bytes that came."""
    target = (job.format or still.format).upper()
    name: Format = "png" if target == "PNG" else "jpeg"
    picture = result.picture
    assert isinstance(picture, Rgb)
    if job.compare != "none":
        turned = upright(still, still.rgb), upright(still, picture)
        both = compared(*turned, job.compare)
        assert isinstance(both, Rgb)
        alone = Still(path=still.path, format="", rgb=both)  # nothing of the original's saving
        return name, still_bytes(alone, both, target)
    if result.reason is not None and target == still.format:
        return name, data
    return name, still_bytes(still, picture, target)


class Worker:
    """The loop of one process."""

    def __init__(self, task: StillTask, control: Control) -> None:
        self.control = control
        self.default = task.default
        self.engines = Engines(task.factories)
        self.requests = Slot(task.requests)
        self.answers = Slot(task.answers)

    def run(self) -> None:
        self._warm()
        poll = select.poll()
        poll.register(self.control.fileno(), select.POLLIN)
        poll.register(self.requests.fileno(), select.POLLIN)
        while True:
            poll.poll()
            while self.control.receive() is not None:
                pass  # nothing is said to us; the end raises EOFError
            item = self.requests.take()
            if item is None:
                continue
            fields = json.loads(item.head)
            job = StillJob(**fields | {"kinds": tuple(fields["kinds"])})
            answer, picture = self.answer(job, item.body.tobytes())
            self.answers.put(_packed(answer), [as_bytes(picture)])

    def answer(self, job: StillJob, data: bytes) -> tuple[StillAnswer, bytes]:
        """Never raises for what a picture or an engine does."""
        try:
            with warnings.catch_warnings():  # of what is odd in a picture nobody would read
                warnings.simplefilter("ignore")
                return self._fulfil(job, data)
        except Refused as refusal:
            code, message = refusal.code, str(refusal)
        except MemoryError:
            code, message = "engine_failed", "not enough memory for this picture"
        return StillAnswer(number=job.number, error=code, message=message[:500]), b""

    def _fulfil(self, job: StillJob, data: bytes) -> tuple[StillAnswer, bytes]:
        still = read(data, job.max_pixels)
        restorer = self.engines.get(job.engine)
        if job.task == "detect":
            restorer.reset()
            try:
                found = restorer.analyse(still.rgb).detection
            except Exception as error:  # an engine may raise anything
                raise Refused("engine_failed", f"{type(error).__name__}: {error}") from error
            answer = StillAnswer(number=job.number, detection=described(found), engine=job.engine)
            return answer, b""
        pipeline = Pipeline(
            restorer,
            gate=StillGate(kinds=job.kinds),
            settings=PipelineSettings(strength=job.strength),
        )
        result = pipeline.step(Frame(0, 0, 0, time.monotonic_ns(), still.rgb))
        name, picture = restored(data, still, result, job)
        guarded = result.reason is Reason.GUARD and result.detection == NOTHING
        answer = StillAnswer(
            number=job.number,
            format=name,
            provenance=result.provenance.value,
            reason="" if result.reason is None else result.reason.value,
            engine=job.engine,
            message=pipeline.tally.first_error[:500] if guarded else "",
            detection=described(result.detection),
        )
        return answer, picture

    def _warm(self) -> None:
        try:
            restorer = self.engines.get(self.default)
            with contextlib.suppress(FeedsWrong):  # of one size only, and loaded by now
                restorer.warm(*WARM_SIZE)
        except (Refused, SurgiclearError, EngineError) as error:
            self.control.send({"state": "failed", "why": str(error)[:500]})
            return
        gc.collect()
        gc.freeze()
        self.control.send({"state": "ready"})


def _packed(answer: StillAnswer) -> bytes:
    return json.dumps(asdict(answer), separators=(",", ":")).encode()


def quiet_libraries() -> None:
    """Decoders written in C print what is wrong with a picture: whoever sends many broken ones
    would fill the log. Python's own stderr stays."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def run(task: StillTask, control: Control) -> None:
    """Entry of the process."""
    os.nice(NICE)
    quiet_libraries()
    with contextlib.suppress(EOFError):  # the service is gone
        Worker(task, control).run()
    os._exit(0)
