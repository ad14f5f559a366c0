"""The zoo's table, as `surgiclear models` prints it."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO

from rich.console import Console

from models import RESTORERS
from models.table import table


def test_every_network_has_a_row_with_its_facts() -> None:
    out = StringIO()
    Console(file=out, width=400).print(table())
    lines = out.getvalue().splitlines()
    assert all(s.half_unsafe in out.getvalue() for s in RESTORERS.values() if s.half_unsafe)
    for name, spec in RESTORERS.items():
        (row,) = [line for line in lines if f"│ {name} " in line]
        for fact in (str(spec.year), f"{spec.parameters:,}", spec.licence, spec.purpose):
            assert fact in row


def test_the_verb_prints_it_without_torch() -> None:
    code = (
        "import sys; sys.argv = ['surgiclear', 'models']\n"
        "import surgiclear\n"
        "try: surgiclear.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in RESTORERS)
