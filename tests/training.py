"""Small tasks, one for each recipe, for tests of the engine of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from models.focalnet import FocalNet
from models.selfsvd import SelfSVD
from models.steered import Steered
from models.veil import Veil
from trainer.feed.answered import Answered
from trainer.feed.clips import Clips, clips
from trainer.feed.crops import Crops
from trainer.feed.data import read
from trainer.feed.pairs import Kept, shots
from trainer.feed.pools import Pools, pools
from trainer.fit.plan import Plan
from trainer.fit.schedule import Cosine
from trainer.fit.stream import Feed, Source
from trainer.fit.task import Adam, Batch, Task
from trainer.pixels import Pixels
from trainer.recipes import RECIPES as VEIL
from trainer.samples import Cached, CachedPair, Mix, Samples
from trainer.tasks import recipes
from trainer.tasks.critic import Critic, Generator
from trainer.tasks.distill import DistillTask, Frames
from trainer.tasks.job import Recipe
from trainer.tasks.restore import RestoreTask
from trainer.tasks.steer import SteerTask
from trainer.tasks.unpaired import UnpairedTask
from trainer.tasks.veil import VeilTask
from trainer.tasks.video import VideoTask

STEPS = 20
FAST = Adam(learning_rate=2e-3)


class Noisy(nn.Module):
    """A small restorer with noise inside, which must be the same after a resume."""

    def __init__(self, share: float = 0.1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Dropout(share),
            nn.GELU(),
            nn.Conv2d(8, 3, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def scene(number: int, h: int = 72, w: int = 96) -> Pixels:
    """A textured picture, h w 3 uint8."""
    rng = np.random.default_rng(number)
    coarse = cv2.resize(rng.uniform(40, 160, (6, 8, 3)).astype(np.float32), (w, h))
    fine = cv2.resize(rng.normal(0, 25, (h // 3, w // 3, 1)).astype(np.float32), (w, h))
    out: Pixels = np.clip(coarse + fine[..., None], 0, 255).astype(np.uint8)
    return out


def veiled(clear: Pixels, density: float = 0.5) -> Pixels:
    """Under even grey smoke."""
    return np.round(clear * (1 - density) + 200 * density).astype(np.uint8)


def write(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1])


def data(root: Path, count: int = 6) -> Path:
    """pairs/ with input/ and gt/ (and as many in test/), clips/ in LSVD's layout."""
    if root.exists():
        return root
    for n in range(count):
        for part in ("train", "test"):
            clear = scene(n + 50 * (part == "test"))
            write(root / "pairs" / part / "gt" / f"case{n}_1.png", clear)
            write(root / "pairs" / part / "input" / f"case{n}_1.png", veiled(clear))
    for n in range(2):
        clear = scene(100 + n)
        write(root / "clips" / f"clip{n}" / "0.png", clear)
        for t in range(1, 4):
            write(root / "clips" / f"clip{n}" / f"{t}.png", veiled(np.roll(clear, t, 1), 0.4))
    return root


@dataclass(frozen=True, slots=True)
class Case:
    """make gives fresh nets, always the same."""

    make: Callable[[], Task]
    source: Callable[[Path], Feed]
    plan: Plan


def seeded(make: Callable[[], Task]) -> Callable[[], Task]:
    def fresh() -> Task:
        torch.manual_seed(1)
        return make()

    return fresh


def short(recipe: Recipe, batch: int = 4) -> Plan:
    """A recipe's own plan, only short, small and in this process."""
    return replace(
        recipe.plan, steps=STEPS, batch=batch, workers=0, compile=False, threads=1,
        log_every=4, save_every=5, judge_every=10, picture_every=10,
    )  # fmt: skip


def pairs(root: Path, *, aligned: bool = False, side: int = 32) -> Source:
    return Crops(Kept(shots(read(root / "pairs"))[0], aligned=aligned), (side, side))


