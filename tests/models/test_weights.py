"""Checkpoints of every shape and kind: recognised, loaded strictly, or refused by name."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from golden import shared
from safetensors.torch import save_file

import models
from models import RESTORERS
from models.weights import ForeignWeights, UnreadableWeights, WeightsError, read, recognise

Table = dict[str, torch.Tensor]
VARIANTS = [(name, variant) for name, spec in RESTORERS.items() for variant in spec.variants]
OFFICIAL = {
    "mambair": ("mambair", "train"),
    "mambair_default": ("mambair", "default"),
    "mambair_testyml": ("mambair", "testyml"),
    "xrestormer": ("xrestormer", "train"),
    "xrestormer_default": ("xrestormer", "default"),
}


@pytest.fixture(scope="module")
def table() -> Table:
    """Weights of the smallest network."""
    torch.manual_seed(5)
    return RESTORERS["ramit"].build().state_dict()


def saved(folder: Path, held: object) -> Path:
    path = folder / "weights.pth"
    torch.save(held, path)
    return path


def assert_same(net: torch.nn.Module, table: Table) -> None:
    assert type(net).__name__ == "RAMiT"
    assert not net.training
    for key, value in net.state_dict().items():
        assert torch.equal(value, table[key]), key


def test_reading_the_table_needs_no_torch() -> None:
    code = "import sys, models; models.RESTORERS; models.load; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(models.__file__).parents[1])


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_variant_is_told_by_its_shapes(name: str, variant: str) -> None:
    with torch.device("meta"):
        state = RESTORERS[name].build(variant).state_dict()
    assert recognise({key: tuple(value.shape) for key, value in state.items()}) == (name, variant)


@pytest.mark.parametrize("folder", [*OFFICIAL, *(n for n in RESTORERS if n not in OFFICIAL)])
def test_the_official_key_lists_are_recognised(folder: str) -> None:
    path = shared() / folder / "keys.json"
    if not path.is_file():
        pytest.skip(f"no official key list of {folder}")
    keys = json.loads(path.read_text())["keys"]
    want = OFFICIAL.get(folder, (folder, "default"))
    assert recognise({key: tuple(shape) for key, shape, _ in keys}) == want


@pytest.mark.parametrize("wrap", ["params", "params_ema", "state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_every_wrapping_is_taken_off(
    table: Table, tmp_path: Path, wrap: str | None, prefix: str
) -> None:
    held: object = {prefix + key: value for key, value in table.items()}
    if wrap:
        held = {wrap: held, "iter": 100, "optimizer": {"lr": 1e-4}}
    assert_same(models.load(saved(tmp_path, held)), table)


def test_raw_weights_come_before_averaged_ones_unless_asked(table: Table, tmp_path: Path) -> None:
    averaged = {k: v + 1 if v.is_floating_point() else v for k, v in table.items()}
    path = saved(tmp_path, {"params_ema": averaged, "params": table})
    assert_same(models.load(path), table)
    assert_same(models.load(path, ema=True), averaged)
    assert_same(models.load(saved(tmp_path, {"params": table}), ema=True), table)


def test_safetensors_are_read(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in table.items()}, path)
    assert_same(models.load(path), table)
    assert_same(models.load(str(path)), table)


def test_half_precision_is_widened(table: Table, tmp_path: Path) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in table.items()}
    net = models.load(saved(tmp_path, half))
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert_same(net, {k: v.float() if v.is_floating_point() else v for k, v in half.items()})


def test_a_steering_branch_comes_where_it_is_asked_for(tmp_path: Path) -> None:
    both = RESTORERS["focalnet"].build("steered").state_dict()
    own = {key: value for key, value in both.items() if not key.startswith("steer.")}
    path = saved(tmp_path, {"params": both})
    for steered, name, want in ((False, "FocalNet", own), (True, "Steered", both)):
        net = models.load(path, steered=steered)
        assert type(net).__name__ == name
        assert net.state_dict().keys() == want.keys()
        assert all(torch.equal(v, want[k]) for k, v in net.state_dict().items())
    bare = saved(tmp_path, {"params": own})
    assert type(models.load(bare, steered=True)).__name__ == "FocalNet"


def test_a_name_gives_fresh_weights() -> None:
    assert type(models.load("ramit")).__name__ == "RAMiT"
    count = sum(p.numel() for p in models.load("mambair:testyml").parameters())
    assert count == 1_715_811
    with pytest.raises(ValueError, match="has variants"):
        models.load("ramit:enormous")


def test_a_name_of_nothing_is_refused() -> None:
    with pytest.raises(UnreadableWeights, match=r"neither a file nor .*ramit, focalnet"):
        models.load("ramitt")


def test_what_is_wrong_is_said(table: Table, tmp_path: Path) -> None:
    first, second, *_ = table
    odd = {**table, "stranger.weight": torch.zeros(2), second: torch.zeros(7)}
    del odd[first]
    with pytest.raises(ForeignWeights) as caught:
        models.load(saved(tmp_path, {"params": odd}))
    nearest = caught.value.nearest
    assert (nearest.name, nearest.variant) == ("ramit", "default")
    assert nearest.missing == (first,)
    assert nearest.unexpected == ("stranger.weight",)
    assert nearest.reshaped == {second: ((7,), tuple(table[second].shape))}
    message = str(caught.value)
    assert "weights.pth" in message
    assert f"ramit (default): 1 missing ({first}); 1 unexpected (stranger.weight)" in message
    assert f"{second} is (7,), not {tuple(table[second].shape)}" in message


def test_the_nearest_is_the_one_with_the_same_keys() -> None:
    """A configuration that the table has not: keys of one network, other widths."""
    from models.restormer import Restormer

    state = Restormer(width=16).state_dict()
    with pytest.raises(ForeignWeights) as caught:
        recognise({key: tuple(value.shape) for key, value in state.items()})
    nearest = caught.value.nearest
    assert nearest.name == "restormer"
    assert not nearest.missing
    assert not nearest.unexpected
    assert "..." in str(caught.value)  # hundreds of shapes are not all named


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_no_code_in_a_checkpoint_is_run(table: Table, tmp_path: Path) -> None:
    struck = tmp_path / "struck"
    for held in (Bomb(struck), {"params": table, "extra": Bomb(struck)}):
        with pytest.raises(UnreadableWeights, match="not a checkpoint of tensors"):
            models.load(saved(tmp_path, held))
        plain = tmp_path / "plain.pth"
        plain.write_bytes(pickle.dumps(held))
        with pytest.raises(UnreadableWeights, match="not a checkpoint of tensors"):
            models.load(plain)
    assert not struck.exists()


@pytest.mark.parametrize("name", ["bad.pth", "bad.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"<html>not found</html>", b"PK\x03\x04"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableWeights, match=name):
        models.load(path)


def test_a_truncated_checkpoint_is_refused(table: Table, tmp_path: Path) -> None:
    path = saved(tmp_path, table)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnreadableWeights):
        models.load(path)


@pytest.mark.parametrize("held", [{}, [1, 2], torch.zeros(3), {"params": {}}, {"epoch": 3}])
def test_no_tensors_are_refused(tmp_path: Path, held: object) -> None:
    with pytest.raises(UnreadableWeights, match="holds no table of tensors"):
        read(saved(tmp_path, held))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    table: Table, tmp_path: Path, value: float
) -> None:
    key = next(key for key, kept in table.items() if kept.dim() == 4)
    broken = table[key].clone()
    broken[0, 0, 0, 0] = value
    with pytest.raises(UnreadableWeights, match=f"{key} holds NaN or infinity"):
        models.load(saved(tmp_path, {**table, key: broken}))


def test_all_refusals_are_one_kind() -> None:
    assert issubclass(UnreadableWeights, WeightsError)
    assert issubclass(ForeignWeights, WeightsError)
    assert issubclass(WeightsError, ValueError)
