"""The client stands alone: it imports nothing of the service, and installs with what it names."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "clients" / "python"
ALLOWED = {"httpx", "numpy", "simplejpeg", "websockets", "surgiclear_client"}


def test_it_imports_only_what_its_project_file_names() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    named = {name.split(">")[0] for name in project["dependencies"]}
    assert named == ALLOWED - {"surgiclear_client"}
    for path in sorted((FOLDER / "surgiclear_client").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in (n.split(".")[0] for n in names):
                optional = name == "PIL" and path.name == "rest.py"
                assert name in ALLOWED | sys.stdlib_module_names or optional, f"{path.name}: {name}"


def test_it_is_typed_and_its_examples_run_through_the_compiler() -> None:
    assert (FOLDER / "surgiclear_client" / "py.typed").is_file()
    examples = sorted((FOLDER / "examples").glob("*.py"))
    assert len(examples) == 3
    for path in examples:
        compile(path.read_text(), str(path), "exec")


def test_the_names_it_offers_are_there() -> None:
    import surgiclear_client

    assert all(hasattr(surgiclear_client, name) for name in surgiclear_client.__all__)
