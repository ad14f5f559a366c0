"""The decision file survives a spreadsheet, names its mistakes, and keeps a person's word."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from trainer.curate import decisions
from trainer.curate.decisions import Row

ROW = Row(
    id="a_e001_01", verdict="accept", kind="smoke", level="2", splash_type="", split="train",
    reason="", case="case 1", video='case 1/a, "first".mp4', start_s="4.00", clear_s="1.00",
    frame_s="6.50", end_s="12.00", covered="0.40", agreement="0.80",
    input="candidates/a/e001_01.png", gt="candidates/a/e001_clear.png",
)  # fmt: skip
OTHER = replace(ROW, id="a_e001_02", verdict="reject", reason="it is Ümläuted", gt="")


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    decisions.write(path, [ROW, OTHER])
    assert decisions.read(path) == [ROW, OTHER]
    assert [p.name for p in tmp_path.iterdir()] == ["decisions.csv"]


def test_semicolons_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    plain = replace(ROW, video="a.mp4")
    decisions.write(path, [plain])
    path.write_text(path.read_text(encoding="utf-8-sig").replace(",", ";"), newline="\r\n")
    assert decisions.read(path) == [plain]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "maybe"}, "verdict is 'maybe'"),
        ({"kind": "steam"}, "kind is 'steam'"),
        ({"level": "5"}, "level is '5'"),
        ({"splash_type": "milk"}, "splash_type is 'milk'"),
        ({"split": "validation"}, "split is 'validation'"),
        ({"gt": ""}, "no clear frame"),
    ],
)
def test_what_cannot_be_applied_is_named(tmp_path: Path, change: dict[str, str], said: str) -> None:
    path = tmp_path / "decisions.csv"
    decisions.write(path, [replace(ROW, id="first"), replace(ROW, **change)])
    with pytest.raises(ValueError, match=rf"line 3 \(a_e001_01\): .*{said}"):
        decisions.read(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    with pytest.raises(ValueError, match="run curate first"):
        decisions.read(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="lacks the columns"):
        decisions.read(path)
    decisions.write(path, [ROW, ROW])
    with pytest.raises(ValueError, match="a_e001_01 twice"):
        decisions.read(path)


def test_a_person_s_word_outlives_a_new_run() -> None:
    edited = replace(ROW, verdict="reject", kind="fog", level="3", split="test")
    fresh = [asdict(replace(ROW, covered="0.55")), asdict(OTHER)]
    (first, second) = decisions.merged(fresh, [edited])
    assert first == replace(edited, covered="0.55")
    assert second == OTHER
