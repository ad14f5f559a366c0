"""Every error of this package.

SurgiclearClientError
├── Unreachable   nothing answers at the address
├── Refused       the service said no: status (0 on a socket), code, message, retry_after_s
├── Closed        the connection ended: code (RFC 6455 or 44xx), message
├── BadMessage    what came is not of this protocol
└── BadPicture    what was given or came is not a picture of the kind that is needed
"""

from __future__ import annotations


class SurgiclearClientError(Exception):
    """Base of all."""


class Unreachable(SurgiclearClientError):
    """Nothing answers at the address, or not in time."""


class Refused(SurgiclearClientError):
    """The service said no. retry_after_s: when another try may succeed, None if it never will."""

    def __init__(
        self, code: str, message: str, *, status: int = 0, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s


class Closed(SurgiclearClientError):
    """The connection ended. code: 1000 in order, 1001 the service or the stream ended, 1013 try
    later, 4400 protocol, 4401 token, 4404 no such stream, 4408 too slow."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message or 'the connection ended'} ({code})")
        self.code = code
        self.message = message


class BadMessage(SurgiclearClientError):
    """What came is not of this protocol."""


class BadPicture(SurgiclearClientError):
    """Not a picture of the kind that is needed."""
