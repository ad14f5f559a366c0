"""Recipes as functions: each returns a frozen value; a recipe derives from another by replacing.

SurgClean's protocol (facts of its released option files and of its paper): crops of 128, batch 2,
Adam 1e-4 with betas 0.9 and 0.99, 200 000 steps, L1 where the warp is valid, EMA 0.999. The two
disagree about the rate: constant in the files, halved every 100 000 steps in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from trainer.fit.plan import Plan
from trainer.fit.schedule import Cosine, Halved, Straight
from trainer.fit.task import Adam
from trainer.recipes import RECIPES as VEIL
from trainer.samples import Mix
from trainer.tasks.distill import Distill
from trainer.tasks.finetune import Finetune
from trainer.tasks.job import Recipe
from trainer.tasks.restore import Restore
from trainer.tasks.steer import TrainSteer
from trainer.tasks.unpaired import Unpaired
from trainer.tasks.video import Video

NETS = (
    "restormer", "focalnet", "convir", "fourmer", "mambair", "histoformer", "ramit", "amir",
    "ast", "xrestormer", "sfhformer", "mambairv2",
)  # fmt: skip
WHOLE = frozenset({"histoformer"})  # its gradient in bfloat16 is no number: it sorts by value
# crop and batch of the released option files, where they are not 128 and 2
DEVIATIONS: Mapping[str, tuple[int, int]] = {
    "mambair": (64, 1),
    "mambairv2": (128, 1),
    "convir": (256, 2),
}


# crop and steps for two CPU cores, where attention makes 160 too dear: RAMiT takes 8 s a step there
SMALLER: Mapping[str, tuple[int, int]] = {"ramit": (96, 1800)}


def surgclean(net: str) -> Recipe:
    """The unified protocol, as it is written: one for all nets, the rate constant."""
    return Recipe(
        name=f"surgclean-{net}",
        about=f"{net} by SurgClean's unified protocol, constant rate (its option files)",
        job=Restore(net=net, size=128, optimiser=Adam(learning_rate=1e-4), alignment="output"),
        plan=Plan(steps=200_000, batch=2, seed=10, ema=0.999),
    )


def surgclean_halved(net: str) -> Recipe:
    """The same with the rate as the paper tells it."""
    base = surgclean(net)
    return replace(
        base,
        name=f"surgclean-halved-{net}",
        about=f"{net} by SurgClean's unified protocol, rate halved every 100,000 (its paper)",
        plan=replace(base.plan, schedule=Halved(every=100_000)),
    )


def surgclean_released(net: str) -> Recipe:
    """The same with the crop and batch that the released option file of this net really has."""
    base = surgclean(net)
    size, batch = DEVIATIONS[net]
    assert isinstance(base.job, Restore)
    return replace(
        base,
        name=f"surgclean-released-{net}",
        about=f"{net} as its released option file has it: crops of {size}, batch {batch}",
        job=replace(base.job, size=size),
        plan=replace(base.plan, batch=batch),
    )


def modern(net: str) -> Recipe:
    """Larger crops and batch, AdamW, cosine, bfloat16; pairs aligned once, where flow is sure, and
    as many synthetic samples beside them."""
    steps = 60_000
    return Recipe(
        name=f"modern-{net}",
        about=f"{net}: AdamW, cosine, crops of 256, batch 16, bf16, channels-last, compiled",
        job=Restore(
            net=net,
            size=256,
            optimiser=Adam(
                learning_rate=4e-4, betas=(0.9, 0.99), weight_decay=1e-3, decoupled=True
            ),
            alignment="input",
            ssim=0.2,
            synthetic=0.5,
            whole=0.3,
        ),
        plan=Plan(
            steps=steps,
            batch=16,
            schedule=Cosine(steps=steps, floor=0.01, warm_up=1000),
            precision="32-true" if net in WHOLE else "bf16-mixed",
            clip=1.0,
            channels_last=True,
            compile=True,
        ),
    )


def small_box(net: str) -> Recipe:
    """`modern` for a machine without a GPU: short, small crops and batch."""
    base = modern(net)
    assert isinstance(base.job, Restore)
    size, steps = SMALLER.get(net, (160, 2200))
    return replace(
        base,
        name=f"small-{net}",
        about=f"{net}: as modern, for two CPU cores: crops of {size}, batch 4, {steps:,} steps",
        job=replace(base.job, size=size, whole=0.5),
        plan=replace(
            base.plan,
            steps=steps,
            batch=4,
            compile=False,  # gains nothing where convolutions are all the work
            schedule=Cosine(steps=steps, floor=0.01, warm_up=200),
            workers=1,
            save_every=100,
            judge_every=500,
            picture_every=200,
        ),
    )


def further(net: str) -> Recipe:
    """`small`, gone on with: gentler, and most samples show the whole view."""
    base = small_box(net)
    assert isinstance(base.job, Restore)
    steps = 1000
    return replace(
        base,
        name=f"further-{net}",
        about=f"{net}: small, gone on with from --start for 1,000 steps, mostly whole views",
        job=replace(
            base.job, whole=0.7, optimiser=replace(base.job.optimiser, learning_rate=2e-4)
        ),
        plan=replace(
            base.plan, steps=steps, schedule=Cosine(steps=steps, floor=0.01, warm_up=50)
        ),
    )  # fmt: skip


def steered_focalnet() -> Recipe:
    """FocalNet's steering branch, for two CPU cores: whole views alone, all with references; the
    net's own answers are made once."""
    steps = 1600
    return Recipe(
        name="steered-focalnet",
        about="the branch that steers focalnet by a clear reference (needs --start: focalnet)",
        job=TrainSteer(
            optimiser=Adam(learning_rate=2e-3, weight_decay=1e-3, decoupled=True),
            mix=Mix(real=0.4, real_clear=0.04, clear=0.08, reference=1.0, other_part=0.4),
            seed=4,
            count=640,
        ),
        plan=Plan(
            steps=steps,
            batch=4,
            schedule=Cosine(steps=steps, floor=0.01, warm_up=50),
            seed=4,
            clip=1.0,
            ema=0.995,
            channels_last=True,
            workers=1,
            threads=1,
            log_every=50,
            save_every=100,
            judge_every=500,
            picture_every=500,
        ),
    )


