"""The URL, the timeline and what a level means."""

from __future__ import annotations

from fractions import Fraction

import pytest

from server.errors import SettingInvalid
from server.phantom.spec import PhantomSpec, parse


def test_a_bare_phantom_is_the_default() -> None:
    assert parse("phantom:") == PhantomSpec()
    assert parse("phantom://") == PhantomSpec()
    assert parse("phantom:?") == PhantomSpec()


def test_every_option_is_read() -> None:
    spec = parse(
        "phantom:?size=640x361&fps=30000/1001&seconds=7.5&seed=3&episodes=fog,smoke+splash"
        "&level=3&splash=bile&loops=0"
    )
    assert spec == PhantomSpec(
        width=640,
        height=361,
        fps=Fraction(30000, 1001),
        seconds=7.5,
        seed=3,
        episodes=(("fog",), ("smoke", "splash")),
        level=3,
        splash_type="bile",
        loops=0,
    )
    assert spec.frames == 225
    assert parse("phantom:?episodes=none").episodes == ()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:x.mp4", "not a phantom"),
        ("phantom:clip", "'clip'"),
        ("phantom:?size", "key=value"),
        ("phantom:?colour=red", "no option 'colour'"),
        ("phantom:?seed=1&seed=2", "twice"),
        ("phantom:?size=1280", "WIDTHxHEIGHT"),
        ("phantom:?size=-64x64", "WIDTHxHEIGHT"),
        ("phantom:?size=32x64", "out of range"),
        ("phantom:?size=1280x4000", "out of range"),
        ("phantom:?fps=0", "out of range"),
        ("phantom:?fps=1/0", "fps '1/0'"),
        ("phantom:?fps=nan", "fps 'nan'"),
        ("phantom:?fps=1e9", "fps '1e9'"),
        ("phantom:?seconds=0.2", "out of range"),
        ("phantom:?seconds=100000", "out of range"),
        ("phantom:?seed=1.5", "seed '1.5'"),
        ("phantom:?seed=99999999999", "out of range"),
        ("phantom:?seed=-1", "seed '-1'"),
        ("phantom:?level=5", "level 5"),
        ("phantom:?level=0", "level 0"),
        ("phantom:?episodes=smoke,steam", "'steam'"),
        ("phantom:?episodes=smoke,", "''"),
        ("phantom:?episodes=fog+fog", "'fog+fog'"),
        ("phantom:?splash=water", "'water'"),
        ("phantom:?loops=x", "loops 'x'"),
    ],
)
def test_what_is_wrong_is_said(url: str, says: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        parse(url)
    assert says in str(caught.value)
    assert caught.value.do  # and what to do about it
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [1.0, 12.0, 40.0])
def test_the_loop_begins_and_ends_clear_and_episodes_keep_their_order(seconds: float) -> None:
    spec = PhantomSpec(seconds=seconds)
    episodes = spec.timeline()
    assert [episode.kind for episode in episodes] == ["smoke", "fog", "splash"]
    ends = [0.0]
    for episode in episodes:
        assert episode.start_s > ends[-1]
        ends.append(episode.end_s)
    assert ends[-1] < spec.frames / float(spec.fps)


def test_an_episode_rises_holds_and_goes() -> None:
    (smoke,) = PhantomSpec(seconds=10, episodes=(("smoke",),), level=2).timeline()
    assert (smoke.level, smoke.on(smoke.start_s), smoke.on(smoke.end_s)) == (2, False, False)
    hold = smoke.start_s + smoke.rise_s + 0.5 * smoke.hold_s
    assert smoke.on(hold)
    assert (smoke.grown(hold), smoke.gone(hold)) == (1.0, 0.0)
    assert 0.0 < smoke.grown(smoke.start_s + 0.5 * smoke.rise_s) < 1.0
    assert 0.0 < smoke.gone(smoke.end_s - 0.5 * smoke.fall_s) < 1.0


def test_kinds_that_come_together_start_together() -> None:
    episodes = PhantomSpec(episodes=(("smoke", "splash"),)).timeline()
    assert {episode.kind for episode in episodes} == {"smoke", "splash"}
    assert len({episode.start_s for episode in episodes}) == 1