def small_video(star: bool) -> Task:
    net = SelfSVD(8, 1)
    nn.init.normal_(net.zero_conv.weight, 0, 0.1)
    return VideoTask(net, Critic(4), maker=FAST, judge=FAST, star=star)


def small_unpaired() -> Task:
    return UnpairedTask(Generator(4, 1), Generator(4, 1), (Critic(4), Critic(4)), FAST)


def small_distilled() -> Task:
    teacher = Noisy().eval()
    return DistillTask(Veil(widths=(8, 8, 16, 16)), teacher, FAST)


def steering() -> SteerTask:
    torch.manual_seed(1)
    return SteerTask(Steered(8, 1), FAST)


def drawn() -> Samples:
    """Samples of veil, real ones among them."""
    clear = []
    for n in range(3):
        pixels = scene(n, 180, 320)
        pixels[..., n] //= 8  # a dark channel: fit to degrade
        clear.append(Cached(pixels, f"p{n}", 0.05))
    pair = CachedPair(veiled(clear[0].pixels), clear[0].pixels, "1", (clear[1].pixels,))
    return Samples(clear, [pair], Mix(real=0.4, real_clear=0.1, clear=0.2), 3)


class Few(torch.utils.data.Dataset[Batch]):
    """The first four of them, over and over."""

    def __init__(self) -> None:
        self._held = [drawn()[n] for n in range(4)]

    def __getitem__(self, number: int) -> Batch:
        return dict(self._held[number % 4])


CASES: dict[str, Case] = {
    "veil": Case(
        seeded(lambda: VeilTask(Veil(widths=(8, 8, 16, 16)), FAST)),
        lambda _: Few(),
        replace(short(VEIL["veil"]()), schedule=Cosine(steps=STEPS)),
    ),
    "surgclean": Case(
        seeded(lambda: RestoreTask(FocalNet(8, 1), FAST, alignment="output")),
        pairs,
        short(recipes.surgclean("focalnet")),
    ),
    "surgclean-halved": Case(
        seeded(lambda: RestoreTask(Noisy(0.0), FAST, alignment="output")),
        pairs,
        replace(short(recipes.surgclean_halved("ramit")), accumulate=2),
    ),
    "modern": Case(
        seeded(lambda: RestoreTask(FocalNet(8, 1), FAST, alignment="input", ssim=0.2)),
        lambda root: pairs(root, aligned=True),
        replace(short(recipes.modern("focalnet")), schedule=Cosine(steps=STEPS)),
    ),
    "selfsvd": Case(
        seeded(lambda: small_video(False)),
        lambda root: Clips(clips(read(root / "clips"), 2)[0], 48, 2),
        short(recipes.selfsvd(), 2),
    ),
    "selfsvd-star": Case(
        seeded(lambda: small_video(True)),
        lambda root: Clips(clips(read(root / "clips"), 2)[0], 48, 2),
        short(recipes.selfsvd_star(), 2),
    ),
    "desmoke-lap": Case(
        seeded(small_unpaired),
        lambda root: Pools(*pools(read(root / "pairs" / "train")), 32),
        short(recipes.desmoke_lap(), 2),
    ),
    "distill-veil": Case(
        seeded(small_distilled),
        lambda root: Frames(Kept(shots(read(root / "pairs"))[0])),
        replace(short(recipes.distill_veil(), 2), schedule=Cosine(steps=STEPS)),
    ),
    "steered": Case(
        steering,
        lambda _: Answered(drawn(), FocalNet(8, 1).eval(), 4),
        replace(short(recipes.steered_focalnet()), schedule=Cosine(steps=STEPS)),
    ),
    "finetune": Case(
        seeded(lambda: RestoreTask(FocalNet(8, 1), FAST, alignment="input", anchor=1e-2)),
        lambda root: pairs(root, aligned=True),
        replace(short(recipes.finetune()), schedule=Cosine(steps=STEPS)),
    ),
}  # fmt: skip
