"""The contact sheet: every candidate beside its clear frame, on one page that a browser opens.

Choices made on the page are saved as a decision file by the browser (a page cannot write into the
folder it lies in); put in place of decisions.csv, `surgiclear curate --apply` takes it.
"""

from __future__ import annotations

import html
import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from engines.restorer import KINDS, SPLASH_TYPES
from trainer.curate.decisions import COLUMNS, VERDICTS, Row
from trainer.curate.mine import thumb

NAME = "contact-sheet.html"

STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:0;background:#16181c;color:#e8e8e8}
header{position:sticky;top:0;background:#22262c;padding:8px 16px;display:flex;gap:16px;
align-items:center;flex-wrap:wrap;z-index:1}
h1{font-size:16px;margin:0}h2{font-size:14px;margin:18px 16px 6px;font-weight:600}
.pairs{display:flex;flex-wrap:wrap;gap:10px;padding:0 16px}
figure{margin:0;background:#22262c;border-left:5px solid #3fa45b;padding:6px;border-radius:4px}
figure.reject{border-left-color:#c2574e}figure.reject img{opacity:.55}
img{width:240px;display:block;background:#000}.two{display:flex;gap:2px}
.none{width:240px;display:grid;place-items:center;background:#000;color:#999}
figcaption{font-size:12px;margin-top:4px;max-width:482px}
select,button{font:inherit;font-size:12px;background:#16181c;color:inherit;border:1px solid #555;
border-radius:3px;padding:2px 4px}.why{color:#e0a39d}
"""
# rows: the decision file as it was; each select knows its row and column
SCRIPT = """
const rows=JSON.parse(document.getElementById('rows').textContent);
const columns=JSON.parse(document.getElementById('columns').textContent);
const changed=document.getElementById('changed');let count=0;
for(const s of document.querySelectorAll('select'))s.addEventListener('change',()=>{
 rows[s.dataset.row][s.dataset.column]=s.value;count++;
 changed.textContent=count+' changes, not saved';
 if(s.dataset.column==='verdict')s.closest('figure').className=s.value;});
const cell=v=>/[",\\n;]/.test(v)?'"'+v.replaceAll('"','""')+'"':v;
document.getElementById('save').addEventListener('click',()=>{
 const lines=[columns.join(','),...rows.map(r=>columns.map(c=>cell(r[c])).join(','))];
 const a=document.createElement('a');
 a.href=URL.createObjectURL(new Blob(['\\ufeff'+lines.join('\\r\\n')+'\\r\\n'],{type:'text/csv'}));
 a.download='decisions.csv';a.click();URL.revokeObjectURL(a.href);
 count=0;changed.textContent='saved: put it in place of decisions.csv, then --apply';});
"""


def write(out: Path, rows: Sequence[Row]) -> Path:
    """The page, beside the decision file; it shows the small copies of the candidates."""
    beside = out / f"{NAME}.part"
    beside.write_text(page(rows), encoding="utf-8")
    beside.replace(out / NAME)
    return out / NAME


def page(rows: Sequence[Row]) -> str:
    """The whole page as text."""
    kinds = Counter(row.kind for row in rows if row.verdict == "accept")
    counts = ", ".join(f"{kinds[k]} {k}" for k in KINDS)
    body = []
    numbered = list(enumerate(rows))
    for (video, start), group in itertools.groupby(
        numbered, key=lambda entry: (entry[1].video, entry[1].start_s)
    ):
        members = list(group)
        first = members[0][1]
        when = f"{_clock(start)} to {_clock(first.end_s)}"
        body.append(f"<h2>{_safe(video)} &middot; {when} &middot; case {_safe(first.case)}</h2>")
        body.append('<div class="pairs">')
        body += [_figure(number, row) for number, row in members]
        body.append("</div>")
    data = json.dumps([asdict(row) for row in rows]).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Surgiclear: contact sheet</title>
<style>{STYLE}</style>
<header><h1>Contact sheet</h1><span>{len(rows)} candidates; accepted: {counts}</span>
<button id="save">Save decisions.csv</button><span id="changed"></span></header>
{os.linesep.join(body)}
<script type="application/json" id="rows">{data}</script>
<script type="application/json" id="columns">{json.dumps(COLUMNS)}</script>
<script>{SCRIPT}</script>
</html>
"""


def _figure(number: int, row: Row) -> str:
    clear = f'<img loading="lazy" src="{_safe(thumb(row.gt))}" alt="clear frame before">'
    if not row.gt:
        clear = '<span class="none">no clear frame</span>'
    selects = (
        _select(number, "verdict", VERDICTS, row.verdict),
        _select(number, "kind", KINDS, row.kind),
        _select(number, "level", ("1", "2", "3", "4"), row.level),
        _select(number, "splash_type", ("", *SPLASH_TYPES), row.splash_type),
        _select(number, "split", ("train", "test"), row.split),
    )
    why = f'<div class="why">{_safe(row.reason)}</div>' if row.reason else ""
    before = ""
    if row.clear_s:
        before = f", clear frame {float(row.frame_s) - float(row.clear_s):.1f} s before"
    return (
        f'<figure class="{row.verdict}"><div class="two">'
        f'<img loading="lazy" src="{_safe(thumb(row.input))}" alt="degraded frame">{clear}</div>'
        f"<figcaption>{' '.join(selects)}<div>at {_clock(row.frame_s)}{before}; covered "
        f"{_safe(row.covered)}, agreement {_safe(row.agreement)}</div>{why}</figcaption></figure>"
    )


def _select(number: int, column: str, options: Sequence[str], chosen: str) -> str:
    inner = "".join(
        f'<option value="{o}"{" selected" if o == chosen else ""}>{o or "-"}</option>'
        for o in options
    )
    return f'<select data-row="{number}" data-column="{column}" title="{column}">{inner}</select>'


def _clock(seconds: str) -> str:
    whole, rest = divmod(float(seconds), 60)
    return f"{int(whole)}:{rest:04.1f}"


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
