"""This process's own TCP connections, also those that a library holds: found, and made prompt.

Two habits of TCP together hold a picture back for 40 ms: a sender with small pieces left waits for
the acknowledgement of what it sent before (Nagle, RFC 896), and a receiver that also talks delays
its acknowledgements (RFC 1122, 4.2.3.2). RTSP servers and libav leave both on, and give no option
for it. A camera's pictures then come in pairs, every second one a whole period late.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterable, Iterator


def connections() -> list[int]:
    """Descriptors of this process that are TCP sockets."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile: the listing's own, for one
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with _borrowed(int(name)) as one:
                if one.family in (socket.AF_INET, socket.AF_INET6):
                    found.append(int(name))
    return found


def send_at_once(fds: Iterable[int]) -> None:
    """Nothing waits for an acknowledgement before it is sent; holds for good."""
    _switch_on(fds, socket.TCP_NODELAY)


def acknowledge_at_once(fds: Iterable[int]) -> None:
    """What has come is acknowledged now, and what comes next without delay: until something is
    sent on the connection, so it is to be said again and again (tcp(7), TCP_QUICKACK)."""
    _switch_on(fds, socket.TCP_QUICKACK)


def unsent(fd: int) -> int:
    """Bytes in the kernel's queue that the other side has not taken."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))
    except OSError:
        return 0  # closed: sending says so
    return int(count)


def _switch_on(fds: Iterable[int], option: int) -> None:
    for fd in fds:
        with contextlib.suppress(OSError), _borrowed(fd) as one:  # closed: reading says so
            one.setsockopt(socket.IPPROTO_TCP, option, 1)


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """The socket, which stays open when the block is left."""
    one = socket.socket(fileno=os.dup(fd))
    try:
        yield one
    finally:
        one.close()
