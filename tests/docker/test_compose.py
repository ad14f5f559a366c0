"""The compose file and what it mounts: hardened, and settings that the service takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.config import Config, StartSection
from server.metrics import Metrics
from server.rtsp import check

FOLDER = Path(__file__).parent.parent.parent / "docker"
PROMTOOL = shutil.which("promtool")


def read(name: str) -> dict[str, Any]:
    found = yaml.safe_load((FOLDER / name).read_text())
    assert isinstance(found, dict)
    return found


SERVICES: dict[str, dict[str, Any]] = read("compose.yaml")["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_do_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert ":" in service["image"] or "build" in service  # no image of tomorrow


def test_the_service_runs_on_a_root_that_cannot_be_written() -> None:
    ours = SERVICES["surgiclear"]
    assert ours["read_only"] is True
    assert ours["tmpfs"] == ["/tmp"]
    assert (FOLDER / ours["build"]["context"] / ours["build"]["dockerfile"]).exists()


@pytest.mark.parametrize("name", SERVICES)
def test_everything_that_is_mounted_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert not source.startswith(".") or (FOLDER / source).is_file(), source


def test_the_stream_is_one_that_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES["surgiclear"]["environment"].items():
        monkeypatch.setenv(key, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value))
    (start,) = Config().streams
    assert isinstance(start, StartSection)
    for address in (start.source, *(start.sinks or ())):
        check(address)
        host, path = address.removeprefix("rtsp://").split("/")
        assert host == "mediamtx:8554"
        assert path in read("mediamtx.yml")["paths"]
    assert json.loads(SERVICES["surgiclear"]["environment"]["SURGICLEAR_STREAMS"])


def test_the_media_server_takes_tcp_and_nothing_else() -> None:
    settings = read("mediamtx.yml")
    assert settings["rtspTransports"] == ["tcp"]
    assert not any(settings[other] for other in ("rtmp", "hls", "webrtc", "srt"))


def test_prometheus_asks_the_service_and_knows_what_it_answers() -> None:
    (job,) = read("prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["surgiclear:8000"]}]
    known = {
        name
        for family in Metrics().registry.collect()
        for name in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    own = (Path(__file__).parent.parent.parent / "server/metrics.py").read_text()
    (group,) = read("alerts.yml")["groups"]
    asked = {
        name for rule in group["rules"] for name in re.findall(r"surgiclear_\w+", rule["expr"])
    }
    assert len(asked) >= 4
    for name in asked - known:  # of streams, which are not there yet
        stem = name.removeprefix("surgiclear_stream_").removesuffix("_total")
        assert f'"{stem}"' in own, name


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize(("what", "name"), [("config", "prometheus.yml"), ("rules", "alerts.yml")])
def test_promtool_finds_nothing(what: str, name: str) -> None:
    done = subprocess.run(
        [str(PROMTOOL), "check", what, str(FOLDER / name)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
