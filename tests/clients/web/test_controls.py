"""Strength, engine, snapshot, streams, alarms, sound and meters of the operator's page."""

from __future__ import annotations

import re
import time

from watched import LANDSCAPE, Watched, wait

from server.frame import Reason
from server.spec import Levels, StreamEvent, TimelinePoint


def test_strength_snapshot_and_engine(page: Watched) -> None:
    page.page.focus("#strength")
    page.page.keyboard.press("ArrowLeft")
    wait(lambda: page.service.made("strength") == [0.95], "the strength")
    assert page.text("#strength-text") == "95 %"
    with page.page.expect_download() as download:
        page.page.click("#snapshot")
    assert re.fullmatch(r"surgiclear-restored-\d+\.jpg", download.value.suggested_filename)
    page.page.click("#setup")
    assert page.page.is_disabled("input[name=engine][value=tampered]")
    page.page.check("input[name=engine][value=focalnet]", force=True)
    wait(lambda: page.service.made("engine") == ["focalnet"], "the engine")
    event = StreamEvent("first", "engine.rolled_back", time.monotonic_ns(), time.time())
    page.service.change(engine="veil", events=(event,))
    page.until("() => document.querySelector('#note').textContent.includes('old one goes on')")
    page.until("() => document.querySelector('[name=engine][value=veil]').checked")
    assert page.errors == []


def test_streams_start_and_stop_with_two_touches(page: Watched) -> None:
    page.page.click("#setup")
    page.page.click("#start-phantom")
    wait(lambda: page.service.made("start") == [{"source": "phantom:"}], "a start")
    page.service.script.number = 9
    page.until("() => document.querySelector('#stream-name').textContent === 'started.mp4'")
    page.shows("RESTORED")
    page.page.click("#setup")
    stop = page.page.get_by_role("button", name="Stop started.mp4")
    stop.click()
    assert page.service.made("stop") == []
    stop.click()
    wait(lambda: page.service.made("stop") == ["started"], "a stop")
    page.explains("the stream was stopped")
    assert page.page.get_attribute("#picture", "data-seq") is None  # nothing of it stays


def test_among_several_streams_a_person_chooses(fresh: Watched) -> None:
    fresh.service.add("second", 8)
    fresh.open(None)
    fresh.explains("choose a stream")
    fresh.page.wait_for_timeout(3500)  # a stream would be missed by now
    assert fresh.page.query_selector("[data-key]") is None  # nobody expects a picture yet
    fresh.page.get_by_role("button", name="first.mp4 number 7", exact=True).click()
    fresh.shows("RESTORED")
    fresh.page.reload()
    fresh.shows("RESTORED")  # the choice is kept


def test_a_vanished_stream_is_not_replaced_by_another(page: Watched) -> None:
    page.service.add("second", 8)
    del page.service.streams["first"]
    page.service.cut()
    page.until("() => document.querySelector('#stream-name').textContent === ''")
    page.shows("NO SIGNAL")
    assert page.page.get_attribute("#picture", "data-seq") is None


def test_a_token_is_asked_for_and_stays_out_of_addresses(fresh: Watched) -> None:
    fresh.service.settings.token = "secret"
    fresh.open(None)
    fresh.page.fill("#token", "secret")
    fresh.page.click("#token-form button")
    fresh.shows("RESTORED")
    assert all("secret" not in request for request in fresh.requests)


def test_alarms_have_shape_words_and_a_place(page: Watched) -> None:
    page.service.change(
        alarms=("ENGINE_DOWN", "LATCHED", "INVARIANT", "STREAM_DOWN"),
        latched=True,
        clean_lens=True,
        events=(StreamEvent("first", "smoke.persistent", 1, 1.0),),
    )
    expected = {
        "INVARIANT": "high",
        "STREAM_DOWN": "high",
        "LATCHED": "medium",
        "ENGINE_DOWN": "medium",
        "LENS": "medium",
        "SMOKE": "low",
    }
    page.until("(count) => document.querySelectorAll('[data-key]').length === count", len(expected))
    shown = page.page.eval_on_selector_all(
        "[data-key]",
        """all => all.map((each) => [each.dataset.key, each.dataset.priority,
            each.querySelector('use').getAttribute('href'), each.textContent.trim() !== ''])""",
    )
    assert shown == [[k, p, f"#shape-alarm-{p}", True] for k, p in expected.items()]
    assert page.page.query_selector("#alarms [data-key=INVARIANT]") is not None
    assert "SAFETY CHECK FAILED" in page.text("#announce-alarm")
    border = "getComputedStyle(document.querySelector('#stage'), '::after').borderTopStyle"
    assert page.page.evaluate(border) == "solid"
    page.service.change(alarms=("ENGINE_DOWN", "LATCHED"), events=())
    page.until("() => document.documentElement.dataset.alarm === 'medium'")
    assert page.page.evaluate(border) == "dashed"
    bottom = page.page.evaluate(
        "Math.max(...[...document.querySelectorAll('.rail > *')]"
        ".map((each) => each.getBoundingClientRect().bottom))"
    )
    assert bottom <= LANDSCAPE["height"]
    page.page.click("#release")
    wait(lambda: page.service.made("bypass") == [False], "the release")
    page.until("() => document.querySelector('#release').hidden")


