"""One browser and one misbehaving service for all tests of the operator's page."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fake_service import FakeService, running
from watched import LANDSCAPE, Watched

HERE = Path(__file__).parent
OPEN = pytest.StashKey[tuple[ExitStack, Watched]]()
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def launched(stack: ExitStack) -> Watched:
    """A browser with one tab; `stack` ends it. Skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    service = FakeService()
    url = stack.enter_context(running(service))
    play = stack.enter_context(playwright.sync_playwright())
    browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
    stack.callback(browser.close)
    context = browser.new_context(viewport=LANDSCAPE, has_touch=True)
    return Watched(context.new_page(), service, url)


@pytest.fixture
def tab(request: pytest.FixtureRequest) -> Watched:
    stash = request.config.stash
    if OPEN not in stash:
        with ExitStack() as stack:
            watched = launched(stack)
            stash[OPEN] = stack.pop_all(), watched
    return stash[OPEN][1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Ends the browser with the last test of this folder. While it is open its event loop counts
    as running, and no test elsewhere could run one of its own."""
    try:
        yield
    finally:
        leaving = nextitem is None or HERE not in nextitem.path.parents
        if leaving and OPEN in item.config.stash:
            stack, _ = item.config.stash[OPEN]
            del item.config.stash[OPEN]
            stack.close()


@pytest.fixture
def fresh(tab: Watched) -> Iterator[Watched]:
    """A page that is not open yet, so that a test can say first what the service is like."""
    tab.begin()
    yield tab
    tab.end()


@pytest.fixture
def page(fresh: Watched) -> Watched:
    """The page on a restored stream."""
    return fresh.open()
