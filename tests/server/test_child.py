"""Children: fresh, named, able to talk, and never left behind."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import children
import psutil
import pytest
from children import hear

from server.child import Child, Control, launch

PATIENCE_S = 60.0


@contextmanager
def started(entry: Callable[[object, Control], None], argument: object = None) -> Iterator[Child]:
    child = launch(entry, argument, title="surgiclear: test", fds=())
    try:
        yield child
    finally:
        child.kill()
        assert child.reaped(PATIENCE_S)


def ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_child_gets_its_task_and_its_name_and_answers() -> None:
    with started(children.echo, {"x": (1, 2)}) as child:
        hello = hear(child)
        assert hello == {"argument": "{'x': (1, 2)}", "title": "surgiclear: test"}
        assert child.control.send({"n": 1})
        assert hear(child) == {"echo": {"n": 1}}


def test_killing_works_on_a_stopped_child_and_is_seen_on_the_socket() -> None:
    with started(children.deaf) as child:
        hear(child)
        os.kill(child.pid, signal.SIGSTOP)
        control = child.control
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(EOFError):
            while True:
                control.receive()
        child.kill()
        assert child.reaped(PATIENCE_S)
        assert not child.alive


@pytest.mark.parametrize("stopped", [False, True])
def test_no_child_outlives_its_parent(stopped: bool) -> None:
    with started(children.parent) as child:
        grandchild = hear(child)["child"]
        assert isinstance(grandchild, int)
        until(lambda: "grandchild" in " ".join(psutil.Process(grandchild).cmdline()))
        if stopped:
            os.kill(grandchild, signal.SIGSTOP)
        os.kill(child.pid, signal.SIGKILL)
        until(lambda: ended(grandchild))


def test_a_child_may_end_in_order() -> None:
    with started(children.tidy) as child:
        assert hear(child) == {"up": True}
        child.process.terminate()
        assert hear(child) == {"tidied": True}
        assert child.reaped(PATIENCE_S)
        assert child.process.returncode == 0


def test_sending_to_one_that_does_not_read_never_waits() -> None:
    with started(children.deaf) as child:
        hear(child)
        sent = 0
        while child.control.send_bytes(bytes(10_000)):
            sent += 1
            assert sent < 10_000
        assert sent > 0
        child.control.room(1 << 16)
        assert not child.control.send({"x": 1})


@pytest.mark.parametrize("message", [b"{", b"[1]", b"7", b"[" * 50_000, b"\xff"])
def test_what_is_no_message_counts_as_the_end(message: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control, other = Control(ours), Control(theirs)
    assert other.send_bytes(message)
    with pytest.raises(EOFError):
        control.receive()
    control.close()
    other.close()


def test_what_was_sent_before_the_end_is_still_read() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control, other = Control(ours), Control(theirs)
    other.send({"last": "words"})
    other.close()
    assert control.receive() == {"last": "words"}
    with pytest.raises(EOFError):
        control.receive()
    assert not control.send({"anyone": "there"})
    control.close()
