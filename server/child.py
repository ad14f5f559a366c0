"""A child process of ours: a fresh interpreter, a control socket, and no way to outlive its parent.

Not multiprocessing's: its children import the parent's main module again, its resource tracker is
one more process, and a child stopped by SIGSTOP would survive its parent. Ours start from nothing,
are killed by the kernel when their parent dies, and take only what they are handed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import setproctitle

BOOT = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);"
    "from server.child import main;main(*map(int,sys.argv[2:]))"
)
MESSAGE_MOST = 60_000  # bytes; below the default socket buffer
PR_SET_PDEATHSIG = 1


class Control:
    """A socket with message boundaries between parent and child: JSON both ways, never a pickle
    from a child (it may have read hostile data). Sending never waits."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        sock.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: dict[str, Any]) -> bool:
        """False when the other side does not read, or is gone."""
        return self.send_bytes(json.dumps(message).encode())

    def send_bytes(self, message: bytes) -> bool:
        try:
            return self._socket.send(message) == len(message)
        except OSError:
            return False

    def send_waiting(self, message: bytes) -> None:
        """Waits for the other side: only with a safety control off."""
        self._socket.setblocking(True)
        with contextlib.suppress(OSError):
            self._socket.send(message)
        self._socket.setblocking(False)

    def receive_bytes(self) -> bytes | None:
        """The next message, None when there is none yet. Raises EOFError when the other side is
        gone."""
        try:
            message = self._socket.recv(1 << 18)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        if not message:
            raise EOFError
        return message

    def receive(self) -> dict[str, Any] | None:
        """As receive_bytes; a message that is no JSON object counts as the other side's end."""
        message = self.receive_bytes()
        if message is None:
            return None
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            raise EOFError("not a message") from None
        if not isinstance(value, dict):
            raise EOFError("not a message")
        return value

    def room(self, size: int) -> None:
        """Asks the kernel for `size` bytes of buffer on the sending side."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def close(self) -> None:
        self._socket.close()


Entry = Callable[[Any, Control], None]


class Child:
    """The parent's hold on one child process."""

    def __init__(self, process: subprocess.Popen[bytes], control: Control, title: str) -> None:
        self.process = process
        self.control = control
        self.title = title

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """At once, also when stopped or hanging. Does not wait for its end (a driver may hold it
        up): `reaped` has to be asked until it says so."""
        if self.alive:
            self.process.kill()
        self.control.close()

    def reaped(self, timeout_s: float = 0.0) -> bool:
        """Whether nothing of it is left; waits up to timeout_s."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        return not self.alive


def launch(entry: Entry, argument: object, *, title: str, fds: Iterable[int]) -> Child:
    """Starts `entry(argument, control)` in a fresh interpreter. entry: a module's function;
    argument: picklable; fds: descriptors it inherits under the same numbers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    work = os.memfd_create("surgiclear task")
    try:
        with os.fdopen(os.dup(work), "wb") as file:
            pickle.dump((entry, argument, title), file)
        os.lseek(work, 0, os.SEEK_SET)
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                BOOT,
                json.dumps(sys.path),
                str(theirs.fileno()),
                str(work),
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), work, *fds),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(work)
    return Child(process, Control(ours), title)


def main(control_fd: int, work_fd: int, parent: int) -> None:
    """Where a child begins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to handle
    die_with_parent(parent)
    with os.fdopen(work_fd, "rb") as file:
        entry, argument, title = pickle.load(file)  # written by our parent, by nobody else
    setproctitle.setproctitle(title)
    control = Control(socket.socket(fileno=control_fd))
    entry(argument, control)


def die_with_parent(parent: int) -> None:
    """Linux kills us with the thread that started us, even when we are stopped or hang."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)


def end_on_terminate() -> tuple[int, threading.Event]:
    """For a process that has to tidy up: SIGTERM only sets an event and makes a descriptor
    readable."""
    asked = threading.Event()
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    return readable, asked
