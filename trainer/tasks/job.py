"""What a recipe is made of: a frozen value that builds the task, its data and its judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainer.fit.loop import Judge
from trainer.fit.plan import Plan
from trainer.fit.stream import Source
from trainer.fit.task import Task


class Job(Protocol):
    """Frozen, and told in full in every checkpoint."""

    def build(self) -> Task:
        """Fresh nets, or those that the job begins with."""
        ...

    def source(self, root: Path) -> Source:
        """What there is to train on in a data folder."""
        ...

    def judge(self, root: Path) -> Judge | None:
        """The judge of what is kept aside; None where nothing is."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One run: what, on what, for how long."""

    name: str
    about: str
    job: Job
    plan: Plan
