"""Single pictures: every kind in, the right kind out, refusals for the rest."""

from __future__ import annotations

import io
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import psutil
import pytest
from fakes import SMOKY, FakeRestorer
from picture_files import BROKEN, SIZE, SOUND, TOO_LARGE, malformed, png_text_bomb
from PIL import Image

from engines.restorer import NOTHING, Restorer
from server.engine_process import EngineFacts, RestorerFactory
from server.errors import EngineUnavailable
from server.problems import STILL_STATUS
from server.still_process import Engines, StillAnswer, StillJob, Worker


def factory(restorer: FakeRestorer, *, refuses: bool = False) -> RestorerFactory:
    def make() -> Restorer:
        return restorer

    def verify() -> EngineFacts:
        if refuses:
            raise EngineUnavailable("the bundle was changed")
        return EngineFacts("fake", "1", "", True)

    return RestorerFactory(name="fake", make=make, verify=verify)


class Alone(Worker):
    """A worker without its process."""

    def __init__(self, restorer: FakeRestorer, *, refuses: bool = False) -> None:
        self.engines = Engines({"fake": factory(restorer, refuses=refuses)})


def ask(
    data: bytes, restorer: FakeRestorer | None = None, *, refuses: bool = False, **wish: object
) -> tuple[StillAnswer, bytes]:
    job = replace(StillJob(task="restore", engine="fake"), **wish)  # type: ignore[arg-type]
    return Alone(restorer or FakeRestorer(), refuses=refuses).answer(job, data)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


@pytest.mark.parametrize("name", SOUND)
def test_every_kind_comes_back_brighter_and_of_its_kind(name: str) -> None:
    answer, picture = ask(SOUND[name])
    assert (answer.error, answer.provenance, answer.reason) == ("", "RESTORED", "")
    before, after = opened(SOUND[name]), opened(picture)
    assert after.format == before.format and after.size == before.size
    assert after.getexif().get(0x0112) == before.getexif().get(0x0112)
    mode = "I;16" if before.mode == "I;16" else "RGB"
    change = np.asarray(after.convert(mode), float) - np.asarray(before.convert(mode), float)
    assert np.median(change) == pytest.approx(8 * (257 if mode == "I;16" else 1), abs=1)
    if "alpha" in name:
        assert np.array_equal(np.asarray(after)[..., 3], np.asarray(before)[..., 3])
    if name == "png 16 bit":
        assert after.mode == before.mode  # Pillow shows both in 8 bits
        assert picture[24] == 16  # the depth in the header


@pytest.mark.parametrize("name", SOUND)
def test_a_clear_picture_comes_back_byte_for_byte(name: str) -> None:
    answer, picture = ask(SOUND[name], FakeRestorer(detection=NOTHING))
    assert (answer.provenance, answer.reason) == ("RAW", "CLEAR")
    assert picture == SOUND[name]


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_every_kind_comes_back_in_the_format_that_is_asked_for(name: str, format: str) -> None:
    answer, picture = ask(SOUND[name], format=format)
    assert answer.format == format and opened(picture).format == format.upper()


@pytest.mark.parametrize("compare", ["split", "side"])
@pytest.mark.parametrize("name", ["jpeg", "png 16 bit", "png grey", "jpeg rotated", "png alpha"])
def test_a_comparison_shows_both(name: str, compare: str) -> None:
    answer, picture = ask(SOUND[name], compare=compare, format="png")
    assert answer.error == ""
    width, height = reversed(SIZE) if "rotated" in name else SIZE
    shown = np.asarray(opened(picture).convert("RGB"), float)
    assert shown.shape == (height, width * (2 if compare == "side" else 1), 3)
    if compare == "side":
        change = shown[:, width:] - shown[:, :width]
        assert np.median(change) == pytest.approx(8, abs=1)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_such_picture_is_refused(name: str) -> None:
    answer, picture = ask(BROKEN[name])
    assert answer.error in ("not_an_image", "unreadable_image") and answer.message
    assert picture == b""


@pytest.mark.parametrize("name", TOO_LARGE)
def test_the_size_is_checked_before_decoding(name: str) -> None:
    assert ask(TOO_LARGE[name])[0].error == "too_many_pixels"
    assert ask(SOUND["png"], max_pixels=SIZE[0] * SIZE[1] - 1)[0].error == "too_many_pixels"
    assert ask(SOUND["png"], max_pixels=SIZE[0] * SIZE[1])[0].error == ""


def test_a_bomb_is_refused() -> None:
    assert ask(png_text_bomb())[0].error in ("unreadable_image", "not_an_image")


def test_what_was_seen_is_told() -> None:
    seen = replace(SMOKY, splash=SMOKY.smoke, splash_type="blood")
    for task in ("detect", "restore"):
        answer, _ = ask(SOUND["jpeg"], FakeRestorer(detection=seen), task=task)
        assert answer.detection is not None
        assert answer.detection["smoke"] == {"probability": 0.99, "coverage": 0.6, "level": 2}
        assert answer.detection["splash"]["type"] == "blood"


def test_only_the_kinds_that_are_asked_for_are_restored() -> None:
    assert ask(SOUND["jpeg"], kinds=("fog",))[0].reason == "CLEAR"
    assert ask(SOUND["jpeg"], kinds=("smoke", "fog"))[0].provenance == "RESTORED"


def test_no_strength_is_no_change() -> None:
    answer, picture = ask(SOUND["jpeg"], strength=0.0)
    assert answer.reason == "BYPASS" and picture == SOUND["jpeg"]


def test_an_engine_that_fails_leaves_the_picture_raw() -> None:
    answer, picture = ask(SOUND["jpeg"], FakeRestorer(script={0: ValueError("broken")}))
    assert (answer.provenance, answer.reason) == ("RAW", "GUARD") and picture == SOUND["jpeg"]


def test_an_engine_that_did_not_verify_is_not_used() -> None:
    restorer = FakeRestorer()
    answer, _ = ask(SOUND["jpeg"], restorer, refuses=True)
    assert answer.error == "engine_unavailable" and restorer.analysed == 0


def test_a_broken_detector_is_said() -> None:
    class Broken(FakeRestorer):
        def analyse(self, picture: object) -> None:  # type: ignore[override]
            raise ValueError("no maps")

    assert ask(SOUND["jpeg"], Broken(), task="detect")[0].error == "engine_failed"


def test_engines_beyond_the_room_give_way() -> None:
    closed: list[str] = []

    class Closing(FakeRestorer):
        def close(self) -> None:
            closed.append(self.name)

    def makes(name: str) -> RestorerFactory:
        return RestorerFactory(name=name, make=Closing)

    engines = Engines({name: makes(name) for name in "abc"})
    first = engines.get("a")
    assert engines.get("a") is first
    engines.get("b")
    engines.get("a")
    engines.get("c")
    assert len(closed) == 1 and engines.get("a") is first


def test_two_thousand_malformed_pictures() -> None:
    """Each is restored or refused with a code of the 400s; nothing is raised, nothing is held."""
    restorer = FakeRestorer()
    counts: Counter[int] = Counter()
    slowest_s = 0.0
    before = psutil.Process().memory_info().rss
    for data in malformed(2000):
        started = time.process_time()
        answer, picture = ask(data, restorer)
        slowest_s = max(slowest_s, time.process_time() - started)
        status = STILL_STATUS[answer.error] if answer.error else 200
        counts[status] += 1
        assert bool(picture) == (status == 200)
    assert set(counts) <= {200, 400, 422} and counts[200] > 200 and counts[400] > 500
    assert slowest_s < 5  # of the processor: none spins
    assert psutil.Process().memory_info().rss - before < 64 << 20
