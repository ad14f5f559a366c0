"""What a recipe is made of: a frozen value that builds the task, its data and its judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from trainer.feed.data import Data, Need
from trainer.fit.loop import Judge
from trainer.fit.plan import Plan
from trainer.fit.stream import Feed
from trainer.fit.task import Task


class Job(Protocol):
    """Frozen, and told in full in every checkpoint. needs: what a data set must offer."""

    needs: ClassVar[Need]

    def build(self) -> Task:
        """Fresh nets, or those that the job begins with."""
        ...

    def source(self, data: Data) -> Feed:
        """What there is to train on."""
        ...

    def judge(self, data: Data) -> Judge | None:
        """The judge of what is kept aside; None where nothing is."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One run: what, on what, for how long."""

    name: str
    about: str
    job: Job
    plan: Plan
