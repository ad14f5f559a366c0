"""The house rules: which room may import which, and whose names are ours."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "models": {"models"},
    "engines": {"models", "engines"},
    "server": {"models", "engines", "server"},
    "trainer": {"models", "engines", "trainer"},
}
TORCH_FREE = ("server", "engines")  # at import time; engines/eager.py and export need it by name
WEIGHTS = (".onnx", ".safetensors", ".npz", ".json")
NEEDS_TORCH = {"engines/eager.py", "engines/export.py"}


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    """First names of the modules that a file imports (type-checking imports left out)."""
    tree = ast.parse(path.read_text())
    nodes: list[ast.AST] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        nodes.append(node)
        stack.extend(ast.iter_child_nodes(node))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_along_the_arrows(room: str) -> None:
    assert files(room)
    for path in files(room):
        foreign = (imported(path) & set(ROOMS)) - ROOMS[room]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_the_run_time_imports_no_torch() -> None:
    for room in TORCH_FREE:
        for path in files(room):
            name = str(path.relative_to(ROOT))
            if name in NEEDS_TORCH:
                continue
            assert "torch" not in imported(path), f"{name} imports torch"


def test_no_relative_imports() -> None:
    for room in ROOMS:
        for path in files(room):
            tree = ast.parse(path.read_text())
            relative = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]
            assert not relative, f"{path.relative_to(ROOT)} imports relatively"


def test_an_import_against_the_arrow_is_seen(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f():\n    from server.frame import Frame\n")
    assert "server" in imported(wrong)


def test_no_weights_tell_whose_machine_made_them() -> None:
    """Exporters and trainers note files and lines; what ships must not."""
    trace = re.compile(rb'\.py", line \d|(?<![\w.])/(?:home|root|tmp|work|Users)/[\w.-]+/')
    assert trace.search(b'File "x/conv.py", line 3') and trace.search(b'"/home/me/a.pt"')
    kept = [p for room in ROOMS for p in (ROOT / room).rglob("*") if p.suffix in WEIGHTS]
    assert len(kept) >= 3
    told = [p.name for p in kept if trace.search(p.read_bytes())]
    assert not told


def test_no_other_distribution_ships_our_names() -> None:
    ours = {*ROOMS, "surgiclear"}
    owners = metadata.packages_distributions()
    for name in ours:
        others = set(owners.get(name, [])) - {"surgiclear"}
        assert not others, f"{name} is also shipped by {others}"
