"""The runs of veil: each begins with the last of the one before, the head comes at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from training import FAST, drawn, scene, veiled

import models
from engines.picture import Rgb
from models.veil import Veil
from trainer.datasets.scenes import ClearFrame, patient_of
from trainer.feed.data import read
from trainer.fit.checkpoint import BEST, LAST, STATE, read_about, save_weights
from trainer.presence import GROUPS, Fitted, group
from trainer.recipes import FOLDS, RECIPES, veil_fold
from trainer.release import unseen
from trainer.tasks import veil
from trainer.tasks.distill import Distill
from trainer.tasks.job import Recipe
from trainer.tasks.run import Settings, changed, run
from trainer.tasks.veil import PRESENCE, TrainVeil, VeilJudge, VeilTask, trained


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames of a training patient of each group and one held out; scenes 1 (left out by fold
    0), 6 and 11."""
    root = tmp_path_factory.mktemp("veil") / "data"
    (root / "clean").mkdir(parents=True)
    wanted: list[int | None] = [*range(GROUPS), None]
    for n in range(300):
        frame = ClearFrame(root, patient_of(f"artnet_P{n}_f0.jpg"))
        kind = None if frame.held_out else group(frame.patient)
        if kind in wanted:
            wanted.remove(kind)
            pixels = scene(n, 180, 320)
            pixels[..., n % 3] //= 8  # a dark channel: fit to degrade
            for k in range(2):
                path = root / "clean" / f"artnet_P{n}_f{k}.jpg"
                assert cv2.imwrite(str(path), pixels[..., ::-1])
    assert not wanted
    rows = ["scene,smoky,clear,ncc"]
    for number in (1, 6, 11):
        folder = root / "pairs" / f"scene{number:02d}"
        folder.mkdir(parents=True)
        clear = scene(number, 180, 320)
        assert cv2.imwrite(str(folder / "clear_000.jpg"), clear)
        assert cv2.imwrite(str(folder / "smoky_001.jpg"), veiled(clear))
        rows.append(f"{number},{folder.name}/smoky_001.jpg,{folder.name}/clear_000.jpg,0.9")
    (root / "pairs" / "pairs.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(autouse=True)
def small_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(veil, "Veil", small)


def small() -> Veil:
    return Veil(widths=(8, 8, 16, 16))


def short(recipe: Recipe, *, steps: int = 2) -> Recipe:
    assert isinstance(recipe.job, TrainVeil)
    looks = 2 * GROUPS if recipe.job.looks else 0
    after = recipe.job.after and "veil-synthetic"
    plan = replace(recipe.plan, steps=steps, batch=2, workers=0, save_every=2, judge_every=9)
    return replace(recipe, job=replace(recipe.job, looks=looks, after=after), plan=plan)


Train = Callable[..., Path | None]


@pytest.fixture
def train(root: Path, tmp_path: Path) -> Train:
    def call(
        recipe: Recipe, *, resume: bool = False, dry: bool = False, said: StringIO | None = None
    ) -> Path | None:
        console = Console(file=said or StringIO(), width=200)
        return run(recipe, read(root), tmp_path, resume=resume, dry=dry, console=console)

    return call


def test_a_run_begins_with_the_one_before_and_ends_with_a_head(
    train: Train, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"train veil-synthetic first.*--start"):
        train(short(RECIPES["veil"]()))
    begun = train(short(RECIPES["veil-synthetic"]()))
    assert begun == tmp_path / "veil-synthetic" / LAST and not begun.with_name(PRESENCE).exists()
    said = StringIO()
    done = train(short(RECIPES["veil"]()), said=said)
    assert done == tmp_path / "veil" / LAST
    # two steps of a rate that still rises
    before, after = (trained(p).state_dict()["inject.weight"] for p in (begun, done))
    assert 0 < (before - after).abs().max() < 5e-3
    assert Fitted.load(done.with_name(PRESENCE)).alone.shape == (GROUPS, 3)
    about = read_about(done)["recipe"]
    assert about["job"]["after"] == "veil-synthetic" and about["job"]["start"] is None
    assert about["job"]["mix"]["real"] == 0.42 and about["plan"]["steps"] == 2
    assert "psnr" in read_about(done.with_name(BEST))["figures"]
    assert "scenes: 11 items to train on, 2 kept aside" in said.getvalue()


def test_what_publishes_and_judges_reads_the_last_weights(
    train: Train, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"veil-fold0/presence\.pt is missing"):
        unseen(tmp_path, root)
    train(short(RECIPES["veil-synthetic"]()))
    done = train(short(RECIPES["veil"]()))
    assert done is not None
    for number in range(len(FOLDS)):
        shutil.copytree(done.parent, tmp_path / f"veil-fold{number}")
    seen = Rgb(scene(7, 90, 160))
    judged = unseen(tmp_path, root)("6").analyse(seen)
    assert np.isfinite(judged.maps).all()
    with torch.no_grad():
        trained_net = trained(done)
        last = trained_net.local[2]
        assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
        last.bias.add_(2.0)
    save_weights(tmp_path / "veil-fold1" / LAST, trained_net, {})
    other = unseen(tmp_path, root)("6").analyse(seen)  # scene 6 is fold 1's
    assert np.abs(other.maps - judged.maps).max() > 1e-3


def test_start_overrides_where_a_run_begins(train: Train, tmp_path: Path) -> None:
    begun = train(short(RECIPES["veil-synthetic"]()))
    assert begun is not None
    moved = begun.rename(tmp_path / "mine.safetensors")
    done = train(changed(short(RECIPES["veil-further"]()), Settings(start=str(moved))))
    assert done is not None and read_about(done)["recipe"]["job"]["start"] == str(moved)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, moved)
    with pytest.raises(ValueError, match="other weights than veil's"):
        train(changed(short(RECIPES["veil-synthetic"]()), Settings(start=str(moved))), dry=True)