def test_no_alarm_moves_the_picture(fresh: Watched) -> None:
    for width, height in ((1280, 720), (800, 1280)):
        fresh.page.set_viewport_size({"width": width, "height": height})
        fresh.service.change(alarms=(), clean_lens=False)
        fresh.open()
        stage = fresh.page.locator("#stage").bounding_box()
        fresh.service.change(alarms=("ENGINE_DOWN", "LATCHED", "INVARIANT"), clean_lens=True)
        fresh.has("[data-key=LENS]")
        assert fresh.page.locator("#stage").bounding_box() == stage


def test_the_sound_is_off_until_asked_for(page: Watched) -> None:
    page.page.evaluate(
        """() => {
            window.pulses = 0;
            const start = OscillatorNode.prototype.start;
            OscillatorNode.prototype.start = function (...when) {
                window.pulses += 1;
                start.apply(this, when);
            };
        }"""
    )
    page.service.change(alarms=("INVARIANT",))
    page.has("[data-key=INVARIANT]")
    assert page.page.evaluate("window.pulses") == 0
    page.page.click("#sound")
    page.until("() => window.pulses >= 6")
    assert page.text("#sound") == "Sound on"
    page.page.click("#sound")
    assert page.page.get_attribute("#sound", "aria-pressed") == "false"


def test_meters_and_timeline_show_the_frames_levels(page: Watched) -> None:
    page.service.change(levels=Levels(4, 0, 0))
    page.service.script.levels = Levels(4, 2, 1)
    page.has("[data-kind=smoke][data-level='4']")  # the header ends at 3, the state does not
    page.has("[data-kind=fog][data-level='2']")
    assert page.page.get_attribute("[data-kind=splash] [role=meter]", "aria-valuenow") == "1"
    lit = page.page.eval_on_selector_all(
        "[data-kind=fog] i",
        "all => all.map((each) => getComputedStyle(each).backgroundColor !== 'rgba(0, 0, 0, 0)')",
    )
    assert lit == [True, True, False, False]
    page.until(
        """() => {
            const canvas = document.querySelector('#timeline');
            const strip = [canvas.width - 2, 0, 2, canvas.height / 4];
            const { data } = canvas.getContext('2d').getImageData(...strip);
            return data.some((value, index) => index % 4 === 0 && value > 200);
        }"""
    )


def test_levels_that_nobody_measured_are_not_nought(page: Watched) -> None:
    page.service.script.levels = Levels(2, 0, 0)
    page.has("[data-kind=smoke][data-level='2']")
    page.service.script.levels = Levels()
    page.service.script.reason = Reason.BYPASS
    page.has("[data-kind=smoke][data-level=none]")
    assert page.text("[data-kind=smoke] .number") == "–"
    page.service.script.reason = Reason.CLEAR
    page.has("[data-kind=smoke][data-level='0']")


def test_the_timeline_begins_before_the_page(fresh: Watched) -> None:
    ago = time.monotonic_ns() - 90 * 10**9
    fresh.service.change(timeline=(TimelinePoint(ago, Levels(4, 0, 0)),))
    fresh.open()
    fresh.until(
        """() => {
            const canvas = document.querySelector('#timeline');
            const row = canvas.getContext('2d').getImageData(0, canvas.height / 8, canvas.width, 1);
            const red = [...row.data].filter((_, index) => index % 4 === 0);
            const first = red.findIndex((value) => value > 200) / canvas.width;
            return first > 0.4 && first < 0.6;
        }"""
    )
