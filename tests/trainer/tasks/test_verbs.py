"""The verbs: names, and what each recipe has no use for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trees
from training import scene, write

from trainer.tasks.recipes import RECIPES
from trainer.tasks.run import Settings
from trainer.tasks.verbs import bench_align, table, train


def test_the_table_has_every_recipe_once() -> None:
    names = [name for name, _ in table()]
    assert len(names) == len(set(names)) == len(RECIPES)
    assert all(about for _, about in table())


def test_an_unknown_name_and_a_useless_setting_are_said(tmp_path: Path) -> None:
    def run(name: str, settings: Settings) -> None:
        train(name, tmp_path, tmp_path, resume=False, dry=False, settings=settings)

    with pytest.raises(ValueError, match="'nonesuch'"):
        run("nonesuch", Settings())
    with pytest.raises(ValueError, match="veil has no use for --teacher"):
        run("veil", Settings(teacher="x"))
    with pytest.raises(ValueError, match="no use for --guard"):
        run("modern-ramit", Settings(guard="x"))


def test_veil_is_told_which_data_it_trains_on(tmp_path: Path) -> None:
    root = trees.lsvd(tmp_path / "data")
    with pytest.raises(ValueError, match=r"is lsvd, which holds no clean/ .* for veil\. Recipes"):
        train("veil", root, tmp_path, resume=False, dry=False, settings=Settings())


def test_alignment_is_measured_on_held_out_patients_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clear frames"):
        bench_align(tmp_path, 1, None)
    for patient in range(12):  # by a hash of the name, one in five is held out
        write(tmp_path / "clean" / f"artnet_P{patient}_1.png", scene(patient, 270, 480))
        (tmp_path / "clean" / f"artnet_P{patient}_1.png").rename(
            tmp_path / "clean" / f"artnet_P{patient}_1.jpg"
        )
    text = bench_align(tmp_path, 1, None)
    assert text.splitlines()[0] == "1 frames of 480x270" and "structured" in text
