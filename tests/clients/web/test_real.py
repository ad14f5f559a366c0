"""The page on the real service: phantom feed, engine and all, in their own processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from watched import Watched, wait

SERVE = """
from server.config import load
from server.serve import serve

if __name__ == "__main__":
    serve(load(None, port=0), lambda address: print(address, flush=True))
"""
FEED = "phantom:?size=320x180&fps=10&seconds=10"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    service = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert service.stdout is not None
    with service.stdout as lines:
        yield next(line.strip() for line in lines if line.startswith("http://")) + "/"
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0


def streams(address: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(address + "v1/streams", timeout=20) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found


def test_the_page_works_the_real_service(fresh: Watched, address: str) -> None:
    """Nothing here depends on how fast this machine is: a late picture is called late."""
    fresh.page.goto(address)
    fresh.explains("no stream runs")
    fresh.has("input[name=engine][value=veil]")
    fresh.page.fill("#source", FEED)
    fresh.page.click("#start-source button")
    fresh.page.wait_for_function(
        "() => document.querySelector('#picture').dataset.seq", timeout=120_000
    )
    fresh.advances(5)
    (stream,) = streams(address)
    assert stream["spec"]["source"] == FEED
    fresh.view("wipe")
    fresh.has(".wipe:visible")  # both pictures of one frame came
    fresh.advances(5)
    size = "[document.querySelector('#picture').width, document.querySelector('#picture').height]"
    assert fresh.page.evaluate(size) == [320, 180]
    fresh.page.keyboard.press("b")
    fresh.until("() => document.querySelector('#bypass').dataset.pending === 'false'")
    assert fresh.page.get_attribute("#bypass", "aria-pressed") == "true"
    assert streams(address)[0]["bypass"] is True
    fresh.until("() => !/RESTORED/.test(document.querySelectorAll('.label')[1].textContent)")
    fresh.page.focus("#strength")
    fresh.page.keyboard.press("ArrowLeft")
    fresh.until("() => document.querySelector('#strength-text').textContent === '95 %'")
    with fresh.page.expect_download() as download:
        fresh.page.click("#snapshot")
    assert download.value.path().read_bytes().startswith(b"\xff\xd8")
    wait(lambda: streams(address)[0]["strength"] == 0.95, "the strength")
    assert fresh.errors == []
    fresh.page.click("#setup")
    for _ in range(2):
        fresh.page.click(".streams .stop")
    fresh.explains("the stream ")  # was stopped, or has ended: whichever the page hears first
    wait(lambda: streams(address) == [], "the stream's end")
