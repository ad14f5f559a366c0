"""The app as a whole: its description is true, its faults have a shape, its events are told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crashing import KILL, CrashingRestorer
from picture_files import SOUND, TOO_LARGE, image, saved
from scripted import Listening, config_of, listening

from server.auth import Role, new_token
from server.catalog import Catalog
from server.engine_process import RestorerFactory
from server.frame import Provenance
from server.spec import Fate, Levels, StreamEvent

CATALOG = Catalog((), {"veil": RestorerFactory(name="veil", make=CrashingRestorer)}, "veil")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Role, str]]:
    made = {role: new_token(role.value, role) for role in Role}
    path = tmp_path_factory.mktemp("auth") / "tokens"
    path.write_text("\n".join(line for _, line in made.values()))
    return path, {role: token for role, (token, _) in made.items()}


@pytest.fixture(scope="module")
def service(tokens: tuple[Path, dict[Role, str]]) -> Iterator[Listening]:
    config = config_of(
        stills={"workers": 1},
        limits={"body_s": 0.3, "max_bytes": 1 << 20},
        auth={"tokens_file": tokens[0]},
        streams=[{"source": "phantom:"}, {"source": "phantom:", "engine": "nobody"}],
    )
    with listening(config, catalog=CATALOG) as running:
        yield running


Case = tuple[str, str, int, dict[str, Any]]
TOO_LONG = {"content": b"x" * 70_000, "headers": {"content-type": "application/json"}}
BIG = {"content": b"\xff\xd8" + b"0" * (1 << 20)}


def half() -> Iterator[bytes]:
    """The first half of a body, and nothing for a while."""
    import time

    yield b'{"on"'
    time.sleep(0.5)
    yield b":true}"


LATE = {"content": half, "headers": {"content-type": "application/json"}}
KILLER = saved(image(size=(40, KILL)), "PNG")
# every answer that the description promises besides 401 and 403, and how to get it
CASES: list[Case] = [
    ("post", "/v1/restore", 200, {"content": SOUND["jpeg"]}),
    ("post", "/v1/restore", 400, {"content": b"no picture"}),
    ("post", "/v1/restore", 408, LATE),
    ("post", "/v1/restore", 413, BIG),
    ("post", "/v1/restore", 422, {"content": TOO_LARGE["png 4097x2160"]}),
    ("post", "/v1/restore", 503, {"content": KILLER}),
    ("post", "/v1/detect", 200, {"content": SOUND["png"]}),
    ("post", "/v1/detect", 400, {"content": b""}),
    ("post", "/v1/detect", 408, LATE),
    ("post", "/v1/detect", 413, BIG),
    ("post", "/v1/detect", 422, {"content": TOO_LARGE["jpeg 65500"]}),
    ("post", "/v1/detect", 503, {"content": KILLER}),
    ("get", "/v1/streams", 200, {}),
    ("post", "/v1/streams", 201, {"json": {"source": "phantom:"}}),
    ("post", "/v1/streams", 400, {"json": {"source": "push"}}),
    ("post", "/v1/streams", 408, LATE),
    ("post", "/v1/streams", 413, TOO_LONG),
    ("post", "/v1/streams", 503, {"json": {"source": "phantom:"}, "set": "full"}),
    ("get", "/v1/streams/{stream_id}", 200, {}),
    ("get", "/v1/streams/{stream_id}", 404, {}),
    ("delete", "/v1/streams/{stream_id}", 404, {}),
    ("post", "/v1/bypass", 200, {"json": {"on": True}}),
    ("post", "/v1/bypass", 400, {"json": {"on": 3}}),
    ("post", "/v1/bypass", 408, LATE),
    ("post", "/v1/bypass", 413, TOO_LONG),
    ("post", "/v1/streams/{stream_id}/bypass", 200, {"json": {"on": True}}),
    ("post", "/v1/streams/{stream_id}/bypass", 400, {"json": {}}),
    ("post", "/v1/streams/{stream_id}/bypass", 404, {"json": {"on": True}}),
    ("post", "/v1/streams/{stream_id}/bypass", 408, LATE),
    ("post", "/v1/streams/{stream_id}/bypass", 413, TOO_LONG),
    ("put", "/v1/streams/{stream_id}/engine", 202, {"json": {"name": "other"}}),
    ("put", "/v1/streams/{stream_id}/engine", 400, {"json": {"name": "nobody"}}),
    ("put", "/v1/streams/{stream_id}/engine", 404, {"json": {"name": "other"}}),
    ("put", "/v1/streams/{stream_id}/engine", 408, LATE),
    ("put", "/v1/streams/{stream_id}/engine", 413, TOO_LONG),
    ("put", "/v1/streams/{stream_id}/strength", 200, {"json": {"strength": 0.5}}),
    ("put", "/v1/streams/{stream_id}/strength", 400, {"json": {"strength": 5}}),
    ("put", "/v1/streams/{stream_id}/strength", 404, {"json": {"strength": 0.5}}),
    ("put", "/v1/streams/{stream_id}/strength", 408, LATE),
    ("put", "/v1/streams/{stream_id}/strength", 413, TOO_LONG),
    ("get", "/v1/streams/{stream_id}/snapshot", 200, {}),
    ("get", "/v1/streams/{stream_id}/snapshot", 400, {"params": {"view": "all"}}),
    ("get", "/v1/streams/{stream_id}/snapshot", 404, {}),
    ("get", "/v1/streams/{stream_id}/snapshot", 503, {"set": "snapshot_fails"}),
    ("delete", "/v1/streams/{stream_id}", 204, {}),
    ("get", "/v1/engines", 200, {}),
    ("get", "/livez", 200, {}),
    ("get", "/healthz", 200, {}),
    ("get", "/healthz", 503, {"change": {"engine_state": "down"}}),
    ("get", "/readyz", 200, {}),
    ("get", "/readyz", 503, {"change": {"engine_state": "warming"}}),
    ("get", "/metrics", 200, {}),
]


def test_the_description_is_true(service: Listening, tokens: tuple[Path, dict[Role, str]]) -> None:
    """Every status that is described happens, no other does, and each answer has its form."""
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as http:
        description = http.get("/openapi.json").json()
        assert description["info"]["title"] == "Surgiclear"
        promised = {
            (method, path, int(status))
            for path, operations in description["paths"].items()
            for method, operation in operations.items()
            for status in operation["responses"]
        }
        seen: set[tuple[str, str, int]] = set()
        for method, path, status, how in CASES:
            response = asked(service, http, tokens[1], method, path, status, dict(how))
            assert response.status_code == status, (method, path, status, response.text[:200])
            operation = description["paths"][path][method]
            check_form(description, operation["responses"][str(status)], response)
            seen.add((method, path, status))
        for method, path, status in promised:
            if status in (401, 403):
                headers = {401: {}, 403: {"Authorization": f"Bearer {tokens[1][Role.SCRAPER]}"}}
                if path == "/metrics":
                    headers[403] = {"Authorization": f"Bearer {tokens[1][Role.VIEWER]}"}
                where = path.replace("{stream_id}", "any")
                response = http.request(
                    method.upper(), where, headers=headers[status], json={"on": False}
                )
                assert response.status_code == status, (method, path)
                check_form(
                    description,
                    description["paths"][path][method]["responses"][str(status)],
                    response,
                )
                seen.add((method, path, status))
        assert seen == promised


def asked(
    service: Listening,
    http: httpx.Client,
    tokens: dict[Role, str],
    method: str,
    path: str,
    status: int,
    how: dict[str, Any],
) -> httpx.Response:
    change, setting = how.pop("change", {}), how.pop("set", None)
    if callable(how.get("content")):
        how["content"] = how["content"]()
    name = service.begin() if status != 404 else "nobody"
    if change:
        service.manager.change(name, **change)
    if setting:
        setattr(service.manager, setting, True)
    headers = {"Authorization": f"Bearer {tokens[Role.ADMIN]}", **how.pop("headers", {})}
    response = http.request(
        method.upper(), path.replace("{stream_id}", name), headers=headers, **how
    )
    if setting:
        setattr(service.manager, setting, False)
    if change:
        service.do(lambda: service.manager.lines.pop(name))
    return response


def check_form(
    description: dict[str, Any], promised: dict[str, Any], response: httpx.Response
) -> None:
    """Media type, headers, and for JSON: every field that must be there, and no other."""
    if response.status_code == 204:
        assert not response.content
        return
    media = response.headers["content-type"].split(";")[0]
    assert media in promised["content"], media
    for header in promised.get("headers", {}):
        assert header.lower() in response.headers
    if media == "application/json":
        check_value(description, promised["content"][media]["schema"], response.json())


def check_value(description: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        check_value(description, description["components"]["schemas"][name], value)
    elif "anyOf" in schema:
        kinds = [s for s in schema["anyOf"] if s.get("type") != "null"]
        if value is not None:
            check_value(description, kinds[0], value)
    elif schema.get("type") == "array":
        assert isinstance(value, list)
        for item in value:
            check_value(description, schema.get("items", {}), item)
    elif schema.get("type") == "object" and "properties" in schema:
        assert isinstance(value, dict)
        assert set(schema.get("required", ())) <= set(value) <= set(schema["properties"])
        for key, item in value.items():
            check_value(description, schema["properties"][key], item)
    elif "enum" in schema:
        assert value in schema["enum"]


def test_a_stream_that_cannot_start_does_not_stop_the_service(service: Listening) -> None:
    logged = service.logged.getvalue()
    assert "stream not started" in logged and "nobody" in logged
    assert service.manager.calls[0][0] == "start"


@pytest.mark.parametrize("verify", [True, False])
def test_that_nobody_is_verified_is_said_at_the_start(verify: bool) -> None:
    with listening(config_of(live={"rtsp_verify": verify}), catalog=CATALOG) as service:
        assert ("NOT verified" in service.logged.getvalue()) is not verify


def test_a_fault_of_ours_has_the_same_shape_and_is_logged(
    service: Listening, tokens: tuple[Path, dict[Role, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(stream_id: str) -> None:
        raise ZeroDivisionError("rtsp://user:secret@host")

    monkeypatch.setattr(service.manager, "state", broken)
    response = httpx.get(
        f"{service.url}/v1/streams/x",
        headers={"Authorization": f"Bearer {tokens[1][Role.ADMIN]}"},
        trust_env=False,
    )
    assert response.status_code == 500 and response.json()["error"]["code"] == "internal"
    assert "ZeroDivisionError" not in response.text
    assert "ZeroDivisionError" in service.logged.getvalue()
    assert "secret@" not in service.logged.getvalue()


def test_events_and_fates_reach_log_and_metrics(service: Listening) -> None:
    name = service.begin()
    number = service.manager.number(name)
    event = StreamEvent(name, "smoke.persistent", 1, 2.0, {"level": 3})
    fate = Fate(
        stream_id=name, dropped=False, provenance=Provenance.RESTORED, reason=None, age_ms=20.0,
        stages_ms={"decode": 2.0}, levels=Levels(smoke=3),
    )  # fmt: skip

    async def tell() -> None:
        service.manager.tell(event)
        service.manager.count(fate)
        await asyncio.sleep(0.05)

    asyncio.run_coroutine_threadsafe(tell(), service.loop).result(10)
    lines = [json.loads(line) for line in service.logged.getvalue().splitlines()]
    (line,) = [one for one in lines if one.get("name") == "smoke.persistent"]
    assert line["stream"] == number and line["data_level"] == 3
    page = service.service.metrics.page().decode()
    assert 'surgiclear_events_total{name="smoke.persistent"} 1.0' in page
    assert re.search(r'surgiclear_frames_total\{provenance="RESTORED",reason=""\} 1.0', page)
    assert name not in page and name not in service.logged.getvalue()
