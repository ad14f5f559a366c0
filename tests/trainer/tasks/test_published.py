"""Every family of recipes trains from every published layout that fits it, and is judged on what
the publishers keep for testing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trees
from rich.console import Console
from safetensors.torch import save_file
from training import FAST, Noisy

import models
from models.selfsvd import SelfSVD
from models.veil import Veil
from trainer.datasets.cache import PictureDamaged
from trainer.feed.clips import Clips
from trainer.feed.data import Need, read
from trainer.feed.pairs import Kept, Shot
from trainer.fit.checkpoint import LAST, read_about
from trainer.tasks import distill, finetune, restore, unpaired, veil, video
from trainer.tasks.critic import Critic, Generator
from trainer.tasks.gate import Bounds
from trainer.tasks.job import Recipe
from trainer.tasks.recipes import RECIPES
from trainer.tasks.run import run

Make = Callable[[Path], Path]


def desmokedata(root: Path) -> Path:
    return trees.desmokedata(root, 160)  # the last eleven are of a block that is kept aside


PAIRS: tuple[Make, ...] = (
    trees.surgclean, desmokedata, trees.see_through_smoke, trees.pair_halves, trees.scenes,
    trees.lsvd,
)  # fmt: skip
CLIPS: tuple[Make, ...] = (trees.lsvd, trees.scenes, trees.clip_folders)
POOLS: tuple[Make, ...] = (trees.desmoke_lap, trees.surgclean, trees.scenes, trees.lsvd)
FAMILIES: dict[str, tuple[Make, ...]] = {
    "surgclean-focalnet": PAIRS,
    "modern-focalnet": PAIRS,
    "small-focalnet": PAIRS[:1],
    "finetune": PAIRS,
    "distill-veil": PAIRS,
    "selfsvd": CLIPS,
    "selfsvd-star": CLIPS[:1],
    "desmoke-lap": POOLS,
    "desmoke-lap-focalnet": POOLS[:1],
    "veil-synthetic": (trees.scenes,),
}
ALL = [(name, make) for name, makes in FAMILIES.items() for make in makes]


def named(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", "")


@pytest.fixture(autouse=True)
def tiny_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda name: Noisy(0.0))
    monkeypatch.setattr(distill, "Veil", lambda: Veil(widths=(8, 8, 16, 16)))
    monkeypatch.setattr(veil, "Veil", lambda: Veil(widths=(8, 8, 16, 16)))
    monkeypatch.setattr(video, "SelfSVD", SmallVideo)
    monkeypatch.setattr(video, "Critic", lambda: Critic(4))
    monkeypatch.setattr(unpaired, "Critic", lambda: Critic(4))
    monkeypatch.setattr(unpaired, "Generator", lambda: Generator(4, 1))


class SmallVideo(SelfSVD):
    def __init__(self) -> None:
        super().__init__(8, 1)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[list[Shot]]:
    """The pairs that a run asks for: first those to train on, then those to judge by."""
    seen: list[list[Shot]] = []

    class Seen(Kept):
        def __init__(self, found: list[Shot], **how: Any) -> None:
            seen.append(list(found))
            super().__init__(found, **how)

    for module in (restore, distill, finetune):
        monkeypatch.setattr(module, "Kept", Seen)
    return seen


def short(name: str, folder: Path) -> Recipe:
    """The recipe itself, with small samples and two steps in this process."""
    recipe = RECIPES[name]()
    job: Any = recipe.job
    if isinstance(job, video.Video):
        job = replace(job, size=48, length=2)
        if job.star:
            save_file(SmallVideo().state_dict(), folder / "start.safetensors")
            job = replace(job, start=str(folder / "start.safetensors"))
    elif isinstance(job, distill.Distill):
        job = replace(job, teacher="teacher")
    elif isinstance(job, finetune.Finetune):
        lax = Bounds(gain=-99, group_loss=99, guard_loss=99, clear_loss=99)
        job = replace(job, start="start", size=16, optimiser=FAST, bounds=lax)
    elif not isinstance(job, veil.TrainVeil):
        job = replace(job, size=48 if isinstance(job, unpaired.Unpaired) else 16)
    plan = replace(recipe.plan, steps=2, batch=2, workers=0, threads=1, compile=False)
    return replace(recipe, job=job, plan=plan)


@pytest.mark.parametrize(("name", "make"), ALL, ids=named)
def test_it_trains(name: str, make: Make, tmp_path: Path, held: list[list[Shot]]) -> None:
    data = read(make(tmp_path / "with spaces"))
    out = StringIO()
    done = run(
        short(name, tmp_path), data, tmp_path / "runs", resume=False, dry=False,
        console=Console(file=out, width=200),
    )  # fmt: skip
    assert done is not None and (tmp_path / "runs" / name / LAST).exists()
    assert read_about(tmp_path / "runs" / name / LAST)["step"] == 2
    assert f"{data.found.dataset}" in out.getvalue() and "to train on" in out.getvalue()
    if RECIPES[name]().job.needs != "pairs":
        assert not held
        return
    train, aside = held
    split = {i.degraded: i.split for i in data.items}
    assert {split[s.degraded] for s in train} <= {"train", "all"}
    assert {split[s.degraded] for s in aside} <= {"test", "val", "all"}
    assert train and aside and not {s.degraded for s in train} & {s.degraded for s in aside}
    if name != "finetune":
        assert "psnr" in read_about(done)["figures"]


def test_one_kind_is_trained_and_told(tmp_path: Path, held: list[list[Shot]]) -> None:
    data = read(trees.surgclean(tmp_path / "data"), kinds=("fog",))
    console = Console(file=StringIO())
    recipe = short("surgclean-focalnet", tmp_path)
    done = run(recipe, data, tmp_path, resume=False, dry=False, console=console)
    assert all("/Defog/" in str(s.degraded) for half in held for s in half)
    assert done is not None and read_about(done)["recipe"]["kinds"] == ["fog"]
    other = read(tmp_path / "data", kinds=("smoke",))
    with pytest.raises(ValueError, match="another recipe"):
        run(recipe, other, tmp_path, resume=True, dry=False, console=console)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("surgclean-focalnet", trees.desmoke_lap,
         r"is desmoke-lap, which holds no pairs .* fit it: desmoke-lap, desmoke-lap-focalnet$"),
        ("surgclean-focalnet", trees.clip_folders,
         r"is clips, which holds no pairs .* fit it: selfsvd, selfsvd-star$"),
        ("selfsvd", trees.surgclean,
         r"no clips with .* fit it: surgclean-NET, (?!.*selfsvd).*modern-NET, .*finetune"),
        ("desmoke-lap", trees.clip_folders, r"no degraded and clear pictures for desmoke-lap"),
    ],
    ids=named,
)  # fmt: skip
def test_what_does_not_fit_is_said(name: str, make: Make, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        run(short(name, tmp_path), read(make(tmp_path / "data")), tmp_path / "runs",
            resume=False, dry=False, console=Console(file=StringIO()))  # fmt: skip
    assert not (tmp_path / "runs").exists()


def test_raw_video_wants_curation_first(tmp_path: Path) -> None:
    (tmp_path / "case.mp4").write_bytes(b"x")
    with pytest.raises(ValueError, match="none; surgiclear curate makes pairs of video"):
        run(short("surgclean-focalnet", tmp_path), read(tmp_path), tmp_path / "runs",
            resume=False, dry=False, console=Console(file=StringIO()))  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "make", "victim"),
    [
        ("surgclean-focalnet", trees.surgclean, "SurgClean Dataset/Defog/train/gt/a0.png"),
        ("selfsvd", trees.lsvd, "LSVD_train/clip 1/0.png"),
    ],
    ids=named,
)
def test_a_damaged_picture_is_named_with_what_to_do(
    name: str, make: Make, victim: str, workers: int, tmp_path: Path
) -> None:
    root = make(tmp_path / "data")
    (root / victim).write_bytes(b"nothing")
    recipe = short(name, tmp_path)
    recipe = replace(recipe, plan=replace(recipe.plan, workers=workers))
    with pytest.raises(PictureDamaged) as caught:
        run(recipe, read(root), tmp_path / "runs", resume=False, dry=False,
            console=Console(file=StringIO()))  # fmt: skip
    said = str(caught.value)
    assert said.startswith(f"{root / victim} is not a readable picture: surgiclear dataset check")
    assert "--without check.json" in said and "\n" not in said


def test_the_masks_of_the_publishers_are_used(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from trainer.feed.clips import clips

    root = trees.lsvd(tmp_path)
    for mask in (root / "LSVD_train_mask").rglob("*.png"):
        white = np.zeros((6, 8), np.uint8)
        white[:, :4] = 255
        assert cv2.imwrite(str(mask), white)
    (clip,), _ = clips(read(root), 2)
    batch = Clips([clip], 48, 2).sample(0, np.random.default_rng(1))
    columns = batch["mask"][0, 0].float().mean(0)
    assert set(columns.tolist()) == {0.0, 255.0}
    own = Clips([replace(clip, masks=(None,) * len(clip.frames))], 48, 2)
    assert not (own.sample(0, np.random.default_rng(1))["mask"] == batch["mask"]).all()


def test_every_need_has_a_family() -> None:
    needs: set[Need] = {RECIPES[name]().job.needs for name in FAMILIES}
    assert needs == {"pairs", "clips", "pools", "scenes"}
