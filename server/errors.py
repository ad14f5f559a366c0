"""Every error a user can meet.

SurgiclearError
├── UserError            the user can mend it (exit 2)
│   ├── SourceUnreadable input missing, empty, truncated or not a picture
│   │   └── LoginRefused a camera does not accept the user and password
│   ├── SinkUnwritable   output cannot be written
│   ├── SettingInvalid   an option or configuration value is wrong
│   ├── StreamUnknown    no stream has this id
│   ├── EngineUnknown    no engine has this name
│   └── FrameTooLarge    a frame over the pixel or byte cap
└── Failure              something broke (exit 1)
    ├── EngineUnavailable no engine could be loaded
    ├── StreamsFull       as many streams run as are allowed
    └── OutputIncomplete  writing stopped half-way (disk full); nothing partial is left
"""

from __future__ import annotations


class SurgiclearError(Exception):
    """Base of all; `what` is wrong and what to `do` about it, one line together."""

    exit_code = 1

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__(what, do)
        self.what = what
        self.do = do

    def __str__(self) -> str:
        return f"{self.what}: {self.do}" if self.do else self.what


class UserError(SurgiclearError):
    """The user can mend it."""

    exit_code = 2


class SourceUnreadable(UserError):
    """The input is missing, empty, truncated or not what it claims to be."""


class LoginRefused(SourceUnreadable):
    """A camera does not accept the user and password."""


class SinkUnwritable(UserError):
    """The output cannot be created or written."""


class SettingInvalid(UserError):
    """An option or configuration value is wrong."""


class StreamUnknown(UserError):
    """No stream has this id."""


class EngineUnknown(UserError):
    """No engine has this name."""


class FrameTooLarge(UserError):
    """A frame is over the pixel or byte cap."""


class Failure(SurgiclearError):
    """Something broke that the user did not cause."""


class EngineUnavailable(Failure):
    """No engine could be loaded or run."""


class StreamsFull(Failure):
    """As many streams run as are allowed."""


class OutputIncomplete(Failure):
    """Writing stopped half-way; nothing partial is left behind."""
