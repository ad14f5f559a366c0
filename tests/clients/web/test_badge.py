"""What the page says of its picture: provenance, age, order, or that there is none."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from watched import Watched, wait

from server.frame import Reason
from server.spec import Flag

BADGES = {
    None: ("RESTORED", "veil 1.0.0"),
    Reason.CLEAR: ("RAW", "nothing to restore"),
    Reason.BYPASS: ("RAW", "bypass is on"),
    Reason.LATE: ("LATE", "took too long"),
    Reason.GUARD: ("RAW", "failed its check"),
    Reason.ENGINE_DOWN: ("RAW", "engine is down"),
    Reason.WARMING: ("RAW", "warming up"),
    Reason.SHAPE: ("RAW", "picture size"),
}


def test_the_badge_names_every_flag(page: Watched) -> None:
    assert set(BADGES) == {None, *Reason}
    for reason, (state, why) in reversed(BADGES.items()):
        page.service.script.reason = reason
        page.shows(state, why)
        # by shape as well, and in words for those who cannot see it
        assert page.page.get_attribute("#badge use", "href") == f"#shape-{state}"
        assert state in page.text("#announce")
        alarm = "(down) => !document.querySelector('[data-key=ENGINE_DOWN]') !== down"
        page.until(alarm, reason is Reason.ENGINE_DOWN)
    assert page.errors == []


def test_the_badge_is_that_of_the_frame_on_the_screen(page: Watched) -> None:
    """Provenance changes with every frame; no screen shows one frame and another's badge."""
    page.service.script.cycle = (None, Reason.LATE, Reason.CLEAR)
    page.advances(3)
    seen = page.page.evaluate(
        """() => new Promise((resolve) => {
            const seen = new Map();
            const look = () => {
                const seq = document.querySelector('#picture').dataset.seq;
                const state = document.querySelector('#badge').dataset.state;
                seen.set(seq + state, [Number(seq), state]);
                if (seen.size < 40) requestAnimationFrame(look); else resolve([...seen.values()]);
            };
            requestAnimationFrame(look);
        })"""
    )
    said = {None: "RESTORED", Reason.LATE: "LATE", Reason.CLEAR: "RAW"}
    wrong = [(seq, state) for seq, state in seen if said[page.service.sent[seq]] != state]
    assert wrong == []
    assert {state for _, state in seen} == set(said.values())


def test_frames_that_lie_or_cannot_be_read_are_not_shown(page: Watched) -> None:
    page.service.script.extra_flags = Flag.BYPASS  # restored and raw at once
    page.has("[data-key=UNREADABLE]")
    page.stands_still()
    page.service.script.extra_flags = 0
    page.advances(2)
    page.service.script.body = b"not a picture"
    page.stands_still()
    page.service.script.body = None
    page.advances(2)
    page.until("() => !document.querySelector('[data-key=UNREADABLE]')")


def test_a_picture_that_stops_turns_stale_then_no_signal_then_comes_back(fresh: Watched) -> None:
    fresh.service.settings.stale_warn_ms, fresh.service.settings.stale_stop_ms = 400, 1500
    fresh.open()
    fresh.page.evaluate(
        """() => {
            window.states = [];
            const badge = document.querySelector('#badge');
            const note = () => {
                if (window.states.at(-1) !== badge.dataset.state) {
                    window.states.push(badge.dataset.state);
                }
            };
            note();
            new MutationObserver(note).observe(badge, { attributes: true });
        }"""
    )
    fresh.service.script.sending = False
    fresh.shows("NO SIGNAL", "no new picture")
    assert fresh.page.evaluate("window.states")[-2:] == ["STALE", "NO_SIGNAL"]
    assert fresh.page.is_visible("#banner")
    fresh.has("#alarms [data-key=NO_SIGNAL][data-priority=high]")
    look = "getComputedStyle(document.querySelector('#picture')).filter"
    assert "grayscale(1)" in fresh.page.evaluate(look)
    beat = "document.querySelector('#age .hand').getAttribute('transform')"
    still = fresh.page.evaluate(beat)
    fresh.until("() => /[2-9] s ago/.test(document.querySelector('#banner .last').textContent)")
    assert fresh.page.evaluate(beat) == still  # the clock goes on, the beat may not
    assert fresh.page.get_attribute("[data-kind=smoke]", "data-level") == "none"
    fresh.service.script.sending = True
    fresh.shows("RESTORED")
    assert fresh.page.evaluate(look) == "none"
    assert fresh.page.is_hidden("#banner")
    assert fresh.page.evaluate(beat) != still


