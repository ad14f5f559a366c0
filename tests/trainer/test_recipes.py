"""Recipes name each other rightly, and every scene has a judge that never saw it."""

from __future__ import annotations

import pytest

from trainer.recipes import FOLDS, RECIPES, judged_by, lineage


def test_a_recipe_is_found_under_its_own_name() -> None:
    assert [make().name for make in RECIPES.values()] == list(RECIPES)


def test_the_lineage_ends_in_the_run_itself() -> None:
    assert lineage("veil") == ("veil-synthetic", "veil-further", "veil")
    assert lineage("veil-fold0")[:-1] == lineage("veil")[:-1]


def test_every_scene_is_judged_by_a_net_that_left_it_out() -> None:
    for scene in (scene for fold in FOLDS for scene in fold):
        judge = RECIPES[judged_by(scene)]()
        assert judge.without is not None and scene in judge.without
    with pytest.raises(ValueError, match="no fold leaves"):
        judged_by("unheard of")
