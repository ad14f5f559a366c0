"""Recipes name each other rightly, and every scene has a judge that never saw it."""

from __future__ import annotations

import pytest

from trainer.recipes import FOLDS, RECIPES, judged_by, lineage
from trainer.tasks.veil import TrainVeil


def test_a_recipe_is_found_under_its_own_name() -> None:
    assert [make().name for make in RECIPES.values()] == list(RECIPES)


def test_the_lineage_ends_in_the_run_itself() -> None:
    assert lineage("veil") == ("veil-synthetic", "veil-further", "veil")
    assert lineage("veil-fold0")[:-1] == lineage("veil")[:-1]


def test_the_seed_of_the_samples_is_that_of_the_run() -> None:
    for make in RECIPES.values():
        recipe = make()
        assert isinstance(recipe.job, TrainVeil) and recipe.job.seed == recipe.plan.seed
        assert recipe.plan.schedule.factor(recipe.plan.steps) == pytest.approx(0.01)


def test_every_scene_is_judged_by_a_net_that_left_it_out() -> None:
    for scene in (scene for fold in FOLDS for scene in fold):
        job = RECIPES[judged_by(scene)]().job
        assert isinstance(job, TrainVeil) and job.without is not None and scene in job.without
    with pytest.raises(ValueError, match="no fold leaves"):
        judged_by("unheard of")
