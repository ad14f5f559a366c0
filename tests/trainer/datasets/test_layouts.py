"""Every published layout: what it holds, and each of its traps."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import trees

from trainer import dataset
from trainer.datasets import LAYOUTS, Found


def wrong(found: Found) -> dict[str, str]:
    """Problems by path below the root."""
    out: dict[str, str] = {}
    for problem in found.problems:
        name = os.path.relpath(problem.path, found.root)
        out[name] = f"{out[name]}; {problem.what}" if name in out else problem.what
    return out


def test_each_tree_is_recognised_as_what_it_is_and_is_sound(tmp_path: Path) -> None:
    made = {
        "surgclean": trees.surgclean, "desmokedata": trees.desmokedata, "lsvd": trees.lsvd,
        "desmoke-lap": trees.desmoke_lap, "see-through-smoke": trees.see_through_smoke,
        "pairs": trees.pair_folders,
    }  # fmt: skip
    assert {layout.name for layout in LAYOUTS} == {*made, "scenes", "clips", "videos", "shards"}
    for name, make in made.items():
        found = dataset.recognise(make(tmp_path / name))
        assert found.dataset == name
        assert found.items and not found.problems, (name, found.problems)
        names = [item.name for item in found.items]
        assert len(set(names)) == len(names)
        assert all(path.is_file() for item in found.items for path in item.files)


@pytest.mark.parametrize("test_folder", [False, True])
def test_surgclean_has_levels_and_splash_types_on_test(tmp_path: Path, test_folder: bool) -> None:
    found = dataset.recognise(trees.surgclean(tmp_path, test_folder=test_folder))
    counts = Counter((i.kind, i.split) for i in found.items)
    kinds = ("smoke", "fog", "splash")
    assert counts == {(k, s): n for k in kinds for s, n in (("train", 2), ("test", 4))}
    tested = [i for i in found.items if i.split == "test"]
    assert sorted(i.level or 0 for i in tested if i.kind == "smoke") == [1, 2, 3, 4]
    types = sorted(i.splash_type or "" for i in tested if i.kind == "splash")
    assert types == ["bile", "blood", "fat", "fluid"]
    assert all(i.level is None for i in found.items if i.split == "train")


def test_surgclean_without_its_division_still_reads(tmp_path: Path) -> None:
    trees.surgclean(tmp_path)
    shutil.rmtree(tmp_path / "SurgClean Dataset_Fine-grain Division")
    for folder in (tmp_path, tmp_path / "SurgClean Dataset"):
        found = dataset.recognise(folder)
        assert len(found.items) == 18 and not found.problems
        assert any("fine-grain" in note for note in found.notes)


def test_surgclean_traps(tmp_path: Path) -> None:
    trees.surgclean(tmp_path)
    main = tmp_path / "SurgClean Dataset"
    fine = tmp_path / "SurgClean Dataset_Fine-grain Division"
    shutil.rmtree(main / "Desplash" / "train")
    (main / "Defog" / "train" / "gt" / "a0.png").unlink()
    (main / "Desmoke" / "train" / "gt" / "a1.png").rename(
        main / "Desmoke" / "train" / "gt" / "a1.jpg"
    )
    (main / "Desmoke" / "train" / "input" / "Thumbs.db").write_bytes(b"x")
    (main / "Desmoke" / "train" / "input" / "._a0.png").write_bytes(b"x")
    (main / "Desmoke" / "train" / "input" / "a2.part").write_bytes(b"x")
    level = fine / "Desmoke_Level" / "test" / "input"
    shutil.copy(level / "Level-1" / "b0.png", level / "Level-2" / "b0.png")
    trees.picture(level / "Level-3" / "z9.png", 5)
    (fine / "Defog_Level" / "test" / "input" / "Level-4" / "b3.png").unlink()
    (level / "Level-5").mkdir()
    problems = wrong(dataset.recognise(tmp_path))
    fine_name, main_name = fine.name, main.name
    assert problems[f"{main_name}/Desplash/train"] == "the folder is missing"
    assert "no picture of its name in gt/" in problems[f"{main_name}/Defog/train/input/a0.png"]
    assert "another suffix" in problems[f"{main_name}/Desmoke/train/input/a1.png"]
    assert "not a picture" in problems[f"{main_name}/Desmoke/train/input/a2.part"]
    assert not any("Thumbs" in p or "._a0" in p for p in problems)
    at = f"{fine_name}/Desmoke_Level/test/input"
    assert problems[f"{at}/Level-2/b0.png"] == (
        "has no picture of its name in gt/Level-2/; is in Level-1 as well"
    )
    assert problems[f"{at}/Level-3/z9.png"].endswith("is not among the test pictures")
    assert "names no level" in problems[f"{at}/Level-5"]
    assert problems[f"{main_name}/Defog/test/input/b3.png"] == "has no level"


def test_desmokedata_traps(tmp_path: Path) -> None:
    trees.desmokedata(tmp_path)
    place = tmp_path / "images" / "dataset"
    (place / "2_gt.png").unlink()
    trees.picture(place / "9_gt.png", 1)
    trees.picture(place / "cover.png", 1)
    found = dataset.recognise(tmp_path)
    problems = wrong(found)
    assert [i.name for i in found.items] == ["1.png", "3.png"]
    assert problems["2.png"] == "has no clear picture (_gt)"
    assert problems["9_gt.png"] == "has no smoky picture"
    assert "neither" in problems["cover.png"]
    assert problems["../paired_images.csv"] == "names 2_gt.png, which is not there"


def test_lsvd_sorts_by_number_and_takes_the_first_frame_as_clear(tmp_path: Path) -> None:
    found = dataset.recognise(trees.lsvd(tmp_path))
    train = [i for i in found.items if i.split == "train"]
    assert [i.position for i in train] == list(range(1, 11))
    assert [i.degraded.name for i in train if i.degraded] == [f"{n}.png" for n in range(1, 11)]
    assert {i.clear.name for i in train if i.clear} == {"0.png"}
    assert all(i.mask and i.degraded and i.mask.name == i.degraded.name for i in train)


def test_lsvd_traps(tmp_path: Path) -> None:
    trees.lsvd(tmp_path)
    shutil.rmtree(tmp_path / "LSVD_test_pro")
    shutil.rmtree(tmp_path / "LSVD_train_mask" / "clip 1")
    trees.picture(tmp_path / "LSVD_train" / "clip 2" / "0.png", 1)
    trees.picture(tmp_path / "LSVD_test" / "clip 1" / "cover.png", 1)
    problems = wrong(dataset.recognise(tmp_path))
    assert problems["LSVD_test_pro"] == "the folder is missing"
    assert problems["LSVD_train_mask/clip 1"] == "the folder is missing"
    assert "a clear and a smoky one" in problems["LSVD_train/clip 2"]
    assert problems["LSVD_test/clip 1/cover.png"].startswith("has no number for a name")


def test_desmoke_lap_is_never_paired(tmp_path: Path) -> None:
    trees.desmoke_lap(tmp_path)
    shutil.rmtree(tmp_path / "Dataset" / "case 2" / "clear")
    found = dataset.recognise(tmp_path)
    assert not any(item.paired for item in found.items)
    assert Counter(i.scene for i in found.items) == {"case 1": 4, "case 2": 2}
    assert wrong(found) == {"case 2/clear": "the folder is missing"}
    assert any("published 300" in note for note in found.notes)


def test_see_through_smoke_traps(tmp_path: Path) -> None:
    trees.see_through_smoke(tmp_path)
    shutil.rmtree(tmp_path / "test" / "heart")
    (tmp_path / "train" / "uterus" / "GT" / "2.png").unlink()
    (tmp_path / "metadata.csv").unlink()
    found = dataset.recognise(tmp_path)
    problems = wrong(found)
    assert problems["test/heart"] == "the folder is missing"
    assert "has no picture" in problems["train/uterus/smoke/2.png"]
    assert problems["metadata.csv"] == "is missing"
    assert len(found.items) == 13


def test_splits_of_generic_pairs(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for side in ("hazy", "clear"):
            trees.picture(tmp_path / split / side / "1.png", len(split + side))
    found = dataset.recognise(tmp_path)
    assert found.dataset == "pairs"
    assert sorted((i.split, i.name) for i in found.items) == [
        ("test", "test/1.png"), ("train", "train/1.png"), ("val", "val/1.png")]  # fmt: skip


def test_generic_pairs_in_one_folder_a_case(tmp_path: Path) -> None:
    for case in ("a", "b"):
        for side in ("input", "gt"):
            trees.picture(tmp_path / case / side / "1.png", len(case + side))
    items = dataset.recognise(tmp_path).items
    assert [(i.scene, i.split, i.name, i.paired) for i in items] == [
        ("a", "all", "a/1.png", True), ("b", "all", "b/1.png", True)]  # fmt: skip


def test_hazy_and_clear_without_a_name_in_common_are_no_pairs(tmp_path: Path) -> None:
    trees.picture(tmp_path / "hazy" / "video1_1.png", 1)
    trees.picture(tmp_path / "clear" / "video2_1.png", 2)
    found = dataset.recognise(tmp_path)
    assert found.variant == "unpaired" and not found.problems
    assert [(i.scene, i.paired, i.clear is None) for i in found.items] == [
        ("video1", False, True), ("video2", False, False)]  # fmt: skip
    trees.picture(tmp_path / "clear" / "video1_1.png", 3)
    found = dataset.recognise(tmp_path)
    assert [i.paired for i in found.items] == [True] and len(found.problems) == 1


def test_clips_are_known_by_their_numbers_but_not_believed_to_be_pairs(tmp_path: Path) -> None:
    for n in (10, 9, 2):
        trees.picture(tmp_path / "c" / f"frame{n}.png", n)
    trees.picture(tmp_path / "d" / "frame1.png", 1)
    found = dataset.recognise(tmp_path)
    assert found.dataset == "clips" and found.assumed
    assert [(i.position, i.degraded.name) for i in found.items if i.degraded] == [
        (1, "frame9.png"), (2, "frame10.png")]  # fmt: skip
    assert {i.clear.name for i in found.items if i.clear} == {"frame2.png"}
    assert "a clear and a smoky one" in wrong(found)["d"]
    trees.picture(tmp_path / "e" / "cover.png", 1)
    assert "no number" in wrong(dataset.recognise(tmp_path))["e/cover.png"]


def test_scenes_keep_three_aside_and_have_smoky_pictures_of_no_pair(tmp_path: Path) -> None:
    rows = ["scene,smoky,clear,ncc"]
    for number in (1, 6, 9, 15, 16):
        rows.append(f"{number},s/smoky_{number}.jpg,s/clear_{number}.jpg,1")
        trees.picture(tmp_path / "pairs" / "s" / f"smoky_{number}.jpg", number)
        trees.picture(tmp_path / "pairs" / "s" / f"clear_{number}.jpg", number + 50)
    (tmp_path / "pairs" / "pairs.csv").write_text("\n".join(rows) + "\n")
    trees.picture(tmp_path / "clean" / "cam__P1_x_1.jpg", 1)
    trees.picture(tmp_path / "smoky" / "cam__P1_smoke_2.jpg", 2)
    trees.picture(tmp_path / "smoky" / "cam__P1_blood_3.jpg", 3)
    found = dataset.recognise(tmp_path)
    items = found.items
    assert found.notes == ["smoky/: 1 pictures of no known kind"]
    splits = {i.position: i.split for i in items if i.paired}
    assert splits == {1: "train", 6: "test", 9: "test", 15: "test", 16: "train"}
    (alone,) = [i for i in items if i.degraded and not i.paired]
    (clear,) = [i for i in items if i.clear and not i.paired]
    assert (alone.scene, alone.split) == (clear.scene, clear.split)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no data set"):
        dataset.recognise(tmp_path)
    with pytest.raises(FileNotFoundError):
        dataset.recognise(tmp_path / "absent")


def test_the_shared_data_reads() -> None:
    root = dataset.shared_data()
    if root is None:
        pytest.skip("no shared data: set SURGICLEAR_SHARED")
    found = dataset.recognise(root)
    assert found.dataset == "scenes" and not found.problems
    assert sum(i.paired for i in found.items) == len(dataset.pairs(root)) > 100
