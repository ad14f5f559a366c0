"""The outermost layer: names, origins, caps, patience, headers, counts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from scripted import Listening, config_of, listening

from server.config import Config
from server.edge import HEADERS, is_ours, own_names


@pytest.fixture(scope="module")
def service() -> Iterator[Listening]:
    with listening(config_of(limits={"body_s": 0.4, "hello_s": 0.5})) as running:
        yield running


def get(service: Listening, path: str = "/livez", **headers: str) -> httpx.Response:
    return httpx.get(service.url + path, headers=headers, trust_env=False)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("10.3.4.5", True),
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("or3.hospital:8000", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[::1", False),
        ("a b", False),
    ],
)
def test_only_our_own_names(host: str, ours: bool) -> None:
    config = Config(server={"allowed_hosts": ["OR3.hospital"]})  # type: ignore[arg-type]
    assert is_ours(host, own_names(config)) == ours


def test_a_name_that_was_made_to_point_here_is_refused(service: Listening) -> None:
    response = get(service, host="evil.example")
    assert response.status_code == 400 and response.json()["error"]["code"] == "host_unknown"
    assert get(service, host="localhost").status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("OWN", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:1", 403),
        ("", 403),
    ],
)
def test_only_our_own_page(service: Listening, origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"origin": service.url if origin == "OWN" else origin}
    assert get(service, **headers).status_code == status


def test_other_pages_can_be_allowed() -> None:
    config = config_of(server={"port": 0, "allowed_origins": ["https://or3.hospital"]})
    with listening(config) as service:
        assert get(service, origin="https://or3.hospital").status_code == 200
        assert get(service, origin="https://or4.hospital").status_code == 403


@pytest.mark.parametrize("path", ["/", "/livez", "/v1/streams", "/nothing", "/style.css"])
def test_every_answer_has_the_security_headers(service: Listening, path: str) -> None:
    response = get(service, path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "unsafe" not in response.headers["content-security-policy"]
    assert "server" not in response.headers
    if path.startswith("/v1"):
        assert response.headers["cache-control"] == "no-store"


def test_the_page_fetches_nothing_from_elsewhere(service: Listening) -> None:
    page = get(service, "/")
    assert page.status_code == 200 and "text/html" in page.headers["content-type"]
    assert "http://" not in page.text.replace(service.url, "") and "https://" not in page.text
    assert get(service, "/main.js").status_code == 200
    assert "javascript" in get(service, "/main.js").headers["content-type"]
    assert get(service, "/../../pyproject.toml").status_code == 404
    assert get(service, "/%2e%2e/%2e%2e/pyproject.toml").status_code == 404


def test_a_body_that_does_not_come_is_408(service: Listening) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as sock:
        sock.sendall(
            b"POST /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n"
            b"Content-Type: application/json\r\n\r\n{"
        )
        sock.settimeout(20)
        assert sock.recv(1000).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: "])
def test_a_request_that_does_not_come_is_not_waited_for(service: Listening, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as sock:
        sock.sendall(said)
        sock.settimeout(20)
        assert sock.recv(1000) == b""


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "BREW"])
def test_other_methods_are_refused_in_the_same_shape(service: Listening, method: str) -> None:
    response = httpx.request(method, service.url + "/v1/streams", trust_env=False)
    assert response.status_code == 405 and response.json()["error"]["code"] == "method_not_allowed"


def test_requests_are_counted_by_route_not_by_address(service: Listening) -> None:
    for name in ("secret-a", "secret-b"):
        get(service, f"/v1/streams/{name}")
        get(service, f"/{name}")
    httpx.request("BREW", service.url + "/v1/streams", trust_env=False)
    text = get(service, "/metrics").text
    assert 'route="/v1/streams/{stream_id}",status="404"} 2.0' in text
    assert "secret" not in text and "BREW" not in text
