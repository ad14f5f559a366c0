"""The alarm that stops a run which diverges before it has cost a night."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from trainer.fit.task import Diverged


class Alarm:
    """Watches the loss of every step. Goes off on a value that is no number at once, and on a loss
    over `factor` times the median of the last `window` when it stays there for `patience` steps:
    one wild batch is no divergence."""

    def __init__(self, factor: float = 4.0, patience: int = 10, window: int = 200) -> None:
        self.factor, self.patience = factor, patience
        self._calm: deque[float] = deque(maxlen=window)
        self._wild = 0

    def hear(self, step: int, loss: float) -> None:
        """Raises Diverged."""
        if not math.isfinite(loss):
            raise Diverged(step, f"the loss is {loss}")
        usual = median(self._calm) if len(self._calm) >= self.patience else math.inf
        # the size of the usual loss, so that a cost that may be negative is watched too
        if loss - usual > (self.factor - 1) * max(abs(usual), 1e-6):
            self._wild += 1
            if self._wild >= self.patience:
                raise Diverged(
                    step,
                    f"the loss has been over {self.factor:g} times its usual {usual:.4g} for "
                    f"{self.patience} steps, {loss:.4g} now",
                )
            return
        self._wild = 0
        self._calm.append(loss)

    @property
    def uneasy(self) -> bool:
        """Whether the last loss was a wild one."""
        return self._wild > 0

    def state(self) -> dict[str, object]:
        return {"calm": list(self._calm), "wild": self._wild}

    def load(self, state: dict[str, object]) -> None:
        calm, wild = state["calm"], state["wild"]
        assert isinstance(calm, list) and isinstance(wild, int)
        self._calm.clear()
        self._calm.extend(calm)
        self._wild = wild
