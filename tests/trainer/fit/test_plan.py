"""Recipes told as JSON, compared, and batches cut into shares."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from trainer.fit.plan import Plan, difference, told
from trainer.fit.schedule import Cosine
from trainer.tasks.recipes import modern

PLAN = Plan(steps=5, batch=12)


def test_a_recipe_survives_json_with_the_names_of_its_parts() -> None:
    text = told(modern("focalnet"))
    assert json.loads(json.dumps(text)) == text
    assert text["plan"]["schedule"]["is"] == "Cosine" and text["job"]["net"] == "focalnet"


def test_a_difference_is_named_and_what_steers_no_loss_is_none() -> None:
    a = {"plan": told(PLAN)}
    assert difference(a, {"plan": told(replace(PLAN, workers=9, save_every=1))}) is None
    found = difference(a, {"plan": told(replace(PLAN, schedule=Cosine(steps=5)))})
    assert found is not None and found.startswith("plan.schedule")
    assert difference(a, {"plan": told(PLAN), "job": 1}) == "job: None, now 1"


def test_a_field_that_a_run_did_not_know_yet_counts_as_its_default() -> None:
    older = {"plan": told(PLAN)}
    del older["plan"]["ema_buffers"]
    assert difference(older, {"plan": told(PLAN)}) is None
    found = difference(older, {"plan": told(replace(PLAN, ema_buffers=True))})
    assert found == "plan.ema_buffers: False, now True"


def test_shares() -> None:
    assert replace(PLAN, accumulate=2).share(3) == 2
    for processes in (5, 13):
        with pytest.raises(ValueError, match=f"{processes} processes"):
            PLAN.share(processes)
