"""Runs the built image once: health check, one picture restored, an end in order."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import psutil

from engines.picture import Rgb
from server import jpeg
from server.phantom.feed import Feed
from server.phantom.spec import PhantomSpec

START_S, STOP_S = 180.0, 30.0
AS = ("--isolation", "chroot", "--user", "10001:10001")
WRITE = (
    "for d in / /opt /opt/surgiclear /usr /home; do ! touch $d/probe 2>/dev/null || exit 1; done"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hazy_picture() -> bytes:
    """640x360, behind a veil of one half."""
    picture = Feed(PhantomSpec(width=640, height=360, episodes=())).picture(0)
    clear = jpeg.decode(jpeg.encode(picture, 90)).pixels
    return jpeg.encode(Rgb((clear * 0.5 + 95).astype(np.uint8)), 90)


def until_ready(url: str, process: subprocess.Popen[bytes]) -> float:
    """Seconds until single pictures would be restored."""
    began = time.monotonic()
    while time.monotonic() - began < START_S:
        if process.poll() is not None:
            raise SystemExit(f"it ended by itself, with {process.returncode}")
        try:
            if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200:
                return time.monotonic() - began
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("it was not ready in time")


def main() -> None:
    mark = sys.argv.index("--")
    build, container = sys.argv[1:mark], sys.argv[mark + 1]
    config = json.loads(
        subprocess.check_output([*build, "inspect", "--type", "container", container])
    )
    image = config["Docker"]["config"]
    assert image["User"] == "10001:10001", image["User"]
    check = image["Healthcheck"]["Test"]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    subprocess.run([*build, "run", *AS, container, "--", "sh", "-c", WRITE], check=True)
    process = subprocess.Popen(
        [*build, "run", *AS, "--env", f"SURGICLEAR_SERVER__PORT={port}", container, "--",
         *image["Entrypoint"], *image["Cmd"]]
    )  # fmt: skip
    try:
        took_s = until_ready(url, process)
        asked = [part.replace(":8000/", f":{port}/") for part in check[1:]]
        subprocess.run([*build, "run", *AS, container, "--", *asked], check=True)
        body = hazy_picture()
        began = time.monotonic()
        answer = httpx.post(f"{url}/v1/restore", content=body, timeout=60, trust_env=False,
                            headers={"Content-Type": "image/jpeg"})  # fmt: skip
        answer.raise_for_status()
        said = answer.headers["X-Surgiclear-Provenance"]
        still_ms = (time.monotonic() - began) * 1000
        assert jpeg.size_of(answer.content) == (640, 360)
        assert said == "RESTORED", (said, answer.headers.get("X-Surgiclear-Reason"))
    finally:
        ours = list(psutil.Process(process.pid).children(recursive=True))
        for one in ours:
            if one.cmdline()[:1] == ["surgiclear: api"]:
                one.terminate()
        began = time.monotonic()
        process.wait(STOP_S)
        ended_s = time.monotonic() - began
    left = [p for p in ours if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not left, left
    sys.stdout.write(
        f"ready after {took_s:.1f} s, health check answers, a picture of 640x360 {said} in "
        f"{still_ms:.0f} ms, ended in {ended_s:.1f} s, nothing left; as 10001, root not writable\n"
    )


if __name__ == "__main__":
    main()
