"""The decision file: one row for each candidate pair, for a person to edit in a spreadsheet.

`accept` in the column `verdict` puts the pair into the data set, anything else leaves it out; kind,
level, splash_type and split may be changed; the other columns are what the tool measured.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from engines.restorer import KINDS, SPLASH_TYPES

NAME = "decisions.csv"
VERDICTS = ("accept", "reject")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One candidate. input, gt: pictures, relative to the decision file (gt empty where no clear
    frame was found); agreement: of structure between the two, 0.3 and less is another view."""

    id: str
    verdict: str
    kind: str
    level: str
    splash_type: str
    split: str
    reason: str
    case: str
    video: str
    start_s: str
    clear_s: str
    frame_s: str
    end_s: str
    covered: str
    agreement: str
    input: str
    gt: str


COLUMNS = tuple(f.name for f in fields(Row))


def read(path: Path) -> list[Row]:
    """Raises ValueError, which names the line, for what cannot be applied."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError as error:
        raise ValueError(f"{path} is not there: run curate first") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error
    # spreadsheets of some countries write semicolons
    first = text.split("\n", 1)[0]
    table = csv.DictReader(text.splitlines(), delimiter=";" if ";" in first else ",")
    missing = set(COLUMNS) - set(table.fieldnames or ())
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    rows = []
    for number, raw in enumerate(table, start=2):
        row = Row(**{name: (raw[name] or "").strip() for name in COLUMNS})
        _hold(row, f"{path}, line {number} ({row.id})")
        rows.append(row)
    ids = [row.id for row in rows]
    twice = {i for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else set()
    if twice:
        raise ValueError(f"{path} has {sorted(twice)[0]} twice")
    return rows


def _hold(row: Row, where: str) -> None:
    if row.verdict not in VERDICTS:
        raise ValueError(f"{where}: verdict is {row.verdict!r}, not one of {', '.join(VERDICTS)}")
    if row.kind not in KINDS:
        raise ValueError(f"{where}: kind is {row.kind!r}, not one of {', '.join(KINDS)}")
    if row.level not in ("1", "2", "3", "4"):
        raise ValueError(f"{where}: level is {row.level!r}, not 1 to 4")
    if row.splash_type and row.splash_type not in SPLASH_TYPES:
        known = ", ".join(SPLASH_TYPES)
        raise ValueError(f"{where}: splash_type is {row.splash_type!r}, not one of {known}")
    if row.split not in ("train", "test"):
        raise ValueError(f"{where}: split is {row.split!r}, not train or test")
    if row.verdict == "accept" and not row.gt:
        raise ValueError(f"{where}: cannot be accepted, it has no clear frame")


def write(path: Path, rows: Iterable[Row]) -> None:
    """The whole file at once. The byte order mark makes spreadsheets take it for UTF-8."""
    beside = path.with_suffix(".part")
    with beside.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for row in rows:
            table.writerow({name: getattr(row, name) for name in COLUMNS})
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def merged(fresh: Iterable[Mapping[str, str]], old: Iterable[Row]) -> list[Row]:
    """Fresh candidates, with what a person has decided about those that were there before."""
    decided = {row.id: row for row in old}
    out = []
    for facts in fresh:
        row = Row(**facts)
        before = decided.get(row.id)
        if before is not None:
            row = replace(
                row, verdict=before.verdict, kind=before.kind, level=before.level,
                splash_type=before.splash_type, split=before.split,
            )  # fmt: skip
        out.append(row)
    return out
