"""`surgiclear degrade`: clear pictures or video in, degraded ones with their truth out.

For a picture NAME: NAME.png (degraded), NAME_clear.png, NAME_transmission.png and
NAME_soiling.png (16 bit, 65535 is 1). For a video: the same five as lossless video or numbered
pictures would be large, so degraded.mkv and clear.mkv (FFV1) and one transmission picture a
second. truth.json lists coverage, level and kind of every frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engines.restorer import KINDS, level
from trainer.degrade.compose import Degraded, Recipe, Sequence, degrade
from trainer.pixels import Image, Pixels, grey_levels, unit

PICTURES = (".png", ".jpg", ".jpeg")


def write(
    clear: Path, out: Path, recipe: Recipe, seed: int, say: Callable[[str], None]
) -> list[dict[str, object]]:
    """Degrades a picture, a folder of pictures or a video into the folder `out`.

    Returns the rows of truth.json. Raises ValueError for an input that is neither.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures = (
        sorted(p for p in clear.iterdir() if p.suffix.lower() in PICTURES)
        if (clear.is_dir())
        else [clear]
        if clear.suffix.lower() in PICTURES
        else []
    )
    if clear.is_dir() and not pictures:
        raise ValueError(f"{clear} holds no PNG or JPEG")
    rows = (
        [_picture(p, out, recipe, np.random.default_rng((seed, n))) for n, p in enumerate(pictures)]
        if pictures
        else _video(clear, out, recipe, np.random.default_rng(seed), say)
    )
    (out / "truth.json").write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def _row(name: str, done: Degraded) -> dict[str, object]:
    covered = done.truth.coverage
    return {
        "frame": name,
        "coverage": {k: round(covered[k], 4) for k in KINDS},
        "level": {k: level(covered[k], covered[k] > 0) for k in KINDS},
        "mean_transmission": round(float(done.truth.transmission.mean()), 4),
        "splash_type": done.truth.splash_type,
    }


def _save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    turned = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    if not cv2.imwrite(str(path), turned):
        raise OSError(f"{path} cannot be written")


def _share(field: Image) -> NDArray[np.uint16]:
    return np.round(np.clip(field, 0, 1) * np.float32(65535)).astype(np.uint16)


def _picture(path: Path, out: Path, recipe: Recipe, rng: np.random.Generator) -> dict[str, object]:
    data = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if data is None:
        raise ValueError(f"{path} is not a readable picture")
    done = degrade(unit(np.ascontiguousarray(data[..., ::-1], np.uint8)), recipe, rng)
    _save(out / f"{path.stem}.png", grey_levels(done.image))
    _save(out / f"{path.stem}_clear.png", grey_levels(done.truth.clear))
    _save(out / f"{path.stem}_transmission.png", _share(done.truth.transmission))
    _save(out / f"{path.stem}_soiling.png", _share(done.truth.soiling))
    return _row(path.name, done)


def _frames(path: Path) -> Iterator[tuple[Pixels, float]]:
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24"), float(frame.time or 0.0)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} is neither a picture nor a video ({error})") from None


def _video(
    path: Path,
    out: Path,
    recipe: Recipe,
    rng: np.random.Generator,
    say: Callable[[str], None],
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    episode: Sequence | None = None
    with (
        av.open(str(out / "degraded.mkv"), "w") as dirty_file,
        av.open(str(out / "clear.mkv"), "w") as clear_file,
    ):
        files = dirty_file, clear_file
        streams = [f.add_stream("ffv1", rate=Fraction(25)) for f in files]
        for index, (pixels, t_s) in enumerate(_frames(path)):
            h, w = (side // 2 * 2 for side in pixels.shape[:2])
            clear = unit(pixels[:h, :w])
            if episode is None:
                episode = Sequence(rng, h, w, recipe)
                for stream in streams:
                    stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
                    stream.time_base = Fraction(1, 1000)
            done = episode.frame(clear, t_s, min(1.0, t_s))
            both = done.image, done.truth.clear
            for file, stream, image in zip(files, streams, both, strict=True):
                frame = av.VideoFrame.from_ndarray(grey_levels(image), format="rgb24")
                frame.pts, frame.time_base = round(t_s * 1000), Fraction(1, 1000)
                file.mux(stream.encode(frame))
            if index % 25 == 0:
                _save(out / f"transmission_{index:06d}.png", _share(done.truth.transmission))
                say(f"frame {index}")
            rows.append(_row(f"{index:06d}", done))
        if episode is None:
            raise ValueError(f"{path} holds no frame")
        for file, stream in zip(files, streams, strict=True):
            file.mux(stream.encode())
    return rows
