"""An output file is there whole or not at all, and what went wrong is said in one sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from full_disk import files_of_at_most

from server.errors import OutputIncomplete, SinkUnwritable
from server.whole import Whole, write_error


def test_it_appears_on_commit_and_not_before(tmp_path: Path) -> None:
    with Whole(tmp_path / "out.json") as whole:
        whole.write_bytes(b"{}")
        assert not (tmp_path / "out.json").exists()
        assert whole.temporary.suffix == ".json"
        whole.commit()
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert (tmp_path / "out.json").read_bytes() == b"{}"


def test_what_is_not_committed_goes_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    with pytest.raises(KeyboardInterrupt), Whole(tmp_path / "out") as whole:
        whole.write_bytes(b"new")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "old"


def test_places_that_take_no_file_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "none" / "out", tmp_path / "file" / "out"):
        with pytest.raises(SinkUnwritable):
            Whole(path)


def test_a_device_is_never_replaced_and_a_long_name_is_no_trouble(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SinkUnwritable, match="no ordinary file"):
        Whole(tmp_path / "pipe")
    with Whole(tmp_path / ("x" * 250 + ".mp4")) as whole:
        whole.write_bytes(b"1")
        whole.commit()
    assert whole.path.exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with (
        Whole(tmp_path / "out") as whole,
        pytest.raises(OutputIncomplete, match="no room"),
        files_of_at_most(10_000),
    ):
        whole.write_bytes(b"x" * 20_000)
    assert list(tmp_path.iterdir()) == []


def test_the_sentence_names_the_cause() -> None:
    assert "no room" in str(write_error(Path("a"), OSError(errno.ENOSPC, "…")))
    assert "input/output error" in str(write_error(Path("a"), OSError(errno.EIO, "…")))