def further_steered_focalnet() -> Recipe:
    """The same, gone on with: other samples, and fewer."""
    base, steps = steered_focalnet(), 400
    assert isinstance(base.job, TrainSteer)
    return replace(
        base,
        name="further-steered-focalnet",
        about="steered-focalnet, gone on with from --start for 400 steps, other samples",
        job=replace(base.job, seed=5, count=384),
        plan=replace(base.plan, steps=steps, schedule=Cosine(steps=steps, floor=0.01, warm_up=20)),
    )


def selfsvd() -> Recipe:
    """SelfSVD's schedule: crops of 256, five frames, batch 4, cosine to 1e-7 over 100 000."""
    steps = 100_000
    return Recipe(
        name="selfsvd",
        about="SelfSVD: causal video net taught by the clear frame before the smoke",
        job=Video(maker=Adam(learning_rate=1e-4), critic=Adam(learning_rate=2e-4)),
        plan=Plan(
            steps=steps,
            batch=4,
            schedule=Cosine(steps=steps, floor=1e-3),
            ema=None,
        ),
    )


def selfsvd_star() -> Recipe:
    """The second stage: half the rates, cosine to a tenth, 50 000 steps, from SelfSVD."""
    steps = 50_000
    base = selfsvd()
    return replace(
        base,
        name="selfsvd-star",
        about="SelfSVD*: goes on from SelfSVD, truth cleaned by that net (needs --start)",
        job=Video(maker=Adam(learning_rate=5e-5), critic=Adam(learning_rate=1e-4), star=True),
        plan=replace(base.plan, steps=steps, schedule=Cosine(steps=steps, floor=0.1)),
    )


def desmoke_lap() -> Recipe:
    """CycleGAN's schedule with Desmoke-LAP's losses."""
    steps = 200_000
    return Recipe(
        name="desmoke-lap",
        about="unpaired, in the manner of CycleGAN and Desmoke-LAP",
        job=Unpaired(optimiser=Adam(learning_rate=2e-4, betas=(0.5, 0.999))),
        plan=Plan(
            steps=steps,
            batch=1,
            schedule=Straight(keep=steps // 2, steps=steps),
            ema=None,
        ),
    )


def desmoke_lap_of(net: str) -> Recipe:
    """The same for a net of the zoo, which can be exported."""
    base = desmoke_lap()
    assert isinstance(base.job, Unpaired)
    return replace(
        base,
        name=f"desmoke-lap-{net}",
        about=f"{net}, unpaired, in the manner of CycleGAN and Desmoke-LAP",
        job=replace(base.job, net=net),
    )


def distill_veil() -> Recipe:
    """A large net's skill into the embedded one."""
    steps = 6000
    return Recipe(
        name="distill-veil",
        about="veil from a trained large net (needs --teacher; --start: veil's own weights)",
        job=Distill(optimiser=Adam(learning_rate=5e-4, weight_decay=0.01, decoupled=True)),
        plan=Plan(
            steps=steps,
            batch=12,
            schedule=Cosine(steps=steps, floor=0.01, warm_up=100),
            clip=1.0,
            ema=0.998,
            channels_last=True,
        ),
    )


def finetune() -> Recipe:
    """A short, gentle run on one hospital's curated pairs; the gate decides."""
    steps = 3000
    return Recipe(
        name="finetune",
        about="a trained net on one hospital's pairs, with a do-no-harm gate (needs --start)",
        job=Finetune(optimiser=Adam(learning_rate=2e-5, weight_decay=1e-3, decoupled=True)),
        plan=Plan(
            steps=steps,
            batch=8,
            schedule=Cosine(steps=steps, floor=0.05, warm_up=100),
            precision="bf16-mixed",
            clip=0.5,
            channels_last=True,
        ),
    )


RECIPES: Mapping[str, Callable[[], Recipe]] = {
    **VEIL,
    **{f"surgclean-{n}": partial(surgclean, n) for n in NETS},
    **{f"surgclean-halved-{n}": partial(surgclean_halved, n) for n in NETS},
    **{f"surgclean-released-{n}": partial(surgclean_released, n) for n in DEVIATIONS},
    **{f"modern-{n}": partial(modern, n) for n in NETS},
    **{f"small-{n}": partial(small_box, n) for n in NETS},
    **{f"further-{n}": partial(further, n) for n in NETS},
    "steered-focalnet": steered_focalnet,
    "further-steered-focalnet": further_steered_focalnet,
    "selfsvd": selfsvd,
    "selfsvd-star": selfsvd_star,
    "desmoke-lap": desmoke_lap,
    "desmoke-lap-focalnet": partial(desmoke_lap_of, "focalnet"),
    "distill-veil": distill_veil,
    "finetune": finetune,
}
