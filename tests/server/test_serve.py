"""`surgiclear serve` as a process: it says where it is, it ends in time, it leaves nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from scripted import config_of, listening

from server.errors import SettingInvalid
from server.serve import address_of, bind, with_stream
from surgiclear_client import Client

ROOT = Path(__file__).parent.parent.parent
PROGRAM = "import sys; from surgiclear import main; sys.argv[0] = 'surgiclear'; main()"


@contextmanager
def serving(*extra: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the address that it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--port", "0", *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line or (process.stderr and process.stderr.read())
        yield process, found.group()
    finally:
        process.kill()
        process.communicate()


TITLES = {"surgiclear: still", "surgiclear: stream", "surgiclear: engine", "surgiclear: decode"}


def family(pid: int) -> dict[int, str]:
    """Titles of all processes under one, without their numbers."""
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error, IndexError):
            found[child.pid] = child.cmdline()[0].rpartition(" ")[0]
    return found


def test_a_signal_ends_all_of_it() -> None:
    streams = '[{"source": "phantom:?size=128x96"}]'
    with serving(SURGICLEAR_STREAMS=streams) as (process, url):
        assert psutil.Process(process.pid).cmdline()[0] == "surgiclear: api"
        end = time.monotonic() + 100
        while not set(family(process.pid).values()) >= TITLES:
            assert time.monotonic() < end
            time.sleep(0.1)
        children = family(process.pid)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        took_s = time.monotonic() - started
        assert process.returncode == 0, errors
        assert not [pid for pid in children if psutil.pid_exists(pid)]
        assert took_s < 5 * max(1.0, psutil.getloadavg()[0])  # alone on the machine: 5 s
        with pytest.raises(httpx.HTTPError):
            httpx.get(url, trust_env=False)


def test_metrics_have_an_address_of_their_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with listening(config_of(metrics={"port": port})) as service:
        assert httpx.get(f"{service.url}/metrics", trust_env=False).status_code == 404
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert page.status_code == 200 and "surgiclear_frame_age_seconds" in page.text
        assert httpx.get(f"http://127.0.0.1:{port}/v1/streams", trust_env=False).status_code == 404


def test_a_wrong_wish_is_one_line_and_exit_2() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", "--port", "99999"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1 and "port" in done.stderr


@pytest.mark.parametrize("host", ["256.1.1.1", "a b", ""])
def test_an_address_that_is_none_is_said(host: str) -> None:
    with pytest.raises(SettingInvalid):
        bind(host, -1)


def test_a_port_that_is_taken_is_said() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(SettingInvalid, match=str(port)):
            bind("127.0.0.1", port)


def test_all_interfaces_are_shown_as_this_machine() -> None:
    with bind("0.0.0.0", 0) as listener:
        assert address_of(listener).startswith("http://127.0.0.1:")


def test_slow_requests_do_not_hold_up_the_end() -> None:
    with listening() as service, socket.create_connection(("127.0.0.1", service.port)) as idle:
        idle.sendall(b"POST /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n")
        service.begin()
    assert not service.manager.list()


def test_the_client_sees_an_orderly_end() -> None:
    with listening() as service, Client(service.url) as client:
        watch = client.view(service.begin())
        service.stop()
        assert list(watch) == []
        watch.close()


def test_a_stream_from_the_command_line_is_one_more() -> None:
    config = config_of(streams=[{"source": "phantom:"}])
    assert with_stream(config, None, (), None) is config
    more = with_stream(config, "rtsp://h/x", ("rtsp://h/y",), "veil")
    assert [start.source for start in more.streams] == ["phantom:", "rtsp://h/x"]
    assert more.streams[1].sinks == ("rtsp://h/y",)
    assert more.streams[1].engine == "veil"


@pytest.mark.parametrize(
    ("source", "sinks"),
    [(None, ("rtsp://h/y",)), ("rtsp://", ()), ("phantom:", ("http://h/y",)), ("nonsense", ())],
)
def test_a_wrong_stream_is_said_before_anything_starts(
    source: str | None, sinks: tuple[str, ...]
) -> None:
    with pytest.raises(SettingInvalid):
        with_stream(config_of(), source, sinks, None)
