"""Raw, restored, wipe, side by side, blink and difference: always of one and the same frame."""

from __future__ import annotations

from fake_service import RAW_RGB, RESTORED_RGB
from watched import NEAR, Watched, near, wait

from server.frame import Reason


def labels(page: Watched) -> list[str]:
    shown = "all => all.filter((each) => !each.hidden).map((each) => each.textContent)"
    return list(page.page.eval_on_selector_all(".label", shown))


def test_wipe_by_mouse_touch_and_keys(page: Watched) -> None:
    page.view("wipe")
    page.has(".wipe:visible")
    page.until("() => !document.querySelectorAll('.label')[1].hidden")
    assert page.is_raw(0.25, 0.5) and page.is_restored(0.75, 0.5)
    assert labels(page) == ["RAW", "RESTORED"]
    box = page.page.locator("#picture").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    value = "Number(document.querySelector('.wipe').ariaValueNow)"
    page.page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=4)
    page.page.mouse.up()
    page.until(f"() => {value} > 75")
    assert page.is_raw(0.7, 0.5) and page.is_restored(0.95, 0.5)
    touch = page.page.context.new_cdp_session(page.page)
    for step, (kind, share) in enumerate((("Start", 0.7), ("Move", 0.5), ("Move", 0.3))):
        points = [{"x": box["x"] + box["width"] * share, "y": middle + step}]
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.until(f"() => {value} < 35 && {value} > 25")
    page.page.focus(".wipe")
    page.page.keyboard.press("Home")
    page.until(f"() => {value} === 0")
    assert page.is_restored(0.02, 0.5)
    page.page.keyboard.press("ArrowRight")
    page.until(f"() => {value} === 5")
    assert page.errors == []


def test_side_by_side_raw_and_difference(page: Watched) -> None:
    page.view("side")
    page.until("() => document.querySelector('#picture').width === 640")
    assert page.is_raw(0.25, 0.5) and page.is_restored(0.75, 0.5)
    page.view("raw")
    page.shows("RAW", "chosen here")
    assert page.is_raw(0.5, 0.5) and labels(page) == ["RAW"]
    page.view("difference")
    page.shows("RESTORED")
    assert labels(page) == ["DIFFERENCE ×4"]
    gained = tuple(min(255, 4 * abs(a - b)) for a, b in zip(RAW_RGB, RESTORED_RGB, strict=True))
    assert near(page.pixel(0.5, 0.5), gained, 4 * NEAR)
    page.service.script.reason = Reason.CLEAR
    page.shows("RAW", "nothing to restore")
    assert max(page.pixel(0.5, 0.5)) <= 4


def test_side_by_side_stands_one_above_the_other_where_that_is_larger(page: Watched) -> None:
    page.page.set_viewport_size({"width": 600, "height": 1280})
    page.view("side")
    page.until("() => document.querySelector('#picture').height === 360")
    assert page.is_raw(0.5, 0.25) and page.is_restored(0.5, 0.75)


def test_blink_changes_the_picture_and_its_label_together(page: Watched) -> None:
    page.view("blink")
    seen = page.page.evaluate(
        """() => new Promise((resolve) => {
            const seen = new Set();
            const canvas = document.querySelector('#picture');
            const end = performance.now() + 2500;
            const look = (now) => {
                const label = document.querySelector('.label');
                const [red, , blue] = canvas.getContext('2d').getImageData(9, 9, 1, 1).data;
                if (!label.hidden) seen.add(label.textContent + (blue > red ? ' blue' : ' red'));
                if (now < end) requestAnimationFrame(look); else resolve([...seen]);
            };
            requestAnimationFrame(look);
        })"""
    )
    assert sorted(seen) == ["RAW blue", "RESTORED red"]


def test_a_raw_frame_never_wears_the_restored_label(page: Watched) -> None:
    page.service.script.reason = Reason.GUARD
    for view in ("wipe", "side"):
        page.view(view)
        page.until("() => document.querySelectorAll('.label')[1].textContent === 'RAW'")
        assert page.is_raw(0.95, 0.5)


def test_the_picture_goes_on_while_the_view_changes(page: Watched) -> None:
    """The new socket has to give a picture before the old one is let go."""
    start = page.seq()
    page.view("side")
    page.until("() => document.querySelector('#picture').width === 640")
    page.view("restored")
    page.until("() => document.querySelector('#picture').width === 320")
    wait(lambda: page.service.viewers == ["restored"], "the other socket to be let go")
    page.view("wipe")
    page.has(".wipe:visible")
    page.advances(3)
    assert page.service.wants == ["restored", "both", "restored", "both"]
    assert page.seq() > start and page.errors == []
    assert page.page.get_attribute("#badge", "data-state") == "RESTORED"


def test_a_service_without_both_still_shows_raw_and_restored(fresh: Watched) -> None:
    fresh.service.settings.both = False
    fresh.open()
    fresh.view("wipe")
    fresh.until("() => document.querySelector('input[value=restored]').checked")
    assert fresh.page.is_disabled("input[value=wipe]")
    assert "comparing is off" in fresh.text("#note")
    fresh.view("raw")
    fresh.shows("RAW", "chosen here")
    fresh.until("() => document.querySelector('.label').textContent === 'RAW'")
    assert fresh.service.wants[-1] == "raw"
    fresh.view("restored")
    fresh.shows("RESTORED")
