"""The bypass of the page: one touch, two keys, and no rest until it is confirmed."""

from __future__ import annotations

import time

from watched import Watched, wait

BOUNCE_S = 0.75  # a second press sooner than 0.7 s after the first is a bounce


def pressed(page: Watched) -> list[bool]:
    return page.service.made("bypass")


def test_by_touch_b_and_space(page: Watched) -> None:
    page.page.locator("#bypass").tap()
    page.shows("RAW", "bypass is on")
    assert page.page.get_attribute("#bypass", "aria-pressed") == "true"
    assert page.text("#bypass .text") == "BYPASS ON"
    expected = [True]
    for key in ("b", " ", "B"):
        time.sleep(BOUNCE_S)
        page.page.keyboard.press(key)
        expected.append(not expected[-1])
        wait(lambda: len(pressed(page)) == len(expected), key)
    assert pressed(page) == expected
    page.shows("RESTORED")


def test_it_wins_over_the_focused_control_but_not_over_typing(page: Watched) -> None:
    page.page.focus("#snapshot")
    page.page.keyboard.press(" ")
    wait(lambda: pressed(page) == [True], "the bypass")
    assert page.service.made("snapshot") == []
    page.page.click("#setup")
    page.page.focus("#source")
    page.page.keyboard.type("b b")
    assert page.page.input_value("#source") == "b b"
    assert pressed(page) == [True]


def test_a_bouncing_or_held_pedal_presses_once(page: Watched) -> None:
    press = """(repeats) => repeats.forEach((repeat) => document.body.dispatchEvent(
        new KeyboardEvent('keydown', { key: 'b', repeat, bubbles: true })))"""
    page.page.evaluate(press, [False, False])
    page.shows("RAW", "bypass is on")
    time.sleep(BOUNCE_S)
    page.page.evaluate(press, [True])
    page.advances(2)
    assert pressed(page) == [True]


def test_on_is_asked_for_until_it_is_confirmed(page: Watched) -> None:
    page.service.settings.rest_down = True
    page.page.keyboard.press("b")
    page.has("#alarms [data-key=BYPASS_UNCONFIRMED][data-priority=high]")
    assert page.page.get_attribute("#bypass", "data-pending") == "true"
    wait(lambda: len(pressed(page)) >= 2, "another try")
    page.service.settings.rest_down = False
    page.shows("RAW", "bypass is on")
    page.until("() => !document.querySelector('[data-key=BYPASS_UNCONFIRMED]')")
    assert page.page.get_attribute("#bypass", "data-pending") == "false"


def test_one_from_elsewhere_shows_here(page: Watched) -> None:
    page.service.change(bypass=True)
    page.until("() => document.querySelector('#bypass').ariaPressed === 'true'")
    page.page.keyboard.press("b")
    wait(lambda: pressed(page) == [False], "its release")


def test_without_a_stream_it_claims_nothing(fresh: Watched) -> None:
    fresh.service.streams.clear()
    fresh.open(None)
    fresh.explains("no stream runs")
    fresh.page.keyboard.press("b")
    fresh.until("() => document.querySelector('#bypass').dataset.pending === 'false'")
    assert fresh.page.get_attribute("#bypass", "aria-pressed") == "false"
