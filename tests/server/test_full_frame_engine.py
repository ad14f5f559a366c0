"""A FocalNet from the export command to a restored still, a restored clip and the service."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from scripted import config_of, listening

import surgiclear
from engines.store import PACKAGE_FOLDER
from server.catalog import discover
from server.config import EnginesSection
from server.manager import StreamManager

pytest.importorskip("torch", reason="the extra `train` is not installed")
pytestmark = pytest.mark.skipif(
    not (PACKAGE_FOLDER / "veil").is_dir(), reason="the package has no veil bundle"
)

NAME = "focalnet-96x64-fp32"


@dataclass(frozen=True)
class Place:
    """A folder with the exported bundle, a smoky clip and a still of it."""

    folder: Path
    clip: Path
    still: Path


def run(*words: str | Path) -> int:
    """The command as its entry point runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["surgiclear", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            surgiclear.main()
    return exit_.value.code if isinstance(exit_.value.code, int) else -1


def mild_weights(path: Path) -> None:
    """Random ones whose last layer is small: a change that the guard lets pass."""
    import torch

    from models.focalnet import FocalNet

    torch.manual_seed(1)
    state = FocalNet().state_dict()
    for key, value in state.items():
        if key.startswith("feat_extract.5"):
            value.mul_(0.02)
    torch.save({"params_ema": state}, path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("focalnet")
    mild_weights(folder / "weights.pth")
    bundles = folder / "bundles"
    words: list[str | Path] = ["engines", "export", "focalnet", "--size", "96x64", "--out", bundles]
    assert run(*words, "--weights", folder / "weights.pth") == 0
    clip, still = folder / "clip.mp4", folder / "still.png"
    made: list[str | Path] = ["phantom", clip, "--size", "96x64", "--seconds", "2", "--fps", "10"]
    assert run(*made, "--episodes", "smoke", "--level", "4") == 0
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    Image.fromarray(frames[len(frames) // 2]).save(still)
    yield Place(folder, clip, still)


@pytest.mark.timeout(900)
def test_a_clip_and_a_still_are_restored(place: Place) -> None:
    bundle = place.folder / "bundles" / NAME
    report = place.folder / "report.json"
    out = place.folder / "restored.mp4"
    assert run("restore", place.clip, out, "--engine", bundle, "--report", report) == 0
    said = json.loads(report.read_text())
    assert said["engine"]["name"] == NAME
    assert said["engine"]["provider"] == "cpu"
    assert said["frames"] == 20
    assert said["restored"] > 5
    assert said["guard"] == {}
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    still = place.folder / "restored.png"
    assert run("restore", place.still, still, "--engine", bundle, "--report", report) == 0
    assert json.loads(report.read_text())["restored"] == 1
    before, after = (np.asarray(Image.open(p)).astype(int) for p in (place.still, still))
    assert before.shape == after.shape == (64, 96, 3)
    assert 0 < np.abs(after - before).mean() < 30


@pytest.mark.timeout(900)
def test_another_size_is_refused_with_the_way_out(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = place.folder / "wide.png"
    Image.open(place.still).resize((192, 128)).save(wide)
    bundle = place.folder / "bundles" / NAME
    assert run("restore", wide, place.folder / "no.png", "--engine", bundle) == 1
    assert "takes 96x64, not 192x128" in capsys.readouterr().err
    assert not (place.folder / "no.png").exists()


@pytest.mark.timeout(900)
def test_the_service_restores_through_it(place: Place) -> None:
    engines = {"folder": str(place.folder / "bundles"), "default": NAME}
    config = config_of(engines=engines, stills={"workers": 1})
    catalog = discover(EnginesSection.model_validate(engines))
    manager = StreamManager({**catalog.factories, **catalog.live})
    with listening(config, manager=manager, catalog=catalog) as service:
        offered = httpx.get(f"{service.url}/v1/engines", trust_env=False, timeout=60).json()
        assert NAME in json.dumps(offered)
        answer = httpx.post(
            f"{service.url}/v1/restore", content=place.still.read_bytes(), trust_env=False,
            timeout=300, headers={"content-type": "image/png"},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Surgiclear-Provenance"] == "RESTORED"
        assert answer.headers["X-Surgiclear-Engine"] == NAME
        picture = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert picture.shape == (64, 96, 3)
        assert not np.array_equal(picture, np.asarray(Image.open(place.still)))
