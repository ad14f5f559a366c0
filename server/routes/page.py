"""GET /: the operator's page, from this installation, with nothing fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

FOLDER = Path(__file__).parent.parent.parent / "clients" / "web"  # the same in a wheel


def install(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serves the page's files at the root; after all other routes, which go first."""
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(f"the operator's page is not in {folder}")
    app.mount("/", StaticFiles(directory=folder, html=True), name="page")
