"""/v1/streams: what may be started, what is shown of it, and who may steer it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted import Listening, config_of, jpeg, listening

from server.auth import Role, new_token
from server.config import LiveSection
from server.errors import SettingInvalid
from server.routes.streams import checked_source, shown_source


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "case.mp4").write_bytes(b"x")
    with listening(config_of(live={"file_folders": [str(folder)]})) as service:
        yield service


@pytest.fixture
def service(running: Listening) -> Listening:
    running.reset()
    return running


@pytest.fixture
def http(service: Listening) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
        yield client


def test_a_stream_is_started_listed_and_stopped(service: Listening, http: httpx.Client) -> None:
    wish = {"source": "phantom:", "engine": "other", "strength": 0.5, "kinds": ["fog"]}
    started = http.post("/v1/streams", json=wish)
    assert started.status_code == 201
    state = started.json()
    assert state["spec"]["engine"] == "other" and state["spec"]["kinds"] == ["fog"]
    assert state["spec"]["deadline_ms"] == 40.0 and state["now_ns"] > 0
    assert [s["id"] for s in http.get("/v1/streams").json()] == [state["id"]]
    assert http.get(f"/v1/streams/{state['id']}").json()["number"] == state["number"]
    assert http.delete(f"/v1/streams/{state['id']}").status_code == 204
    assert http.get("/v1/streams").json() == []
    assert http.get(f"/v1/streams/{state['id']}").status_code == 404


def test_it_is_steered(service: Listening, http: httpx.Client) -> None:
    name = service.begin()
    path = f"/v1/streams/{name}"
    assert http.post(f"{path}/bypass", json={"on": True}).json()["bypass"] is True
    assert http.post(f"{path}/bypass", json={"on": False}).json()["bypass"] is False
    engine = http.put(f"{path}/engine", json={"name": "other"})
    assert engine.status_code == 202 and engine.json()["engine"] == "other"
    assert http.put(f"{path}/strength", json={"strength": 0.3}).json()["strength"] == 0.3
    snapshot = http.get(f"{path}/snapshot", params={"view": "difference"})
    assert snapshot.headers["content-type"] == "image/jpeg" and snapshot.content == jpeg()
    assert snapshot.headers["cache-control"] == "no-store"
    assert service.manager.calls[1:] == [
        ("bypass", name, True),
        ("bypass", name, False),
        ("engine", name, "other"),
        ("strength", name, 0.3),
        ("snapshot", name, "difference"),
    ]


def test_one_switch_bypasses_all(service: Listening, http: httpx.Client) -> None:
    names = {service.begin() for _ in range(3)}
    states = http.post("/v1/bypass", json={"on": True}).json()
    assert {s["id"] for s in states} == names and all(s["bypass"] for s in states)


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/bypass", {"on": True}),
        ("PUT", "/engine", {"name": "veil"}),
        ("PUT", "/strength", {"strength": 1}),
        ("GET", "/snapshot", None),
    ],
)
def test_an_unknown_stream_is_404(
    http: httpx.Client, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    response = http.request(method, f"/v1/streams/nobody{rest}", json=body)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "stream_unknown"


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"source": ""},
        {"source": "push"},
        {"source": "phantom:", "engine": "nobody"},
        {"source": "phantom:", "strength": 2},
        {"source": "phantom:", "strength": "1"},
        {"source": "phantom:", "kinds": ["blood"]},
        {"source": "phantom:", "mode": "fast"},
        {"source": "phantom:", "deadline_ms": 0},
        {"source": "phantom:", "colour": "red"},
        {"source": "file:/etc/passwd"},
        {"source": "file:../../etc/passwd"},
        {"source": "file:none.mp4"},
        {"source": "file:\0"},
        {"source": "file:" + "a/" * 900},
        [],
        None,
    ],
)
def test_a_wrong_wish_is_400(service: Listening, http: httpx.Client, wish: Any) -> None:
    response = http.post("/v1/streams", json=wish)
    if wish == {"source": "phantom:", "strength": "1"}:
        assert response.status_code == 201  # a number as text is a number
        return
    assert response.status_code == 400 and response.json()["error"]["message"]
    assert not service.manager.lines


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 50_000, b"nan"])
def test_a_body_that_is_no_json_is_400(http: httpx.Client, content: bytes) -> None:
    response = http.post(
        "/v1/streams", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400 and response.json()["error"]["code"]


def test_a_body_that_is_too_long_is_413(http: httpx.Client) -> None:
    response = http.post("/v1/streams", json={"source": "x" * 70_000})
    assert response.status_code == 413


def test_too_many_streams_is_503(service: Listening, http: httpx.Client) -> None:
    service.manager.full = True
    response = http.post("/v1/streams", json={"source": "phantom:"})
    assert response.status_code == 503 and response.headers["retry-after"]


def test_no_picture_to_snapshot_is_503(service: Listening, http: httpx.Client) -> None:
    name = service.begin()
    service.manager.snapshot_fails = True
    assert http.get(f"/v1/streams/{name}/snapshot").status_code == 503
    assert http.get(f"/v1/streams/{name}/snapshot?view=all").status_code == 400


def test_a_file_is_found_in_its_folder_only_and_shown_without_it(
    service: Listening, http: httpx.Client
) -> None:
    (folder,) = service.service.config.live.file_folders
    state = http.post("/v1/streams", json={"source": f"file:{folder}/case.mp4"}).json()
    assert state["spec"]["source"] == "file:case.mp4"
    assert (
        service.manager.state(state["id"]).spec.source == f"file:{(folder / 'case.mp4').resolve()}"
    )


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "a.mp4").touch()
    (inside / "a.mp4").symlink_to(outside / "a.mp4")
    live = LiveSection(file_folders=(inside,))
    with pytest.raises(SettingInvalid) as link:
        checked_source(f"file:{inside}/a.mp4", live)
    with pytest.raises(SettingInvalid) as absent:
        checked_source(f"file:{inside}/b.mp4", live)
    assert str(link.value) == str(absent.value)  # nothing is told of what lies elsewhere


def test_a_camera_has_a_deadline_of_its_own(service: Listening, http: httpx.Client) -> None:
    for wish, expected in (({}, 40.0), ({"deadline_ms": 30}, 30.0)):
        state = http.post("/v1/streams", json={"source": "rtsp://10.0.0.5/or3", **wish}).json()
        assert state["spec"]["deadline_ms"] == expected
        http.delete(f"/v1/streams/{state['id']}")


def test_network_sources_can_be_switched_off() -> None:
    url = "rtsp://10.0.0.1/a"
    assert checked_source(url, LiveSection()) == url
    with pytest.raises(SettingInvalid):
        checked_source(url, LiveSection(network=False))


def test_sinks_are_taken_shown_without_secrets_and_can_be_switched_off(
    service: Listening,
) -> None:
    sinks = ["rtsp://user:secret@10.0.0.9/or3?key=secret"]
    wish = {"source": "phantom:", "sinks": sinks}
    answer = httpx.post(f"{service.url}/v1/streams", json=wish, trust_env=False)
    assert answer.status_code == 201
    assert answer.json()["spec"]["sinks"] == ["rtsp://10.0.0.9/or3"]
    assert "secret" not in answer.text
    asked = service.manager.calls[-1][1]
    assert asked.sinks == tuple(sinks)
    for wrong in ([""], 5 * sinks, [5]):
        answer = httpx.post(
            f"{service.url}/v1/streams", json={**wish, "sinks": wrong}, trust_env=False
        )
        assert answer.status_code == 400
    with listening(config_of(live={"network": False})) as closed:
        answer = httpx.post(f"{closed.url}/v1/streams", json=wish, trust_env=False)
        assert answer.status_code == 400
        assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsps://user:se@cret@10.0.0.1/cam", "rtsps://10.0.0.1/cam"),
        ("phantom:size=320x180", "phantom:size=320x180"),
        ("file:/home/or3/Miller.mp4", "file:Miller.mp4"),
        ("rtsp://user:secret@10.0.0.1/cam?key=secret", "rtsp://10.0.0.1/cam"),
        ("rtsp://10.0.0.1/cam", "rtsp://10.0.0.1/cam"),
        ("push", "push"),
    ],
)
def test_a_source_is_shown_without_its_secrets(source: str, shown: str) -> None:
    assert shown_source(source) == shown


CALLS = [
    ("GET", "/v1/streams", None, "see"),
    ("POST", "/v1/streams", {"source": "phantom:"}, "operate"),
    ("GET", "/v1/streams/NAME", None, "see"),
    ("POST", "/v1/streams/NAME/bypass", {"on": True}, "bypass_on"),
    ("POST", "/v1/streams/NAME/bypass", {"on": False}, "operate"),
    ("POST", "/v1/bypass", {"on": True}, "bypass_on"),
    ("POST", "/v1/bypass", {"on": False}, "operate"),
    ("PUT", "/v1/streams/NAME/engine", {"name": "veil"}, "operate"),
    ("PUT", "/v1/streams/NAME/strength", {"strength": 1}, "operate"),
    ("GET", "/v1/streams/NAME/snapshot", None, "operate"),
    ("DELETE", "/v1/streams/NAME", None, "operate"),
    ("POST", "/v1/restore", None, "send"),
    ("POST", "/v1/detect", None, "send"),
    ("GET", "/v1/engines", None, "see"),
    ("GET", "/metrics", None, "scrape"),
    ("GET", "/healthz", None, "public"),
    ("GET", "/readyz", None, "public"),
    ("GET", "/livez", None, "public"),
    ("GET", "/openapi.json", None, "public"),
    ("GET", "/", None, "public"),
]
MAY = {
    None: {"public", "bypass_on"},  # the test is at the console
    Role.SCRAPER: {"public", "scrape", "bypass_on"},
    Role.VIEWER: {"public", "see", "bypass_on"},
    Role.OPERATOR: {"public", "see", "send", "operate", "bypass_on"},
    Role.ADMIN: {"public", "see", "send", "operate", "bypass_on", "scrape"},
}


def test_every_route_for_every_role(tmp_path: Path) -> None:
    made = {role: new_token(role.value, role) for role in Role}
    path = tmp_path / "tokens"
    path.write_text("\n".join(line for _, line in made.values()))
    with listening(config_of(auth={"tokens_file": path})) as service:
        with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as http:
            for role, may in MAY.items():
                for method, where, body, action in CALLS:
                    name = service.begin()
                    token = "wrong" if role is None else made[role][0]
                    response = http.request(
                        method,
                        where.replace("NAME", name),
                        json=body,
                        headers={"Authorization": f"Bearer {token}"},
                    )
                    refused = response.status_code in (401, 403)
                    assert refused != (action in may), (role, method, where, response.status_code)
                    if refused:
                        assert response.status_code == (401 if role is None else 403)
                        assert response.json()["error"]["code"]
            covered = {
                (method, where.replace("NAME", "{stream_id}")) for method, where, *_ in CALLS
            }
            described = http.get("/openapi.json").json()["paths"]
            listed = {(m.upper(), p) for p, operations in described.items() for m in operations}
            assert listed <= covered
        logged = service.logged.getvalue()
    assert not any(token in logged for token, _ in made.values())
