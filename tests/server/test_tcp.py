"""TCP connections of this process: found among its descriptors, and their delays switched off."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from server import tcp


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    with ours, theirs:
        yield ours, theirs


def test_connections_are_found_and_nothing_else(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    local, other = socket.socketpair()
    with local, other:
        found = tcp.connections()
    assert {one.fileno() for one in pair} <= set(found)
    assert not {local.fileno(), other.fileno()} & set(found)
    assert all(os.fstat(fd) for fd in (one.fileno() for one in pair))  # none was closed


def test_nothing_waits_for_an_acknowledgement(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    assert not ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    tcp.send_at_once([ours.fileno()])
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_comes_is_acknowledged_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """Also by an end that has talked itself, which is when the kernel begins to delay."""
    ours, theirs = pair
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    tcp.acknowledge_at_once([ours.fileno()])
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"


def test_what_the_other_side_has_not_taken_is_counted(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(65_536))
    except BlockingIOError:
        assert tcp.unsent(ours.fileno()) > 65_536


def test_a_connection_that_is_closed_is_no_trouble() -> None:
    """The library may close it at any time: reading or sending tells."""
    closed = socket.socket()
    fd = closed.fileno()
    closed.close()
    tcp.send_at_once([fd])
    tcp.acknowledge_at_once([fd])
    assert tcp.unsent(fd) == 0
