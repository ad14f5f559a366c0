"""The zoo as a table to read."""

from __future__ import annotations

from rich.table import Table

from models import RESTORERS


def table() -> Table:
    """One row a network, in the order of RESTORERS."""
    notes = ["GMAC: for one 1280x720 frame. Sides: padded inside to a multiple."]
    notes += [f"{k}, FP16: {s.half_unsafe}." for k, s in RESTORERS.items() if s.half_unsafe]
    out = Table(title="Networks", caption="\n".join(notes), caption_justify="left")
    out.add_column("name", no_wrap=True)
    out.add_column("year", no_wrap=True)
    out.add_column("parameters", justify="right", no_wrap=True)
    out.add_column("GMAC", justify="right", no_wrap=True)
    out.add_column("sides", justify="right", no_wrap=True)
    out.add_column("FP16", no_wrap=True)
    out.add_column("variants")
    out.add_column("original's licence")
    out.add_column("what for")
    for name, spec in RESTORERS.items():
        out.add_row(
            name,
            str(spec.year),
            f"{spec.parameters:,}",
            f"{spec.gmacs_720p:,.1f}",
            f"x{spec.size_multiple}",
            "no" if spec.half_unsafe else "yes",
            ", ".join(spec.variants),
            spec.licence,
            spec.purpose,
        )
    return out
