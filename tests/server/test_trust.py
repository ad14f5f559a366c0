"""Whom rtsps:// believes: what libav is told, and what comes of it with a real server."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from certificates import Authority, authority
from fakes import FakeRestorer
from relays import Camera, Relay, missing, relay
from streams import HEIGHT, LIMITS, PATIENCE_S, WIDTH, coded

from engines.picture import Colour
from server.broadcast import Broadcast
from server.engine_process import RestorerFactory
from server.errors import SettingInvalid, SinkUnwritable, SourceUnreadable
from server.feed import feed
from server.manager import StreamManager, StreamSpec
from server.trust import SYSTEM, Trust

NEEDS_SERVER = pytest.mark.skipif(bool(missing()), reason=missing() or "there")
COLOUR = Colour("bt601", full_range=False)
ANYBODY = Trust(verify=False)


def test_certificates_are_checked_unless_a_person_says_otherwise(tmp_path: Path) -> None:
    own = Trust(tmp_path / "ca.pem")
    assert SYSTEM.options("rtsps://h/x")["tls_verify"] == "1"
    assert own.options("rtsps://h/x") == {"tls_verify": "1", "ca_file": str(tmp_path / "ca.pem")}
    assert ANYBODY.options("rtsps://h/x") == {"tls_verify": "0"}
    assert SYSTEM.options("rtsp://h/x") == own.options("file:x") == {}


def test_the_system_s_authorities_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """libav's own build may know none."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert SYSTEM.options("rtsps://h/x")["ca_file"] == str(bundle)


def test_a_file_that_holds_no_certificate_is_refused_at_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for file in (empty, tmp_path / "none.pem"):
        with pytest.raises(SettingInvalid, match="no file of certificates"):
            Trust(file).check()
    SYSTEM.check()
    authority(tmp_path / "ca.pem")
    Trust(tmp_path / "ca.pem").check()


def test_it_reaches_other_processes() -> None:
    assert pickle.loads(pickle.dumps(Trust(Path("x"), verify=False))) == Trust(Path("x"), False)


@pytest.mark.parametrize(
    ("trust", "source", "told"),
    [(ANYBODY, "rtsps://127.0.0.1:1/x", 1), (ANYBODY, "rtsp://127.0.0.1:1/x", 0),
     (SYSTEM, "rtsps://127.0.0.1:1/x", 0)],
)  # fmt: skip
def test_each_stream_that_believes_anybody_is_told_of(
    trust: Trust, source: str, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        factories = {"fake": RestorerFactory(name="fake", make=FakeRestorer)}
        async with StreamManager(factories, limits=LIMITS, trust=trust) as manager:
            await manager.start(StreamSpec(source=source, engine="fake"))

    asyncio.run(run())
    assert sum("NOT verified" in record.message for record in caplog.records) == told


@dataclass(frozen=True, slots=True)
class Served:
    """A server with a certificate for 127.0.0.1, a camera that publishes there, and who vouches."""

    relay: Relay
    ours: Authority
    stranger: Authority


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tls")
    ours, stranger = authority(folder / "ours.pem"), authority(folder / "stranger.pem")
    pem = ours.server("127.0.0.1", folder / "server.pem")
    with relay("camera,shown", tls=str(pem)) as one:
        camera = Camera(one.entry("camera"))
        camera.on()
        try:
            yield Served(one, ours, stranger)
        finally:
            camera.off()


def first(url: str, trust: Trust) -> None:
    """A picture, once the camera is there; raises where the server is not believed."""
    while True:
        try:
            next(feed(url, trust))
            return
        except SourceUnreadable as error:
            if "nothing at this path" not in str(error):
                raise


@NEEDS_SERVER
def test_a_camera_with_a_certificate_of_our_authority_is_believed(served: Served) -> None:
    first(served.relay.exit("camera"), Trust(served.ours.file))


@NEEDS_SERVER
def test_a_camera_that_nobody_vouches_for_is_not(served: Served) -> None:
    for trust in (Trust(served.stranger.file), SYSTEM):
        with pytest.raises(SourceUnreadable, match="no certificate that is trusted"):
            first(served.relay.exit("camera"), trust)
    first(served.relay.exit("camera"), ANYBODY)  # only where a person has said so


@NEEDS_SERVER
def test_a_certificate_of_another_host_is_no_proof(served: Served, tmp_path: Path) -> None:
    elsewhere = served.ours.server("camera.elsewhere", tmp_path / "other.pem")
    with (
        relay("camera", tls=str(elsewhere)) as other,
        pytest.raises(SourceUnreadable, match="no certificate that is trusted"),
    ):
        first(other.exit("camera"), Trust(served.ours.file))


@NEEDS_SERVER
def test_a_sink_asks_the_same(served: Served) -> None:
    url = served.relay.entry("shown")
    for trust in (Trust(served.stranger.file), SYSTEM):
        with pytest.raises(SinkUnwritable, match="no certificate that is trusted"):
            Broadcast(url, WIDTH, HEIGHT, COLOUR, trust)
    one = Broadcast(url, WIDTH, HEIGHT, COLOUR, Trust(served.ours.file))
    one.send(coded(0, 1), 0)
    one.close()


@NEEDS_SERVER
@pytest.mark.parametrize("believed", [True, False])
def test_a_stream_s_own_processes_are_told_whom_to_believe(served: Served, believed: bool) -> None:
    trust = Trust(served.ours.file if believed else served.stranger.file)

    async def run() -> None:
        async with StreamManager(
            {"fake": RestorerFactory(name="fake", make=FakeRestorer)},
            limits=LIMITS,
            feed=partial(feed, trust=trust),
            trust=trust,
        ) as manager:
            camera, phantom = [
                await manager.start(
                    StreamSpec(source=source, engine="fake", deadline_ms=700, sinks=sinks)
                )
                for source, sinks in (
                    (served.relay.exit("camera"), ()),
                    ("phantom:?size=128x96&fps=10", (served.relay.entry("shown"),)),
                )
            ]
            end = time.monotonic() + PATIENCE_S
            while time.monotonic() < end:
                await asyncio.sleep(0.05)
                source, (sink,) = manager.state(camera), manager.state(phantom).sinks
                if believed and source.frames_out and sink.state == "up":
                    return
                if not believed and source.trouble and sink.why:
                    assert "no certificate that is trusted" in source.trouble
                    assert "no certificate that is trusted" in sink.why
                    assert source.frames_out == 0 and sink.sent == 0
                    return
            raise AssertionError(f"{source.trouble} {sink}")

    asyncio.run(run())
