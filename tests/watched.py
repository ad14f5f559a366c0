"""The operator's page, open in a browser, as tests look at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from fake_service import RAW_RGB, RESTORED_RGB, FakeService

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

PATIENCE_S = 20.0
NEAR = 12  # 8-bit levels that JPEG and colour conversion may differ by
LANDSCAPE = {"width": 1280, "height": 720}
NOISE = ("Canvas2D: Multiple readback",)  # our own looking at the pixels


class Watched:
    """The page, its service, and everything that it should never do."""

    def __init__(self, page: Page, service: FakeService, url: str) -> None:
        self.page = page
        self.service = service
        self.url = url
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NOISE):
            self.errors.append(message.text)

    def begin(self) -> None:
        """As new, and not open yet."""
        self.page.goto("about:blank")
        self.page.set_viewport_size({"width": 1280, "height": 720})
        self.service.reset()
        self.errors.clear()
        self.requests.clear()

    def end(self) -> None:
        if self.page.url != "about:blank":
            self.page.evaluate("sessionStorage.clear()")
        self.service.cut()

    def open(self, state: str | None = "RESTORED") -> Watched:
        self.page.goto(self.url)
        if state is not None:
            self.shows(state)
        return self

    def shows(self, state: str, why: str = "") -> None:
        """Waits until the badge says so."""
        self.until(
            "([state, why]) => document.querySelector('#badge').dataset.state === state"
            " && document.querySelector('#badge .why').textContent.includes(why)",
            [state.replace(" ", "_"), why],
        )

    def explains(self, why: str) -> None:
        """Waits until the NO SIGNAL banner gives this reason."""
        self.until("(why) => document.querySelector('#banner .why').textContent.includes(why)", why)

    def until(self, script: str, argument: Any = None) -> None:
        self.page.wait_for_function(script, arg=argument, timeout=1000 * PATIENCE_S)

    def has(self, selector: str) -> None:
        self.page.wait_for_selector(selector, timeout=1000 * PATIENCE_S)

    def view(self, name: str) -> None:
        self.page.check(f"input[name=view][value={name}]", force=True)

    def text(self, selector: str) -> str:
        return (self.page.text_content(selector) or "").strip()

    def drawn(self) -> None:
        """Waits for a first picture."""
        self.until("() => document.querySelector('#picture').dataset.seq")

    def seq(self) -> int:
        """Of the frame on the screen."""
        return int(self.page.get_attribute("#picture", "data-seq") or -1)

    def advances(self, frames: int = 1) -> None:
        """Waits until the picture is this many frames newer."""
        self.until(
            "(seq) => Number(document.querySelector('#picture').dataset.seq) >= seq",
            self.seq() + frames,
        )

    def stands_still(self) -> None:
        """The page takes frames in, and draws none of them."""
        acks = len(self.service.acks)
        wait(lambda: len(self.service.acks) > acks + 1, "an acknowledgement")
        seq, acks = self.seq(), len(self.service.acks)
        wait(lambda: len(self.service.acks) > acks + 3, "an acknowledgement")
        assert self.seq() == seq

    def pixel(self, x: float, y: float) -> list[int]:
        """The canvas at shares of its width and height."""
        return cast(
            "list[int]",
            self.page.evaluate(
                """([x, y]) => {
                    const canvas = document.querySelector('#picture');
                    const at = [Math.floor(canvas.width * x), Math.floor(canvas.height * y)];
                    return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
                }""",
                [x, y],
            ),
        )

    def is_raw(self, x: float, y: float) -> bool:
        return near(self.pixel(x, y), RAW_RGB)

    def is_restored(self, x: float, y: float) -> bool:
        return near(self.pixel(x, y), RESTORED_RGB)


def near(got: list[int], wanted: tuple[int, ...], within: int = NEAR) -> bool:
    return all(abs(a - b) <= within for a, b in zip(got, wanted, strict=True))


def wait(done: Callable[[], bool], what: str) -> None:
    """Until the service has seen it."""
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)
