"""What libav's network errors mean to a person, without the address and its password."""

from __future__ import annotations

import errno

import av.error

from server.rtsp import LOGIN

# libav's error: (what the other side does, what to do about it)
WORDS: tuple[tuple[type[Exception], str, str], ...] = (
    (av.error.HTTPUnauthorizedError, "does not accept this user and password", LOGIN),
    (av.error.HTTPForbiddenError, "forbids it", "is this user allowed to?"),
    (av.error.HTTPNotFoundError, "has nothing at this path", "check what follows HOST/"),
    (av.error.HTTPOtherClientError, "refuses the request", "is the path right, and free?"),
    (av.error.HTTPServerError, "has failed by itself", "look at its own log"),
    (av.error.ConnectionRefusedError, "refuses the connection", "is it on, and the port right?"),
    (av.error.ConnectionResetError, "has closed the connection", ""),
    (av.error.BrokenPipeError, "has closed the connection", ""),
    (av.error.TimeoutError, "does not answer", "is it on, and the address right?"),
    (av.error.ExitError, "does not answer in time", "is it on, and the network sound?"),
    (av.error.InvalidDataError, "sends what is no video", "check the address"),
    (av.error.EOFError, "has ended the transmission", ""),
    (av.error.ProtocolNotFoundError, "asks for a protocol that is not there", "use rtsp://"),
)


UNTRUSTED = ("shows no certificate that is trusted", "name its authority: live.rtsp_ca_file")


def meaning(error: Exception, *, secure: bool = False) -> tuple[str, str]:
    """What the other side does, and what to do about it. libav's own text is not passed on: it
    holds the address, password and all. secure: while an encrypted connection was made, of whose
    failure libav says no more than EIO."""
    if secure and getattr(error, "errno", None) == errno.EIO:
        return UNTRUSTED
    for kind, words, do in WORDS:
        if isinstance(error, kind):
            return words, do
    if isinstance(error, OSError):
        return "cannot be reached, or has gone", "check the name, the network and the cable"
    return f"cannot be used ({type(error).__name__})", "check the address"


def is_login(error: Exception) -> bool:
    """Whether the other side wants another user or password."""
    return isinstance(error, av.error.HTTPUnauthorizedError)
