"""POST /v1/restore and /v1/detect over a real connection, with a real worker process."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from crashing import KILL, SLOW, CrashingRestorer
from picture_files import BROKEN, SIZE, SOUND, TOO_LARGE, image, malformed, saved
from scripted import CATALOG, Listening, config_of, listening

from server.catalog import Catalog
from server.engine_process import EngineFacts, RestorerFactory
from server.errors import EngineUnavailable

MAX_BYTES = 1 << 20


def refuse() -> EngineFacts:
    raise EngineUnavailable("its bundle was changed")


ENGINES = Catalog(
    CATALOG.offers,
    {
        "veil": RestorerFactory(name="veil", make=CrashingRestorer),
        "changed": RestorerFactory(name="changed", make=CrashingRestorer, verify=refuse),
    },
    "veil",
)


@pytest.fixture(scope="module")
def service() -> Iterator[Listening]:
    config = config_of(stills={"workers": 1, "queue": 2}, limits={"max_bytes": MAX_BYTES})
    with listening(config, catalog=ENGINES) as running:
        yield running


@pytest.fixture(scope="module")
def http(service: Listening) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120, trust_env=False) as client:
        yield client


def code(response: httpx.Response) -> str:
    error = response.json()["error"]
    assert set(error) == {"code", "message"} and error["message"]
    return str(error["code"])


@pytest.mark.parametrize("name", ["jpeg", "png", "png 16 bit"])
def test_a_picture_comes_back_with_its_facts(http: httpx.Client, name: str) -> None:
    response = http.post("/v1/restore", content=SOUND[name])
    assert response.status_code == 200
    head = response.headers
    assert head["content-type"] == ("image/jpeg" if name == "jpeg" else "image/png")
    assert head["x-surgiclear-provenance"] == "RESTORED" and head["x-surgiclear-reason"] == ""
    assert head["x-surgiclear-engine"] == "veil"
    assert [head[f"x-surgiclear-{k}"] for k in ("smoke", "fog", "splash")] == ["2", "0", "0"]
    assert float(head["x-surgiclear-latency-ms"]) > 0
    assert response.content != SOUND[name]


def test_a_raw_picture_comes_back_byte_for_byte(http: httpx.Client) -> None:
    response = http.post("/v1/restore", params={"kinds": "fog"}, content=SOUND["jpeg"])
    assert response.headers["x-surgiclear-provenance"] == "RAW"
    assert response.headers["x-surgiclear-reason"] == "CLEAR"
    assert response.content == SOUND["jpeg"]


def test_multipart_is_the_same_as_a_raw_body(http: httpx.Client) -> None:
    alone = http.post("/v1/restore", content=SOUND["jpeg"])
    field = http.post("/v1/restore", files={"image": ("a.jpg", SOUND["jpeg"], "image/jpeg")})
    assert field.status_code == 200 and field.content == alone.content


def test_format_and_compare(http: httpx.Client) -> None:
    response = http.post(
        "/v1/restore", params={"format": "png", "compare": "side"}, content=SOUND["jpeg"]
    )
    assert response.headers["content-type"] == "image/png"
    assert int.from_bytes(response.content[16:20]) == 2 * SIZE[0]


def test_detect(http: httpx.Client) -> None:
    found = http.post("/v1/detect", content=SOUND["png"]).json()
    assert found["smoke"] == {"level": 2, "probability": 0.99, "coverage": 0.6}
    assert found["splash"] == {"level": 0, "probability": 0.0, "coverage": 0.0, "type": None}


@pytest.mark.parametrize("path", ["/v1/restore", "/v1/detect"])
@pytest.mark.parametrize("name", BROKEN)
def test_no_picture_is_400(http: httpx.Client, path: str, name: str) -> None:
    response = http.post(path, content=BROKEN[name])
    assert response.status_code == 400
    assert code(response) in ("not_an_image", "unreadable_image")


@pytest.mark.parametrize("name", TOO_LARGE)
def test_too_many_pixels_is_422(http: httpx.Client, name: str) -> None:
    response = http.post("/v1/restore", content=TOO_LARGE[name])
    assert response.status_code == 422 and code(response) == "too_many_pixels"


def too_long() -> Iterator[bytes]:
    for _ in range(40):
        yield b"\xff\xd8" + b"\0" * 65534


@pytest.mark.parametrize("known", [True, False])
def test_too_many_bytes_is_413(http: httpx.Client, known: bool) -> None:
    content = b"".join(too_long()) if known else too_long()
    response = http.post("/v1/restore", content=content)
    assert response.status_code == 413 and code(response) == "too_large"
    upload = {"image": ("a.jpg", b"\xff\xd8" + b"\0" * (MAX_BYTES - 1), "image/jpeg")}
    assert http.post("/v1/detect", files=upload).status_code == 413


@pytest.mark.parametrize("known", [True, False])
def test_who_sends_all_before_listening_hears_the_refusal(http: httpx.Client, known: bool) -> None:
    size = 24 << 20  # more than the sockets' buffers hold
    length = f"Content-Length: {size}" if known else "Transfer-Encoding: chunked"
    head = f"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode()
    body = bytes(size) if known else b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n"
    address = (http.base_url.host, http.base_url.port or 80)
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head + body)
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"engine": "nobody"}, "engine_unknown"),
        ({"compare": "blink"}, "invalid"),
        ({"format": "gif"}, "invalid"),
        ({"strength": "2"}, "invalid"),
        ({"strength": "nan"}, "invalid"),
        ({"kinds": "blood"}, "invalid"),
        ({"kinds": ""}, "invalid"),
    ],
)
def test_a_wrong_wish_is_400(http: httpx.Client, params: dict[str, str], expected: str) -> None:
    response = http.post("/v1/restore", params=params, content=SOUND["jpeg"])
    assert (response.status_code, code(response)) == (400, expected)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", "image/jpeg"),
        (b"", "multipart/form-data; boundary=x"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"nonsense", "multipart/form-data"),
        (b"--x\r\n\r\nbody\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="b"; filename="a"\r\n\r\nz\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_a_body_without_a_picture_is_400(
    http: httpx.Client, content: bytes, media_type: str
) -> None:
    response = http.post("/v1/restore", content=content, headers={"content-type": media_type})
    assert response.status_code == 400 and code(response)


def test_an_engine_that_did_not_verify_is_503(http: httpx.Client) -> None:
    response = http.post("/v1/restore", params={"engine": "changed"}, content=SOUND["jpeg"])
    assert response.status_code == 503 and code(response) == "engine_unavailable"
    assert int(response.headers["retry-after"]) >= 1


def test_a_picture_that_kills_its_worker_is_503_and_the_next_is_served(http: httpx.Client) -> None:
    killer = saved(image(size=(40, KILL)), "PNG")
    response = http.post("/v1/restore", content=killer)
    assert response.status_code == 503 and code(response) == "worker_lost"
    assert response.headers["retry-after"]
    assert http.post("/v1/restore", content=SOUND["png"]).status_code == 200


def test_a_full_queue_is_503(service: Listening, http: httpx.Client) -> None:
    statuses: list[int] = []
    slow = saved(image(size=(40, SLOW)), "PNG")

    def send() -> None:
        statuses.append(
            httpx.post(f"{service.url}/v1/restore", content=slow, timeout=120).status_code
        )

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = Counter(statuses)
    assert set(counts) == {200, 503} and counts[200] >= 3
    assert http.post("/v1/restore", content=SOUND["png"]).status_code == 200


def test_malformed_pictures_leave_the_service_well(service: Listening, http: httpx.Client) -> None:
    """None gives a 5xx, none hangs, no worker dies. Two thousand more are given to the worker's
    own code in test_still_process.py."""
    restarts = service.service.metrics.still_restarts
    before = next(iter(restarts.collect())).samples[0].value
    counts: Counter[int] = Counter()
    for number, data in enumerate(malformed(250, seed=11)):
        path = "/v1/detect" if number % 5 == 0 else "/v1/restore"
        response = http.post(path, content=data)
        counts[response.status_code] += 1
        if response.status_code != 200:
            code(response)
    assert set(counts) <= {200, 400, 413, 422} and counts[200] > 5 and counts[400] > 60
    assert next(iter(restarts.collect())).samples[0].value == before
    assert http.get("/healthz").status_code == 200
