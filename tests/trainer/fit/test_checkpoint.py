"""Files of a run: whole or not at all, and taken by the zoo's own loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import models
from trainer.fit import checkpoint
from trainer.fit.checkpoint import LAST, halve, load_state, read_about, save_state, save_weights


def test_the_zoo_knows_a_net_by_its_last_checkpoint(tmp_path: Path) -> None:
    net = models.RESTORERS["ramit"].build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_weights(tmp_path / LAST, net, {"recipe": {"name": "x"}})
    again = models.load(tmp_path / LAST)
    for key, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert read_about(tmp_path / LAST) == {"recipe": {"name": "x"}}


def test_a_halved_checkpoint_is_the_same_net_to_sixteen_bits(tmp_path: Path) -> None:
    net = models.RESTORERS["ramit"].build()
    about = {"name": "x", "start": "/home/me/begun.safetensors", "sizes": [1, "a/b"]}
    save_weights(tmp_path / LAST, net, {"recipe": about})
    halve(tmp_path / LAST, tmp_path / "half.safetensors")
    again = models.load(tmp_path / "half.safetensors").state_dict()
    for key, value in net.state_dict().items():
        assert again[key].dtype == value.dtype
        kept = value.half().float() if value.is_floating_point() else value  # indices as they are
        assert torch.equal(again[key], kept), key
    assert read_about(tmp_path / "half.safetensors") == {
        "recipe": {"name": "x", "start": "begun.safetensors", "sizes": [1, "a/b"]}
    }
    sizes = [(tmp_path / name).stat().st_size for name in (LAST, "half.safetensors")]
    assert sizes[1] < 0.5 * sizes[0]


def test_whole_numbers_take_the_fewest_bits_that_hold_them(tmp_path: Path) -> None:
    table = {"a": torch.tensor([0, 255]), "b": torch.tensor([-1, 40_000]), "c": torch.tensor(2**40)}
    save_file(table, tmp_path / LAST, metadata={"surgiclear": "{}"})
    halve(tmp_path / LAST, tmp_path / "half.safetensors")
    narrow = load_file(tmp_path / "half.safetensors")
    assert [narrow[k].dtype for k in "abc"] == [torch.uint8, torch.int32, torch.int64]
    assert all(torch.equal(narrow[k].long(), table[k]) for k in "abc")


def test_a_file_of_another_program_has_no_recipe(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no recipe"):
        read_about(tmp_path / "other.safetensors")


def test_a_write_cut_off_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state(tmp_path, {"step": 1, "recipe": "{}"})

    def cut(value: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(OSError, match="disk full"):
        save_state(tmp_path, {"step": 2, "recipe": "{}"})
    monkeypatch.undo()
    state = load_state(tmp_path, {})
    assert state is not None and state["step"] == 1


def test_a_state_is_unpickled_as_plain_values_only(tmp_path: Path) -> None:
    torch.save({"recipe": "{}", "net": nn.Linear(1, 1)}, tmp_path / checkpoint.STATE)
    with pytest.raises(Exception, match="[Ww]eights.only"):
        load_state(tmp_path, {})


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path, {}) is None