def test_a_head_is_made_on_resume_and_anew_for_other_weights(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(short(RECIPES["veil-synthetic"]()))
    done = train(short(RECIPES["veil"]()))
    assert done is not None
    head = done.with_name(PRESENCE)
    first = head.read_bytes()
    head.unlink()
    weights = done.read_bytes()
    (tmp_path / "veil-synthetic" / LAST).unlink()  # no longer needed
    assert train(short(RECIPES["veil"]()), resume=True) == done
    assert done.read_bytes() == weights
    alone = Fitted.load(head).alone
    before = head.stat().st_mtime_ns
    train(short(RECIPES["veil"]()), resume=True)
    assert head.stat().st_mtime_ns == before, "a head that fits the weights stays"
    train(short(RECIPES["veil"](), steps=4), resume=True)
    assert not torch.equal(Fitted.load(head).alone, alone) and head.read_bytes() != first

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the power goes")

    monkeypatch.setattr(veil, "fit_presence", broken)
    with pytest.raises(RuntimeError, match="power"):
        train(short(RECIPES["veil"](), steps=6), resume=True)
    assert not head.exists(), "the head of the weights before must not stay beside these"


def test_a_run_that_cannot_go_on_is_not_overwritten(train: Train, tmp_path: Path) -> None:
    done = train(short(RECIPES["veil-synthetic"]()))
    assert done is not None
    with pytest.raises(FileExistsError, match="--resume"):
        train(short(RECIPES["veil-synthetic"]()))
    done.with_name(STATE).unlink()
    for resume, said in ((False, "--resume"), (True, "takes to go on")):
        with pytest.raises(FileExistsError, match=said):
            train(short(RECIPES["veil-synthetic"]()), resume=resume)


def test_a_dry_run_tells_of_samples_without_an_end(train: Train, tmp_path: Path) -> None:
    said = StringIO()
    assert train(short(RECIPES["veil-synthetic"]()), dry=True, said=said) is None
    assert "samples without an end; 2 steps of 2" in said.getvalue()
    assert "pictures   2 3 144 768" in said.getvalue() and not list(tmp_path.iterdir())


def test_a_fold_never_sees_its_scenes(root: Path) -> None:
    def scenes(recipe: Recipe) -> set[str]:
        assert isinstance(recipe.job, TrainVeil)
        return {p.scene for p in recipe.job.source(read(root)).real}

    assert scenes(RECIPES["veil"]()) == {"1", "6", "11"}
    assert scenes(veil_fold(0)) == {"6", "11"} and scenes(veil_fold(2)) == {"1", "6"}
    assert not scenes(RECIPES["veil-further"]())
    job = RECIPES["veil"]().job
    assert isinstance(job, TrainVeil)
    held_out = {i.scene for i in job.halves(read(root))[1]}
    assert held_out and not held_out & {c.patient for c in job.source(read(root)).clear}


def test_damaged_files_are_left_out(root: Path) -> None:
    data = read(root)
    gone = root / "pairs" / "scene06" / "smoky_001.jpg", data.items[0].files[0]
    data = replace(data, items=tuple(i for i in data.items if not set(gone) & set(i.files)))
    job = RECIPES["veil"]().job
    assert isinstance(job, TrainVeil)
    samples = job.source(data)
    assert {p.scene for p in samples.real} == {"1", "11"}
    assert len(samples.clear) == 2 * GROUPS - (1 if data.found.items[0].split == "train" else 0)


def test_the_judge_sees_what_a_net_does() -> None:
    judge = VeilJudge(drawn(), count=3)
    net = small().eval()
    with torch.no_grad():
        net.exposure.bias.fill_(-9.0)  # as dark as it can be
    assert judge(net)["score"] < judge(small().eval())["score"]


def test_pictures_are_input_restored_truth() -> None:
    batch = torch.utils.data.default_collate([drawn()[n] for n in range(2)])
    task = VeilTask(small(), FAST)
    rows = task.pictures(task.nets["net"].eval(), batch)
    x, out, truth = rows.chunk(3, 3)
    assert torch.equal(x, batch["image"]) and torch.equal(truth, batch["clear"])
    assert not torch.equal(out, x) and out.shape == x.shape


def test_the_zoo_and_distillation_take_the_checkpoint(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(veil, "Veil", Veil)  # the zoo knows the whole net alone
    done = train(short(RECIPES["veil-synthetic"](), steps=1))
    assert done is not None
    want = trained(done).state_dict()
    job = Distill(optimiser=FAST, teacher="focalnet", start=str(done))
    for net in (models.load(done), job.build().nets["net"]):
        assert all(torch.equal(want[k], v) for k, v in net.state_dict().items())


def test_a_missing_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="surgiclear train veil-fold1 makes it"):
        trained(tmp_path / "veil-fold1" / LAST)
