"""What the page says of the RTSP servers that a stream is published to, and of a broken source."""

from __future__ import annotations

from dataclasses import replace

from states import sink
from watched import Watched

WHY = "the RTSP server refuses the connection: is it running?"
TROUBLE = "the camera has nothing at this path: check what follows HOST/"


def test_a_sink_that_falls_is_told_and_so_is_its_return(page: Watched) -> None:
    up = sink("up")
    page.service.change(sinks=(up,))
    page.until("() => document.querySelector('#sink-row dd').textContent === 'sink: sending'")
    assert page.page.locator("[data-key=SINK]").count() == 0
    page.service.change(sinks=(replace(up, state="down", why=WHY),))
    page.has("[data-key=SINK][data-priority=medium]")
    assert page.text("#sink-row dd") == "sink: reconnecting"
    assert "NOT PUBLISHED" in page.text("#announce-alarm")
    page.shows("RESTORED")  # the picture here is not concerned
    page.page.click("#setup")
    page.has("#sink-list li[data-failing=true]:visible")
    for words in ("RTSP sink: reconnecting", WHY, "rtsp://h/x", "7 sent, 2 not sent"):
        assert words in page.text("#sink-list")
    page.service.change(sinks=(up,))
    page.until("() => !document.querySelector('[data-key=SINK]')")
    assert page.text("#sink-list .why") == ""
    assert page.errors == []


def test_a_first_connection_is_no_alarm_and_a_failed_one_is(page: Watched) -> None:
    first = replace(sink("connecting"), connections=0)
    page.service.change(sinks=(first,))
    page.until("() => document.querySelector('#sink-row dd').textContent === 'sink: connecting'")
    page.advances(3)
    assert page.page.locator("[data-key=SINK]").count() == 0
    page.service.change(sinks=(replace(first, state="down", why=WHY),))
    page.has("[data-key=SINK]")


def test_several_sinks_are_counted(page: Watched) -> None:
    up, down = sink("up"), replace(sink("down"), url="rtsp://other/x", why=WHY)
    page.service.change(sinks=(up, replace(up, url="rtsp://third/x")))
    page.until("() => document.querySelector('#sink-row dd').textContent === '2 sinks: sending'")
    page.service.change(sinks=(up, down))
    page.until("() => document.querySelector('#sink-row dd').textContent === '1 of 2 reconnecting'")
    assert page.page.locator("#sink-list li").count() == 2


def test_a_stream_without_sinks_has_no_word_of_them(page: Watched) -> None:
    page.advances(2)
    assert page.page.locator("#sink-row:visible, #sinks-title:visible").count() == 0


def test_no_signal_says_what_is_wrong_with_the_source(page: Watched) -> None:
    page.advances(2)
    page.service.change(trouble=TROUBLE)
    page.service.script.card = True
    page.shows("NO SIGNAL")
    page.explains(TROUBLE)
    page.has("[data-key=NO_SIGNAL][data-priority=high]")
    page.service.change(trouble=None)
    page.service.script.card = False
    page.shows("RESTORED")
    page.service.script.card = True
    page.explains("the source gives nothing")


def test_a_source_that_never_gave_a_picture_is_explained(fresh: Watched) -> None:
    fresh.service.change(trouble=TROUBLE)
    fresh.service.script.card = True
    fresh.open("NO SIGNAL")
    fresh.explains(TROUBLE)


def test_a_lost_service_is_said_before_a_lost_source(fresh: Watched) -> None:
    """What the service knew of the source is old by then; a card says that it is back."""
    fresh.service.change(trouble=TROUBLE)
    fresh.service.script.card = True
    fresh.open("NO SIGNAL")
    fresh.explains(TROUBLE)
    fresh.service.settings.refuse = True
    fresh.service.cut()
    fresh.explains("no connection to the service")
    fresh.service.settings.refuse = False
    fresh.explains(TROUBLE)
