"""`surgiclear engines` as a user meets it: text, JSON, exit codes, one line for an error."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bundles import tiny_bundle, tiny_fields, tiny_files, tiny_vector
from PIL import Image

import surgiclear
from engines import zoo
from engines.bundle import Vector, write
from engines.plans import PlanCache
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


def test_build_for_the_cpu_runs_the_self_test(shell: Shell) -> None:
    tiny_bundle(shell.folder / "tiny")
    said = shell("build", "tiny", "--for", "cpu")
    assert said.code == 0
    assert "the self-test passes" in said.out


def test_build_leaves_a_plan_and_says_where(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the extra `tensorrt` is not installed")
    monkeypatch.setattr("engines.build.PlanCache", lambda: PlanCache(tmp_path / "plans"))
    tiny_bundle(shell.folder / "tiny")
    said = shell("build", "tiny", "--for", "sm89")
    assert said.code == 0
    assert "tiny for sm89" in said.out
    assert "Building engine" in said.err  # progress, in plain lines
    (place,) = (tmp_path / "plans").iterdir()
    assert str(place) in said.out
    assert "in the cache already" in shell("build", "tiny", "--for", "sm89").out
    assert shell("build", "tiny", "--for", "toaster").code == 1


@pytest.mark.parametrize("size", ["720p", "1280", "x720", "8x8", "1280x72000"])
def test_export_wants_a_size(shell: Shell, size: str) -> None:
    said = shell("export", "focalnet", "--size", size)
    assert said.code == 2
    assert "size" in said.err


def test_export_makes_a_bundle(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[zoo.Order] = []

    def make(order: zoo.Order, out: Path, **rest: Any) -> Any:
        made.append(order)
        rest["progress"]("tracing")
        assert rest["command"].startswith("surgiclear engines export small")
        return SimpleNamespace(bundle=tiny_bundle(out / "tiny"))

    monkeypatch.setattr(zoo, "make", make)
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    said = shell(
        "export", "small", "--size", "1280x720", "--precision", "fp16", "--out", tmp_path / "out",
        "--frames", tmp_path, "--kinds", "smoke,fog",
    )  # fmt: skip
    assert said.code == 0
    assert "tracing" in said.err
    assert f"tiny in {tmp_path / 'out' / 'tiny'}, not signed" in said.out
    assert (made[0].size, made[0].precision, made[0].kinds) == (
        (720, 1280),
        "fp16",
        ("smoke", "fog"),
    )
    assert made[0].frames[0].shape == (8, 8, 3)
    assert shell("export", "large", "--size", "64x64", "--frames", tmp_path / "out").code == 2


def test_a_version_in_use_cannot_be_exchanged_for_an_older_one(
    shell: Shell, tmp_path: Path
) -> None:
    gate = {"name": "psnr", "figure": 26.0, "bound": 25.0, "sense": "least", "unit": "dB"}
    tiny_bundle(shell.folder / "tiny", version="1.2.0", gates=[gate])
    gates = tmp_path / "gates.toml"
    gates.write_text('[psnr]\nat_least = 27\nunit = "dB"\n')
    said = shell("activate", "tiny", "--gates", gates)
    assert said.code == 1
    assert "psnr is 26 dB, asked at least 27" in said.err
    old = tiny_bundle(tmp_path / "tiny-old")
    assert shell("verify", old.folder).code == 0  # nothing was activated
    gates.write_text('[psnr]\nat_least = 26\nunit = "dB"\n')
    assert shell("activate", "tiny", "--gates", gates).code == 0
    said = shell("verify", old.folder)
    assert said.code == 1
    assert "older than 1.2.0" in said.err
