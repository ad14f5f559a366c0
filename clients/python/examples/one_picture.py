"""Restores one picture file and says what hid the view: one_picture.py URL INPUT OUTPUT."""

import sys
from pathlib import Path

from surgiclear_client import Client

url, source, output = sys.argv[1:4]
with Client(url) as client:
    done = client.restore(Path(source).read_bytes(), compare="side")
Path(output).write_bytes(done.content)
sys.stdout.write(f"{done.provenance} {done.reason or ''} {done.levels}, {done.latency_ms:.0f} ms\n")
