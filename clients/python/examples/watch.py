"""Watches the service's first stream for a while: watch.py URL."""

import sys

from surgiclear_client import Client

with Client(sys.argv[1]) as client:
    streams = client.streams() or [client.start("phantom:")]
    with client.view(streams[0]["id"]) as frames:
        for count, frame in enumerate(frames, 1):
            state = "restored" if frame.restored else f"raw, {frame.reason}"
            sys.stdout.write(f"{frame.seq}: {frame.pixels.shape} {state}\n")
            if count == 50:
                break
