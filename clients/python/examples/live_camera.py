"""Pushes a moving test picture at 25 frames a second, as a camera would: live_camera.py URL.

A camera does not wait: a picture that finds no credit is skipped, not sent late.
"""

import asyncio
import sys
import time

import numpy as np

from surgiclear_client import AsyncClient, AsyncPush, Dropped

FPS, SECONDS = 25, 10


async def capture(live: AsyncPush, skipped: list[int]) -> None:
    row = np.linspace(40, 200, 1280, dtype=np.uint8)
    start = time.monotonic()
    for number in range(FPS * SECONDS):
        await asyncio.sleep(max(0.0, start + number / FPS - time.monotonic()))
        picture = np.broadcast_to(np.roll(row, 4 * number)[None, :, None], (720, 1280, 3))
        if live.credit:
            await live.send(np.ascontiguousarray(picture))
        else:
            skipped.append(number)


async def show(live: AsyncPush) -> None:
    while (answer := await live.receive()) is not None:
        if isinstance(answer, Dropped):
            sys.stdout.write(f"{answer.seq}: dropped, {answer.reason}\n")
        else:
            what = "restored" if answer.restored else f"raw, {answer.reason}"
            sys.stdout.write(f"{answer.seq}: {what}, {answer.added_ms:.1f} ms added\n")


async def main() -> None:
    skipped: list[int] = []
    async with AsyncClient(sys.argv[1]) as client, client.push() as live:
        viewer = asyncio.create_task(show(live))
        await capture(live, skipped)
        while live.pending:
            await asyncio.sleep(0.01)
        viewer.cancel()
    sys.stdout.write(f"{len(skipped)} frames found no credit\n")


asyncio.run(main())
