"""Nets beside a reference: the same pictures with a good one, a stale one, a wrong one, none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeRestorer
from torch import Tensor
from training import scene, veiled, write

from models.steered import Steered
from trainer import beside
from trainer.beside import FRAMES, GOOD, MOVED, WRONG, compare, drifting, references, steered
from trainer.datasets.scenes import ASIDE, ClearFrame, patient_of
from trainer.pixels import unit


class Copies(Steered):
    """Answers with its reference's mean; with the picture itself where there is none."""

    def __init__(self) -> None:
        super().__init__(8, 1)

    def forward(
        self, x: Tensor, reference: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        return x

    def steered(
        self, x: Tensor, answer: Tensor, reference: Tensor, known: Tensor | None = None
    ) -> Tensor:
        return reference.mean((2, 3), keepdim=True).expand_as(x)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two held-out patients; the scenes kept aside and one more; 15 has a single clear frame."""
    root = tmp_path_factory.mktemp("beside") / "data"
    held = 0
    for n in range(300):
        if held < 2 and ClearFrame(root, patient_of(f"artnet_P{n}_f0.jpg")).held_out:
            pixels = scene(n, 180, 320)
            pixels[..., n % 3] //= 8  # a dark channel: fit to degrade
            write(root / "clean" / f"artnet_P{n}_f0.jpg", pixels)
            held += 1
    rows = ["scene,smoky,clear,ncc"]
    for number in (1, *map(int, ASIDE)):
        folder, clear = root / "pairs" / f"scene{number:02d}", scene(number, 90, 160)
        write(folder / "clear_000.jpg", clear)
        if number != 15:
            write(folder / "clear_009.jpg", np.roll(clear, 3, 1))
        write(folder / "smoky_001.jpg", veiled(clear))
        rows.append(f"{number},{folder.name}/smoky_001.jpg,{folder.name}/clear_000.jpg,0.9")
    (root / "pairs" / "pairs.csv").write_text("\n".join(rows) + "\n")
    return root


def test_every_reference_has_its_row(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "SYNTHETIC_SIZE", (90, 160))
    asked: list[str] = []

    def veil_for(scene: str) -> FakeRestorer | None:
        asked.append(scene)
        return None if scene else FakeRestorer()

    told: list[str] = []
    found = compare(root, {"net": Copies().eval()}, veil_for, episodes=10, say=told.append)
    kinds = ("none", GOOD, MOVED, WRONG)
    rows = {"input", "global match", "copy of the reference", "net, then global match"}
    rows |= {f"net, {kind}" for kind in kinds}
    assert set(found.real.rows) == rows
    assert set(found.episodes.rows) == rows | {f"fake, {kind}" for kind in kinds}
    assert set(found.real.by_group("input")) == {"scene 6", "scene 9"}  # 15 has no further frame
    assert sum(len(s) for s in found.episodes.rows["input"].values()) == 10 * FRAMES
    assert set(asked) == {"6", "9", ""}
    for table in (found.real, found.episodes):
        assert table.by_group("net, none") == table.by_group("input")
        assert table.overall(f"net, {GOOD}") != table.overall("net, none")
        # a mean is the same wherever the picture lies, and another scene's is another
        assert table.overall(f"net, {MOVED}").psnr == pytest.approx(
            table.overall(f"net, {GOOD}").psnr, abs=0.02
        )
        assert table.overall(f"net, {WRONG}").psnr < table.overall(f"net, {GOOD}").psnr
        copied = table.overall("copy of the reference").psnr
        assert copied > table.overall("input").psnr
    assert "scene 6 (1)" in found.text() and "held-out" in found.text()
    assert set(found.as_dict()) == {"real", "episodes"}
    assert told[-1] == "episode 10/10"


def test_a_view_drifts_by_little_and_stays_within() -> None:
    pixels = scene(3, 270, 480)
    views = [*drifting(pixels, np.random.default_rng(1))]
    assert len(views) == FRAMES + 1
    assert all(view.shape == (230, 408, 3) for view in views)
    gaps = [np.abs(a.astype(int) - b).mean() for a, b in zip(views, views[1:], strict=False)]
    assert min(gaps) > 0


def test_references_are_moved_and_wrong() -> None:
    good, wrong = scene(1), scene(2)
    kinds = references(good, wrong)
    assert kinds[GOOD] is good and kinds[WRONG] is wrong
    h, w = good.shape[:2]
    np.testing.assert_array_equal(kinds[MOVED][h // 5 :, w // 5 :], good[: -(h // 5), : -(w // 5)])


def test_the_answer_is_steered_as_the_net_steers_it() -> None:
    torch.manual_seed(0)
    net = Steered(8, 1).eval()
    with torch.no_grad():
        net.steer.last.weight.normal_(0, 0.5)
    pixels, good = scene(1, 72, 96), scene(2, 144, 256)
    out = steered(net, pixels, {"a": good})
    x, reference = (torch.from_numpy(unit(p)).permute(2, 0, 1)[None] for p in (pixels, good))
    with torch.inference_mode():
        for label, want in (("none", net(x)), ("a", net(x, reference))):
            image = want[0].clamp(0, 1).permute(1, 2, 0).numpy()
            np.testing.assert_allclose(out[label], image, atol=1e-5)
    assert np.abs(out["a"] - out["none"]).max() > 0.02
