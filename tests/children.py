"""Entries of child processes for tests of the launcher."""

from __future__ import annotations

import os
import time

import psutil

from server.child import Child, Control, end_on_terminate, launch


def echo(argument: object, control: Control) -> None:
    """Answers what it was started with and then each message."""
    control.send({"argument": repr(argument), "title": psutil.Process().cmdline()[0]})
    try:
        while True:
            message = control.receive()
            if message is None:
                time.sleep(0.001)
            else:
                control.send({"echo": message})
    except EOFError:
        os._exit(0)


def parent(argument: object, control: Control) -> None:
    """Has a child of its own and tells its number."""
    child = launch(echo, None, title="surgiclear: grandchild", fds=())
    control.send({"child": child.pid})
    time.sleep(1000)


def tidy(argument: object, control: Control) -> None:
    """Ends in order when asked to."""
    _, asked = end_on_terminate()
    control.send({"up": True})
    while not asked.is_set():
        time.sleep(0.001)
    control.send({"tidied": True})


def deaf(argument: object, control: Control) -> None:
    """Never reads."""
    control.send({"up": True})
    time.sleep(1000)


def hear(child: Child, patience_s: float = 60.0) -> dict[str, object]:
    """The next message of a child."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        message = child.control.receive()
        if message is not None:
            return message
        time.sleep(0.001)
    raise TimeoutError("no message")
