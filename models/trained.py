"""Weights that ship with the package: one file a network, with its card beside it (Markdown).

They are research weights, trained on little data; the card says on what, how far, and what they
do worse than leaving the picture alone.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "trained"


def trained(name: str) -> Path:
    """The checkpoint of a network by its name in RESTORERS, for `models.load` and --weights.

    Raises FileNotFoundError where none ships.
    """
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        others = ", ".join(sorted(p.stem for p in FOLDER.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(f"no trained weights of {name!r} ship with the package: {others}")
    return path
