"""`surgiclear engines` as a user meets it: text, JSON, exit codes, one line for an error."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundles import tiny_bundle, tiny_fields, tiny_files, tiny_vector

import surgiclear
from engines.bundle import Vector, write
from engines.sign import read_public


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs the command as its entry point does."""

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str | Path) -> Said:
        self.patch.setattr(sys, "argv", ["surgiclear", "engines", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            surgiclear.main()
        text = self.capture.readouterr()
        return Said(exit_.value.code if isinstance(exit_.value.code, int) else -1, *text)


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.setenv("SURGICLEAR_ENGINES", str(tmp_path / "engines"))
    monkeypatch.delenv("SURGICLEAR_KEYS", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(tmp_path / "engines", monkeypatch, capsys)


def test_list_names_the_good_and_the_refused(shell: Shell) -> None:
    tiny_bundle(shell.folder / "tiny")
    bad = tiny_bundle(shell.folder / "bad", name="bad")
    (bad.folder / "CARD.md").write_text("changed")
    said = shell("list")
    assert said.code == 0
    assert "tiny" in said.out
    assert "refused" in said.out
    rows = json.loads(shell("list", "--json").out)
    by_folder = {Path(row["folder"]).name: row for row in rows}
    assert "CARD.md" in by_folder["bad"]["refused"]
    assert by_folder["tiny"]["version"] == "1.0.0"
    assert by_folder["tiny"]["signer"] is None


def test_show_tells_what_it_is(shell: Shell) -> None:
    bundle = tiny_bundle(shell.folder / "tiny", parameters={"t_min": 0.25})
    said = shell("show", "tiny")
    assert said.code == 0
    for text in ("tiny 1.0.0", "t_min = 0.25", "frame: b h w c = 1 x 4 x 6 x 3", "not signed"):
        assert text in said.out
    shown = json.loads(shell("show", bundle.folder, "--json").out)
    assert shown["sha256"] == bundle.sha256


def test_verify_runs_the_self_test(shell: Shell) -> None:
    tiny_bundle(shell.folder / "tiny")
    said = shell("verify", "tiny")
    assert said.code == 0
    assert "restored off by at most 0, allowed 0" in said.out
    wrong = {"restored": tiny_vector().outputs["restored"] ^ 1}
    vector = Vector(tiny_vector().inputs, wrong, 0)
    write(shell.folder / "wrong", tiny_fields(name="wrong"), tiny_files(), vector)
    said = shell("verify", "wrong")
    assert said.code == 1
    assert "off by 1, allowed 0" in said.err
    assert shell("verify", "tiny", "--provider", "abacus").code == 2


def test_a_key_is_made_and_a_bundle_signed(shell: Shell, tmp_path: Path) -> None:
    tiny_bundle(shell.folder / "tiny")
    keys = tmp_path / "keys"
    assert shell("keygen", "--out", keys, "--name", "lab", "--owner", "Lab").code == 0
    key = read_public(keys / "lab.pub")
    assert key.owner == "Lab"
    assert shell("keygen", "--out", keys, "--name", "lab").code == 2  # never overwritten
    strict = ("verify", "tiny", "--require-signature", "--keys", keys)
    assert shell(*strict).code == 1
    assert shell("sign", "tiny", "--key", keys / "lab.key").code == 0
    said = shell(*strict)
    assert said.code == 0
    assert "signed by Lab" in said.out
    assert f"signed by {key.id}, which is not trusted" in shell("show", "tiny").out


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_an_unknown_bundle_is_one_line_and_exit_2(shell: Shell, verb: str) -> None:
    said = shell(verb, "nothing")
    assert said.code == 2
    assert said.err.startswith("surgiclear: no engine is named 'nothing'")
    assert said.err.count("\n") == 1
    assert shell("verify", "nothing", "--keys", "/no/such/folder").code == 2


def test_a_refused_bundle_is_one_line_and_exit_1(shell: Shell) -> None:
    bundle = tiny_bundle(shell.folder / "tiny")
    (bundle.folder / "extra").write_text("x")
    said = shell("verify", "tiny")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "extra" in said.err


def test_a_mistyped_command_is_one_line_and_exit_2(shell: Shell) -> None:
    for words in (["verify"], ["nonsense"], ["list", "--nonsense"]):
        said = shell(*words)
        assert said.code == 2
        assert said.err.startswith("surgiclear: ")
        assert said.err.count("\n") == 1
    assert "Usage" in shell().out
