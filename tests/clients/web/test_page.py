"""The page as a whole: its own files alone, errors, fit, focus, names, contrast."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from fake_service import WEB, FakeService
from watched import Watched, near

from server.spec import Flag

SCREENS = ((1280, 720), (1920, 1080), (800, 1280), (810, 1080))
TARGET_PX = 64
STATES = {"RESTORED", "RAW", "LATE", "STALE", "NO_SIGNAL"}


class _Inline(HTMLParser):
    """Finds what a strict content security policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        names = {name for name, _ in attrs}
        if tag == "style" or "style" in names:
            self.found.append(f"style in <{tag}>")
        self.found += [f"{name} in <{tag}>" for name in names if name.startswith("on")]
        for name, value in attrs:
            if name in ("src", "href") and re.match(r"\w+:|//", value or ""):
                self.found.append(f"{value} in <{tag}>")

    def handle_endtag(self, tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in == "script" and data.strip():
            self.found.append("inline script")


def inline(html: str) -> list[str]:
    parser = _Inline()
    parser.feed(html)
    return parser.found


def test_nothing_inline_and_nothing_from_elsewhere() -> None:
    assert inline((WEB / "index.html").read_text()) == []
    for path in [*WEB.glob("*.js"), WEB / "style.css"]:
        found = re.findall(r"https?://|@import|url\(|innerHTML|eval\(", path.read_text())
        assert not found, path.name


@pytest.mark.parametrize(
    "html",
    [
        "<script>go()</script>",
        '<p style="color: red">',
        "<style>p {}</style>",
        '<p onclick="go()">',
        '<script src="https://cdn.example/x.js"></script>',
    ],
)
def test_what_is_inline_is_found(html: str) -> None:
    assert inline(html)


def test_each_module_says_what_it_is_and_stays_small() -> None:
    for path in WEB.glob("*.js"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("// ") and len(lines) <= 400, path.name
        assert max(map(len, lines)) <= 100, path.name


def test_each_state_has_a_shape_of_its_own() -> None:
    html = (WEB / "index.html").read_text()
    shapes = dict(re.findall(r'<symbol id="shape-([A-Z_]+)".*?>(.*?)</symbol>', html, re.S))
    assert set(shapes) == STATES
    assert len(set(shapes.values())) == len(shapes)


def test_a_restored_picture_runs_with_no_error_and_no_other_origin(page: Watched) -> None:
    page.advances(10)
    assert page.is_restored(0.5, 0.5)
    assert "ms old" in page.text("#age") and "320×180" in page.text("#age")
    assert page.errors == []
    hosts = {request.split("//")[1].split("/")[0] for request in page.requests}
    assert hosts == {page.url.split("//")[1].rstrip("/")}
    assert len(page.requests) > 10


def test_an_error_would_be_seen(page: Watched) -> None:
    page.page.evaluate("() => { setTimeout(() => { throw new Error('seen'); }); }")
    page.advances(2)
    assert page.errors == ["seen"]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: f"{screen[0]}x{screen[1]}")
def test_it_fits_and_can_be_touched(fresh: Watched, screen: tuple[int, int]) -> None:
    width, height = screen
    fresh.page.set_viewport_size({"width": width, "height": height})
    fresh.open()
    fresh.view("wipe")
    fresh.has(".wipe:visible")
    assert small(fresh, at_least=10) == []
    stage = fresh.page.locator("#stage").bounding_box()
    assert stage is not None
    share = stage["width"] * stage["height"] / (width * height)
    assert share > (0.5 if width > height else 0.3)  # the picture first
    fresh.page.click("#setup")
    fresh.has(".streams .stop")
    assert small(fresh, at_least=7) == []
    assert fresh.page.locator("#stage").bounding_box() == stage  # the panel takes none of it
    outside = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert fresh.page.evaluate(outside) == [width, height]


def small(page: Watched, at_least: int) -> list[list[object]]:
    """Visible controls that are too small for a gloved finger; there must be some controls."""
    boxes = page.page.evaluate(
        """() => [...document.querySelectorAll('button, .choice, .wipe, #strength, #source')]
            .filter((each) => each.checkVisibility({ visibilityProperty: true }))
            .map((each) => {
                const { width, height } = each.getBoundingClientRect();
                return [each.id || each.className, width, height];
            })"""
    )
    assert len(boxes) >= at_least
    return [box for box in boxes if min(box[1], box[2]) < TARGET_PX]


def test_every_control_has_a_name_and_every_id_is_one(page: Watched) -> None:
    unnamed = page.page.evaluate(
        """() => [...document.querySelectorAll('button, input, canvas, [role=slider], [role=meter]')
        ].filter((each) => !(each.getAttribute('aria-label') || each.textContent.trim()
                || each.labels?.[0]?.textContent.trim()))
            .map((each) => each.outerHTML)"""
    )
    assert unnamed == []
    ids = page.page.eval_on_selector_all("[id]", "all => all.map((each) => each.id)")
    assert len(ids) == len(set(ids)) > 20
    assert page.page.get_attribute("#announce", "aria-live") == "polite"
    assert page.page.get_attribute("#announce-alarm", "aria-live") == "assertive"
    assert "not a medical device" in page.text(".notice")


def test_the_focus_goes_round_in_order_and_can_be_seen(page: Watched) -> None:
    page.page.keyboard.press("3")  # the third view: wipe
    page.has(".wipe:visible")
    order = []
    for _ in range(7):
        page.page.keyboard.press("Tab")
        name, outline = page.page.evaluate(
            """() => {
                const { id, name, className } = document.activeElement;
                const radio = document.activeElement.matches('.choice input');
                const shown = radio ? document.activeElement.nextSibling : document.activeElement;
                return [id || name || className, getComputedStyle(shown).outlineStyle];
            }"""
        )
        assert outline == "solid", name
        order.append(name)
    assert order == ["wipe", "bypass", "view", "strength", "snapshot", "sound", "setup"]
    page.page.keyboard.press("Enter")
    page.until("() => document.activeElement.id === 'panel-title'")
    page.page.keyboard.press("Escape")
    page.until("() => document.activeElement.id === 'setup'")


def luminance(colour: str) -> float:
    """Relative luminance of a CSS rgb() colour (WCAG 2.2)."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_dark_and_legible(page: Watched) -> None:
    page.service.change(alarms=("INVARIANT", "ENGINE_DOWN"))
    page.has("[data-key=INVARIANT]")
    pairs = page.page.evaluate(
        """() => {
            const ground = (each) => {
                for (let at = each; at; at = at.parentElement) {
                    const colour = getComputedStyle(at).backgroundColor;
                    if (!colour.endsWith(', 0)')) return colour;
                }
                return 'none';
            };
            const speaks = (each) => [...each.childNodes].some(
                (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
            return [...document.querySelectorAll('main *')]
                .filter((each) => each.checkVisibility({ visibilityProperty: true }))
                .filter(speaks)
                .map((each) => [each.textContent, getComputedStyle(each).color, ground(each)]);
        }"""
    )
    assert len(pairs) > 20
    for text, ink, ground in pairs:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ink, ground)
    room = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert luminance(room) < 0.01
    assert page.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_back_off_and_clock(page: Watched) -> None:
    waits = page.page.evaluate(
        "async () => { const { backoffMs } = await import('./socket.js');"
        " return [0, 1, 2, 3, 4, 5, 50].map((n) => backoffMs(n, 0.5)); }"
    )
    assert waits == [250, 500, 1000, 2000, 4000, 4000, 4000]
    ages = page.page.evaluate(
        """async () => {
            const { Clock } = await import('./clock.js');
            const clock = new Clock();
            clock.heard(1100, 1000);  // 100 ms on the way, or clocks 100 ms apart
            const least = clock.age(1000, 1100);
            clock.answered(1090, 1055, 1110);  // the ping knows: 45 ms apart, 55 on the way
            return [least, clock.age(1000, 1100), clock.age(5000, 1100)];
        }"""
    )
    assert ages == [0, 55, 0]


def test_wire_refuses_what_is_no_sound_frame(page: Watched) -> None:
    good = FakeService().frame("restored")
    bad = {
        "short": good[:40],
        "magic": b"XX" + good[2:],
        "version": good[:2] + b"\x02" + good[3:],
        "type": good[:3] + b"\x02" + good[4:],
        "codec": good[:6] + b"\x09" + good[7:],
        "length": good + b"x",
        "size": good[:48] + b"\x00\x00" + good[50:],
        "raw size": good[:6] + b"\x02" + good[7:],
        "contradiction": good[:4] + bytes([Flag.RESTORED | Flag.LATE]) + good[5:],
    }
    verdicts = page.page.evaluate(
        """async (messages) => {
            const { parse, WireError } = await import('./wire.js');
            const verdict = (bytes) => {
                try { return parse(new Uint8Array(bytes).buffer).width; }
                catch (error) { return error instanceof WireError ? 'refused' : String(error); }
            };
            return Object.fromEntries(
                Object.entries(messages).map(([name, bytes]) => [name, verdict(bytes)]));
        }""",
        {name: list(message) for name, message in {**bad, "good": good}.items()},
    )
    assert verdicts == {**dict.fromkeys(bad, "refused"), "good": 320}


def test_raw_codecs_are_drawn(page: Watched) -> None:
    """RGB24 and I420 payloads, as a pusher of raw frames gets them back."""
    rgb, i420 = page.page.evaluate(
        """async () => {
            const { bitmapOf } = await import('./picture.js');
            const read = async (frame) => {
                const bitmap = await bitmapOf({ width: 2, height: 2, ...frame });
                const context = new OffscreenCanvas(2, 2).getContext('2d');
                context.drawImage(bitmap, 0, 0);
                return [...context.getImageData(1, 1, 1, 1).data];
            };
            const rgb = new Uint8Array(12).fill(9);
            rgb.set([200, 100, 50], 9);
            const planes = new Uint8Array([0, 0, 0, 124, 86, 182]);  // BT.601 of 200 100 50
            return [
                await read({ codec: 2, picture: rgb }),
                await read({ codec: 3, picture: planes }),
            ];
        }"""
    )
    assert rgb == [200, 100, 50, 255]
    assert near(i420, (200, 100, 50, 255), 2)