def test_old_frames_are_called_old_although_they_keep_coming(fresh: Watched) -> None:
    fresh.service.settings.stale_warn_ms = 5_000
    fresh.service.script.age_ms = 9_000
    fresh.open("STALE")
    fresh.has("[data-key=STALE]")
    fresh.until("() => Number(document.querySelector('#age .value').textContent) >= 9")
    fresh.advances(3)
    assert fresh.page.get_attribute("#badge", "data-state") == "STALE"
    fresh.service.script.age_ms = 90_000
    fresh.open(None)
    fresh.shows("NO SIGNAL", "far too late")
    fresh.advances(3)
    assert fresh.page.is_visible("#banner")


def test_the_services_own_word_is_believed(page: Watched) -> None:
    """Its STALE flag; and its signal-lost card, which is no picture."""
    page.service.script.stale = True
    page.shows("STALE")
    page.service.script.stale = False
    page.shows("RESTORED")
    page.service.script.card = True
    page.shows("NO SIGNAL", "source")
    page.stands_still()
    page.service.script.card = False
    page.shows("RESTORED")


def test_scripts_that_stand_still_cannot_keep_a_picture_up(fresh: Watched) -> None:
    """With the page's own loop dead, covers that nobody puts off hide the picture and the badge."""
    fresh.service.settings.stale_stop_ms = 2500
    fresh.open(None)
    fresh.drawn()
    opacity = (
        "['#deadman', '#stall'].map((cover) =>"
        " getComputedStyle(document.querySelector(cover)).opacity)"
    )
    fresh.advances(5)
    assert fresh.page.evaluate(opacity) == ["0", "0"]
    fresh.page.evaluate(
        """() => {
            window.requestAnimationFrame = () => 0;
            window.createImageBitmap = () => new Promise(() => {});
        }"""
    )
    wait(lambda: fresh.page.evaluate(opacity) == ["1", "1"], "both to be hidden")


def test_only_newer_frames_of_this_stream_are_drawn(page: Watched) -> None:
    """Frames that must not be drawn are raw here: one that is drawn shows in the badge."""
    script = page.service.script
    changes: tuple[dict[str, Any], ...] = ({"order": "repeat"}, {"order": "older"}, {"number": 8})
    for change in changes:
        seq = page.seq()
        page.service.script = replace(script, reason=Reason.GUARD, **change)
        page.stands_still()
        assert page.seq() >= seq
        assert page.page.get_attribute("#badge", "data-state") == "RESTORED", change
        if "number" in change:
            page.has("#alarms [data-key=WRONG_STREAM]")
        page.service.script = script
        page.advances(2)
    assert page.is_restored(0.5, 0.5)


def test_a_new_epoch_counts_from_zero_and_is_drawn(page: Watched) -> None:
    page.service.seq = 0
    page.until("() => Number(document.querySelector('#picture').dataset.seq) < 50")
    page.advances(2)


def test_a_still_scene_is_no_frozen_picture(page: Watched) -> None:
    """All frames look alike here; the badge goes by their seq."""
    page.advances(20)
    assert page.page.get_attribute("#badge", "data-state") == "RESTORED"
    assert page.page.query_selector("[data-key]") is None


def test_a_badge_at_the_edge_does_not_flicker(page: Watched) -> None:
    """Fifty stale frames between fresh ones are one stretch of STALE, not fifty."""
    changes = page.page.evaluate(
        """async () => {
            const { Badge, LIMITS } = await import('./badge.js');
            const root = document.querySelector('#badge').cloneNode(true);
            const badge = new Badge(root, document.createElement('p'));
            const states = [];
            for (let at = 0; at < 4000; at += 40) {
                const delayMs = at < 2000 && at % 80 ? 120 : 60;
                const frame = { flags: 1, reason: null };
                const shown = { frame, content: 'output', ageMs: delayMs, quietMs: 0, delayMs };
                states.push(badge.update(shown, LIMITS, at, '').state);
            }
            return states.filter((state, index) => state !== states[index - 1]);
        }"""
    )
    assert changes == ["RESTORED", "STALE", "RESTORED"]


def test_a_lost_connection_is_told_and_mended(fresh: Watched) -> None:
    fresh.service.settings.stale_warn_ms, fresh.service.settings.stale_stop_ms = 300, 600
    fresh.open(None)
    fresh.drawn()
    fresh.service.settings.refuse = True
    fresh.service.cut()
    fresh.explains("connection")
    fresh.shows("NO SIGNAL")
    tries = len(fresh.service.wants)
    wait(lambda: len(fresh.service.wants) > tries, "another try")
    fresh.service.settings.refuse = False
    seq = fresh.seq()
    fresh.until("(seq) => Number(document.querySelector('#picture').dataset.seq) > seq", seq)


def test_every_frame_is_acknowledged_once(page: Watched) -> None:
    time.sleep(0.1)
    wait(lambda: len(page.service.acks) > 20, "acknowledgements")
    assert len(page.service.acks) == len(set(page.service.acks))
