"""The journal gives back what it was given, and nothing of another file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from readings import SMALL, reading

from trainer.curate.finder import Episode, Finder, Settings
from trainer.curate.journal import Journal, Progress, dump, identity_of, pictures_of, restore

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def hidden(t: float) -> float:
    return 0.7 if 20 <= t < 40 else 0.0


def step(finder: Finder, n: int) -> Episode | None:
    return finder.step(reading(n / 2, hidden(n / 2)), SMALL, lambda: PICTURE)


@pytest.mark.parametrize("at", [6, 37, 50, 79, 83])  # before, in the rise, amid, at the end
def test_a_finder_that_was_put_away_goes_on_as_if_nothing_was(tmp_path: Path, at: int) -> None:
    one = Finder(Settings(), Journal(tmp_path / "one", "x").shelf)
    journal = Journal(tmp_path / "two", "x")
    two = Finder(Settings(), journal.shelf)
    ended: list[list[Episode]] = [[], []]
    for n in range(120):
        if n == at:
            journal.commit(Progress("x", entry=n), two)
            journal = Journal(tmp_path / "two", "x")  # another process
            progress, arrays = journal.load()
            assert progress.entry == n
            two = Finder(Settings(), journal.shelf)
            restore(two, arrays)
            for time_ns in pictures_of(two):
                assert np.array_equal(journal.shelf.get(time_ns), PICTURE)
        for finder, episodes in zip((one, two), ended, strict=True):
            episode = step(finder, n)
            if episode is not None:
                finder.forget(episode)
                episodes.append(episode)
        mine, other = dump(one), dump(two)
        assert mine.keys() == other.keys()
        assert all(np.array_equal(mine[k], other[k]) for k in mine), n
    assert len(ended[0]) == len(ended[1]) == 1
    left, right = ended[0][0], ended[1][0]
    assert (left.start_ns, left.end_ns, left.agreements) == (
        right.start_ns, right.end_ns, right.agreements)  # fmt: skip
    assert [k.time_ns for k in left.frames] == [k.time_ns for k in right.frames]


def test_only_what_the_state_names_stays_on_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "x")
    finder = Finder(Settings(), journal.shelf)
    for n in range(60):
        step(finder, n)
        if n % 20 == 19:
            journal.commit(Progress("x"), finder)
            on_disk = {int(p.stem) for p in tmp_path.glob("*.npy")}
            assert on_disk == pictures_of(finder) and on_disk
    journal.commit(Progress("x", done=True), None)
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]
    assert Journal(tmp_path, "x").load()[0].done


def test_the_state_of_another_file_or_settings_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "x")
    finder = Finder(Settings(), journal.shelf)
    for n in range(30):
        step(finder, n)
    journal.commit(Progress("x", entry=5), finder)
    progress, arrays = Journal(tmp_path / "j", "y").load()
    assert progress == Progress("y") and arrays == {}
    assert not list((tmp_path / "j").glob("*.npy"))
    path = tmp_path / "v.mp4"
    path.write_bytes(b"1")
    first = identity_of(path, Settings())
    path.write_bytes(b"12")
    assert identity_of(path, Settings()) != first
    assert identity_of(path, Settings(every_s=1)) != identity_of(path, Settings())


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "x")
    journal.commit(Progress("x"), None)
    data = (tmp_path / "state.npz").read_bytes()
    (tmp_path / "state.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"state\.npz is damaged"):
        Journal(tmp_path, "x").load()
