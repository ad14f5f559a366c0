"""`bench quality`: how much better the restored picture is, by scene, level and kind.

Real pairs are judged at their own size, scene by scene; every figure stands beside the same
figure of the input and of the baselines, in the same run. Fog and splash are synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.picture import Rgb
from engines.restorer import KINDS, Detection, Restorer, level
from trainer import dataset
from trainer.baselines import GlobalRegression, dark_channel_prior, global_match
from trainer.degrade import Recipe, degrade
from trainer.metrics import psnr, psnr_normalised, ssim
from trainer.pixels import Image, Pixels, grey_levels, unit

Say = Callable[[str], None]
SYNTHETIC_SIZE = (270, 480)  # h w
SYNTHETIC_COUNT = 1000  # a mean over the dense third of 300 moves by 0.3 dB with the draw


@dataclass(frozen=True, slots=True)
class Score:
    """One picture against its truth."""

    psnr: float
    ssim: float
    normalised: float  # PSNR after the best gain and offset per channel

    @staticmethod
    def of(image: Image, truth: Image) -> Score:
        return Score(psnr(image, truth), ssim(image, truth), psnr_normalised(image, truth))


@dataclass(slots=True)
class Table:
    """Scores by method and group; the mean over groups weighs every group alike."""

    rows: dict[str, dict[str, list[Score]]] = field(default_factory=dict)

    def add(self, method: str, group: str, score: Score) -> None:
        self.rows.setdefault(method, {}).setdefault(group, []).append(score)

    def by_group(self, method: str) -> dict[str, Score]:
        return {g: mean(s) for g, s in sorted(self.rows[method].items())}

    def overall(self, method: str) -> Score:
        return mean(list(self.by_group(method).values()))

    def count(self, group: str) -> int:
        return len(next(iter(self.rows.values()))[group])

    def as_dict(self) -> dict[str, object]:
        return {
            method: {
                "mean": as_dict(self.overall(method)),
                "groups": {g: as_dict(s) for g, s in self.by_group(method).items()},
            }
            for method in self.rows
        }

    def text(self, groups: bool = True) -> str:
        """A plain table: one row a method, PSNR / SSIM / normalised PSNR."""
        names = sorted({g for r in self.rows.values() for g in r}, key=lambda g: (len(g), g))
        head = f"{'':26s} {'mean over groups':>22s}"
        if groups:
            head += "".join(f" {g + ' (' + str(self.count(g)) + ')':>18s}" for g in names)
        lines = [head]
        for method in self.rows:
            s = self.overall(method)
            line = f"{method:26s} {s.psnr:7.2f} {s.ssim:6.3f} {s.normalised:7.2f}"
            if groups:
                own = self.by_group(method)
                for g in names:
                    line += (
                        f" {own[g].psnr:7.2f}{own[g].normalised:7.2f}{'':4s}" if g in own else ""
                    )
            lines.append(line)
        return "\n".join(lines)


def mean(scores: Sequence[Score]) -> Score:
    table = np.array([[s.psnr, s.ssim, s.normalised] for s in scores])
    return Score(*(float(v) for v in table.mean(0)))


def as_dict(score: Score) -> dict[str, float]:
    return {"psnr": score.psnr, "ssim": score.ssim, "psnr_normalised": score.normalised}


def restored(
    restorer: Restorer, pixels: NDArray[np.uint8], reference: NDArray[np.uint8] | None = None
) -> Image:
    """One still through a restorer with the gate forced open: h w 3 in [0, 1]."""
    restorer.reset()
    restorer.refer(None if reference is None else Rgb(reference))
    picture = Rgb(pixels)
    out = restorer.apply(picture, restorer.analyse(picture))
    assert isinstance(out, Rgb)
    return unit(out.pixels)


def farthest(reference_paths: Sequence[Path], truth: Path) -> Path | None:
    """Another clear frame of the scene than the truth: the farthest in time (by its number)."""
    others = [p for p in reference_paths if p != truth]
    number = {p: int(p.stem.split("_")[-1]) for p in (*others, truth)}
    return max(others, key=lambda p: abs(number[p] - number[truth])) if others else None


@dataclass(slots=True)
class RealReport:
    """The real pairs: without a reference, with one, with a bad one; detection by scene."""

    plain: Table = field(default_factory=Table)
    referred: Table = field(default_factory=Table)
    levels: Table = field(default_factory=Table)
    auc: dict[str, float] = field(default_factory=dict)
    auc_beside: dict[str, float] = field(default_factory=dict)  # beside another clear frame


def real_pairs(
    root: Path,
    restorer_for: Callable[[str], Restorer],
    *,
    scenes: Iterable[str] | None = None,
    say: Say = lambda _: None,
) -> RealReport:
    """Judges every scene by the restorer that `restorer_for` gives for it (cross-validation:
    one that was not trained on it). References come from the scene's other clear frames."""
    everything = dataset.pairs(root)
    names = sorted({p.scene for p in everything}, key=int)
    wanted = set(names if scenes is None else scenes)
    report = RealReport()
    small = {  # the regression sees every scene but the judged one
        s: [
            (unit(dataset.load(p.smoky, (90, 160))), unit(dataset.load(p.clear, (90, 160))))
            for p in everything
            if p.scene == s
        ]
        for s in names
    }
    wrong_for = {s: names[(i + 3) % len(names)] for i, s in enumerate(names)}
    for scene in (n for n in names if n in wanted):
        restorer = restorer_for(scene)
        regression = GlobalRegression([pair for s in names if s != scene for pair in small[s]])
        wrong = dataset.load(dataset.references(root, wrong_for[scene])[0])
        smoky_scores, clear_scores = [], []
        smoky_beside, clear_beside = [], []
        for pair in (p for p in everything if p.scene == scene):
            smoky, clear = dataset.load(pair.smoky), dataset.load(pair.clear)
            image, truth = unit(smoky), unit(clear)
            out = restored(restorer, smoky)
            plain = {
                "input": image,
                "dark channel prior": dark_channel_prior(image),
                "global regression": regression(image),
                restorer.name: out,
            }
            for method, picture in plain.items():
                report.plain.add(method, f"scene {scene}", Score.of(picture, truth))
            found = detected(restorer, smoky)
            smoky_scores.append(found.smoke.probability)
            group = f"level {max(found.smoke.level, 1)}"
            for method in ("input", restorer.name):
                report.levels.add(method, group, Score.of(plain[method], truth))
            path = farthest(dataset.references(root, scene), pair.clear)
            if path is None:
                continue
            other = dataset.load(path)
            smoky_beside.append(detected(restorer, smoky, other).smoke.probability)
            shifted = np.roll(other, (other.shape[0] // 5, other.shape[1] // 5), (0, 1))
            small_other = unit(other) if other.shape == smoky.shape else None
            referred = {
                "input": image,
                f"{restorer.name}, no reference": out,
                f"{restorer.name}, reference": restored(restorer, smoky, other),
                f"{restorer.name}, moved by 20 %": restored(restorer, smoky, shifted),
                f"{restorer.name}, wrong scene": restored(restorer, smoky, wrong),
                "global match": global_match(image, unit(other)),
            }
            if small_other is not None:
                referred["copy of the reference"] = small_other
            for method, picture in referred.items():
                report.referred.add(method, f"scene {scene}", Score.of(picture, truth))
        for path in dataset.references(root, scene):
            clear = dataset.load(path)
            clear_scores.append(detected(restorer, clear).smoke.probability)
            away = farthest(dataset.references(root, scene), path)
            if away is not None:
                there = detected(restorer, clear, dataset.load(away))
                clear_beside.append(there.smoke.probability)
        report.auc[scene] = auc(smoky_scores, clear_scores)
        if smoky_beside and clear_beside:
            report.auc_beside[scene] = auc(smoky_beside, clear_beside)
        say(f"scene {scene}: {len(smoky_scores)} pairs, AUC {report.auc[scene]:.3f}")
    return report


def detected(restorer: Restorer, pixels: Pixels, reference: Pixels | None = None) -> Detection:
    """What is found in a picture that stands alone, or beside a clear one."""
    restorer.reset()
    if reference is not None:
        restorer.refer(Rgb(reference))
    return restorer.analyse(Rgb(pixels)).detection


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of (positive, negative) couples in the right order; ties count half."""
    p, n = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float((p > n).mean() + 0.5 * (p == n).mean())


@dataclass(slots=True)
class SyntheticReport:
    """Synthetic degradations over clear frames of held-out patients, truth exact."""

    smoke: Table = field(default_factory=Table)  # by transmission: light, mid, dense
    kinds: Table = field(default_factory=Table)  # by kind and level
    gain_found: float = 0.0  # median luma gain where t < 0.5
    gain_true: float = 0.0
    recall: dict[str, float] = field(default_factory=dict)  # of level 2 and more, by kind
    recall_beside: dict[str, float] = field(default_factory=dict)  # beside a clear frame


def held_out_frames(root: Path) -> list[dataset.ClearFrame]:
    """Clear frames of patients no model trains on."""
    return [f for f in dataset.clear_frames(root) if f.held_out]


def truthful_frames(root: Path) -> list[dataset.ClearFrame]:
    """Those of `held_out_frames` that are clear enough to stand for truth."""
    return [
        f
        for f in held_out_frames(root)
        if dataset.hazy(dataset.load(f.path, dataset.CACHE_SIZE)) < dataset.HAZY_LIMIT
    ]


def another(
    frame: dataset.ClearFrame, frames: Sequence[dataset.ClearFrame]
) -> dataset.ClearFrame | None:
    """The next of the patient's frames, in a circle; None where there is no other."""
    same = [f for f in frames if f.patient == frame.patient and f.path != frame.path]
    return next((f for f in same if f.path > frame.path), same[0] if same else None)


def synthetic(
    root: Path,
    restorer: Restorer,
    *,
    count: int = SYNTHETIC_COUNT,
    seed: int = 7,
    say: Say = lambda _: None,
) -> SyntheticReport:
    """Smoke, fog and splash of every severity over held-out clear frames."""
    frames = truthful_frames(root)
    report = SyntheticReport()
    found_gain: list[float] = []
    true_gain: list[float] = []
    hits: dict[str, list[bool]] = {k: [] for k in KINDS}
    hits_beside: dict[str, list[bool]] = {k: [] for k in KINDS}
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        frame = frames[int(rng.integers(len(frames)))]
        clear = unit(dataset.load(frame.path, SYNTHETIC_SIZE))
        kind = KINDS[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
        severity = float(rng.uniform(0.03, 1.0))
        recipe = Recipe.of(kind, severity)
        done = degrade(clear, recipe, rng)
        pixels = grey_levels(done.image)
        restorer.reset()
        picture = Rgb(pixels)
        analysis = restorer.analyse(picture)
        out = restorer.apply(picture, analysis)
        assert isinstance(out, Rgb)
        before, after = Score.of(unit(pixels), clear), Score.of(unit(out.pixels), clear)
        if kind == "smoke":
            t = float(done.truth.transmission.mean())
            group = "light t>.8" if t > 0.8 else "mid" if t >= 0.5 else "dense t<.5"
            report.smoke.add("input", group, before)
            report.smoke.add(
                "dark channel prior", group, Score.of(dark_channel_prior(unit(pixels)), clear)
            )
            report.smoke.add(restorer.name, group, after)
            if t < 0.5:
                found_gain.append(local_gain(unit(pixels), unit(out.pixels)))
                true_gain.append(local_gain(unit(pixels), clear))
        truth_level = level(done.truth.coverage[kind], done.truth.coverage[kind] > 0.01)
        if truth_level:
            report.kinds.add("input", f"{kind} {truth_level}", before)
            report.kinds.add(restorer.name, f"{kind} {truth_level}", after)
        if truth_level >= 2:
            hits[kind].append(getattr(analysis.detection, kind).level > 0)
            other = another(frame, frames)
            if other is not None:
                there = detected(restorer, pixels, dataset.load(other.path, SYNTHETIC_SIZE))
                hits_beside[kind].append(getattr(there, kind).level > 0)
        if (number + 1) % 50 == 0:
            say(f"synthetic {number + 1}/{count}")
    report.gain_found, report.gain_true = float(np.median(found_gain)), float(np.median(true_gain))
    report.recall = {k: float(np.mean(v)) for k, v in hits.items() if v}
    report.recall_beside = {k: float(np.mean(v)) for k, v in hits_beside.items() if v}
    return report


def local_gain(image: Image, other: Image) -> float:
    """How many times stronger local luma contrast is in `other`: median ratio of deviations."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)

    def deviation(x: Image) -> NDArray[np.float32]:
        y = x @ weights
        m = cv2.blur(y, (15, 15))
        out: Image = np.sqrt(np.maximum(cv2.blur(y * y, (15, 15)) - m * m, 0))
        return out

    a, b = deviation(image), deviation(other)
    lit = a > 0.004
    return float(np.median(b[lit] / a[lit])) if lit.any() else 1.0


@dataclass(frozen=True, slots=True)
class ClearReport:
    """Clear frames of held-out patients: how many are called degraded (beside another frame of
    the patient as well), and how much they change."""

    frames: int
    falsely_found: float
    falsely_found_beside: float
    by_kind: Mapping[str, float]
    psnr_mean: float
    psnr_worst_tenth: float


def clear_frames(root: Path, restorer: Restorer, say: Say = lambda _: None) -> ClearReport:
    """False alarms, and the change when the gate is forced open."""
    frames = held_out_frames(root)
    truthful = truthful_frames(root)
    found: dict[str, list[bool]] = {k: [] for k in (*KINDS, "any")}
    beside: list[bool] = []
    change = []
    for number, frame in enumerate(frames):
        pixels = dataset.load(frame.path)
        restorer.reset()
        picture = Rgb(pixels)
        analysis = restorer.analyse(picture)
        for kind in KINDS:
            found[kind].append(getattr(analysis.detection, kind).level > 0)
        found["any"].append(analysis.detection.level > 0)
        out = restorer.apply(picture, analysis)
        assert isinstance(out, Rgb)
        change.append(psnr(unit(out.pixels), unit(pixels)))
        other = another(frame, truthful)
        if other is not None:
            there = detected(restorer, pixels, dataset.load(other.path))
            beside.append(there.level > 0)
        if (number + 1) % 100 == 0:
            say(f"clear {number + 1}/{len(frames)}")
    return ClearReport(
        frames=len(frames),
        falsely_found=float(np.mean(found["any"])),
        falsely_found_beside=float(np.mean(beside)) if beside else 0.0,
        by_kind={k: float(np.mean(found[k])) for k in KINDS},
        psnr_mean=float(np.mean(change)),
        psnr_worst_tenth=float(np.percentile(change, 10)),
    )
