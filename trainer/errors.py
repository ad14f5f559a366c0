"""What the trainer tells the user in one line."""

from __future__ import annotations

from engines.errors import EngineError


class TrainingRefused(EngineError):
    """The wish, the data or the installation does not do."""

    exit_code = 2


class TrainingFailed(EngineError):
    """It was begun, and cannot go on."""
