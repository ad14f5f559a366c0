"""The networks: one net, one file, one paper. RESTORERS is the whole table.

Reading the table needs no torch; `Spec.build` does.
"""

from __future__ import annotations

from models.spec import Spec

RESTORERS: dict[str, Spec] = {}
