"""One browser and one misbehaving service for all tests of the operator's page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from fake_service import FakeService, running
from watched import LANDSCAPE, Watched

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="package")
def tab() -> Iterator[Watched]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    service = FakeService()
    with running(service) as url, playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport=LANDSCAPE, has_touch=True)
        yield Watched(context.new_page(), service, url)
        browser.close()


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
