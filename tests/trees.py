"""Small trees of the published data sets' layouts, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

SIZE = (24, 32)  # h w


def picture(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    """A small picture of its own; PNG or JPEG by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (4, 6, 3), dtype=np.uint8)
    data = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(path), data)
    return path


def _sides(place: Path, names: Iterable[str], seed: int, sides: tuple[str, str]) -> None:
    for n, name in enumerate(names):
        picture(place / sides[0] / name, seed + 2 * n)
        picture(place / sides[1] / name, seed + 2 * n + 1)


def surgclean(root: Path, *, test_folder: bool = False) -> Path:
    """All tasks, two training and four (splash: four types) test pairs each, with levels."""
    main = root / "SurgClean Dataset"
    fine = root / "SurgClean Dataset_Fine-grain Division"
    for t, task in enumerate(("Defog", "Desmoke", "Desplash")):
        seed = 1000 * t
        _sides(main / task / "train", (f"a{n}.png" for n in range(2)), seed, ("input", "gt"))
        _sides(main / task / "test", (f"b{n}.png" for n in range(4)), seed + 100, ("input", "gt"))
        grades = ["Level-1", "Level-2", "Level-3", "Level-4"]
        place = fine / f"{task}_Level" / "test"
        if task == "Desplash":
            grades = ["bile", "blood", "fat", "tissue fluid"]
            place = fine / "Desplash_Category" / ("test" if test_folder else "")
        for n, grade in enumerate(grades):
            for s, side in enumerate(("input", "gt")):
                picture(place / side / grade / f"b{n}.png", seed + 100 + 2 * n + s)
    return root


def desmokedata(root: Path, count: int = 3) -> Path:
    place = root / "images" / "dataset"
    for n in range(1, count + 1):
        picture(place / f"{n}.png", 2 * n)
        picture(place / f"{n}_gt.png", 2 * n + 1)
    rows = "".join(f"{n},{n}_gt.png,{n}.png\n" for n in range(1, count + 1))
    (root / "images" / "paired_images.csv").write_text("id,clear,smoky\n" + rows)
    return root


def lsvd(root: Path) -> Path:
    """One clip of training and one of test; 11 frames, so that order by number matters."""
    for split in ("train", "test"):
        for n in range(11):
            picture(root / f"LSVD_{split}" / "clip 1" / f"{n}.png", n)
            picture(root / f"LSVD_{split}_mask" / "clip 1" / f"{n}.png", n, (6, 8))
    picture(root / "LSVD_test_pro" / "clip 1" / "0.png", 0)
    return root


def desmoke_lap(root: Path) -> Path:
    for seed, case in enumerate(("case 1", "case 2")):
        _sides(root / "Dataset" / case, ("0.png", "1.png"), 50 * seed, ("hazy", "clear"))
    return root


def see_through_smoke(root: Path) -> Path:
    organs = {
        "train": ("liver_kidney", "small_Intestine", "large_intestine", "unknown", "uterus"),
        "test": ("brain", "heart", "stomach"),
    }
    seed = 0
    for split, places in organs.items():
        for organ in places:
            _sides(root / split / organ, ("1.png", "2.png"), seed := seed + 10, ("smoke", "GT"))
    (root / "metadata.csv").write_text("file\n" + "x\n" * 16)
    return root


def scenes(root: Path) -> Path:
    """pairs.csv with one scene to train on and one kept aside, six frames each; two patients."""
    rows = ["scene,smoky,clear,ncc"]
    for number in (1, 6):
        folder = f"scene{number:02d}"
        picture(root / "pairs" / folder / "clear_000.jpg", 100 * number)
        for n in range(1, 7):
            picture(root / "pairs" / folder / f"smoky_{n:03d}.jpg", 100 * number + n)
            rows.append(f"{number},{folder}/smoky_{n:03d}.jpg,{folder}/clear_000.jpg,0.9")
    (root / "pairs" / "pairs.csv").write_text("\n".join(rows) + "\n")
    for patient in (1, 2):
        picture(root / "clean" / f"cam__P{patient}_clean_1.jpg", 900 + patient)
    return root


def pair_halves(root: Path) -> Path:
    """Pairs under train/, val/ and test/."""
    for n, half in enumerate(("train", "val", "test")):
        _sides(root / half, ("a.png", "b.png"), 10 * n, ("input", "gt"))
    return root


def clip_folders(root: Path) -> Path:
    for n in range(7):
        picture(root / "clip 1" / f"frame{n}.png", n)
    return root


def pair_folders(root: Path) -> Path:
    _sides(root, ("a.png", "b.jpg"), 0, ("input", "gt"))
    return root
