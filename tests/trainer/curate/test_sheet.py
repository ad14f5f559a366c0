"""The contact sheet shows every candidate, and nothing in a file name can break out of it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

from trainer.curate.decisions import Row
from trainer.curate.sheet import page, write

ROW = Row(
    id="x_e001_01", verdict="accept", kind="smoke", level="2", splash_type="", split="train",
    reason="", case="c", video="v.mp4", start_s="61.00", clear_s="58.00", frame_s="65.00",
    end_s="70.00", covered="0.4", agreement="0.8", input="candidates/x/a.png",
    gt="candidates/x/b.png",
)  # fmt: skip


def test_every_candidate_is_shown_with_its_choice(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, id="y", verdict="reject", reason="a camera cut", gt="", clear_s="")]
    text = write(tmp_path, rows).read_text()
    assert text.count("<figure") == 2 and text.count("<h2>") == 1
    assert 'src="candidates/x/a.thumb.jpg"' in text and "no clear frame" in text
    assert "a camera cut" in text and "1:01.0 to 1:10.0" in text and "7.0 s before" in text
    assert '<option value="reject" selected>' in text and '<option value="2" selected>' in text


def test_names_cannot_break_out_of_the_page() -> None:
    evil = '"><script>alert(1)</script></script>'
    text = page([replace(ROW, video=evil, reason=evil, case=evil)])
    assert "<script>alert" not in text
    data = re.search(r'id="rows">(.*?)</script>', text, re.S)
    assert data is not None
    assert json.loads(data[1])[0] == asdict(replace(ROW, video=evil, reason=evil, case=evil))
