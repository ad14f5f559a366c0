"""One command from checkpoints to the bundle that ships: calibrate, judge, write the card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.engine import Info
from engines.manifest import Gate
from engines.restorer import Restorer
from engines.veil import VeilRestorer
from models.veil import Veil
from trainer.calibrate import presence_offset
from trainer.publish import OUTPUTS, publish_veil
from trainer.recipes import FOLDS, judged_by, lineage
from trainer.report import report
from trainer.run import trained

Say = Callable[[str], None]
DATA = (
    "shared/data: real pairs (DesmokeData subset, robotic prostatectomy, 179 pairs of 10 scenes; "
    "no licence stated) and clear frames of the training patients of ART-Net (gynaecology), "
    "GynSurg, Cholec80 (CC BY-NC-SA 4.0) and intermou (MIT), with synthetic smoke, fog and splash"
)


class TorchEngine:
    """A net run by torch, for judging checkpoints before they are a bundle."""

    def __init__(self, net: Veil, name: str) -> None:
        self._net = net.eval()
        self.info = Info(name=name, version="0.0.0", sha256="", provider="torch", detail="eager")

    def run(self, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        import torch

        with torch.inference_mode():
            maps = self._net(*(torch.from_numpy(feeds[n]) for n in ("image", "reference", "known")))
        return {name: getattr(maps, name).numpy() for name in OUTPUTS}

    def close(self) -> None:
        """Nothing to free."""


def restorer(checkpoint: Path, data: Path) -> tuple[VeilRestorer, tuple[float, float, float]]:
    """A calibrated restorer from a checkpoint, and its presence offsets."""
    net = trained(checkpoint)
    offset = presence_offset(net, data)
    return VeilRestorer(TorchEngine(net, "veil"), presence_offset=offset), offset


def unseen(runs: Path, data: Path) -> Callable[[str], Restorer]:
    """For every scene the restorer of the fold that left it out."""
    folds = {
        f"veil-fold{n}": restorer(runs / f"veil-fold{n}" / "last.pt", data)[0]
        for n in range(len(FOLDS))
    }
    return lambda scene: folds[judged_by(scene)]


def release(
    runs: Path, folder: Path, data: Path, *, version: str, history: str = "", say: Say
) -> str:
    """Judges and publishes runs/veil as the bundle `folder`; returns the report's text.

    history: what the card must say of this run beyond the command, such as interruptions.
    """
    shipped, offset = restorer(runs / "veil" / "last.pt", data)
    say(f"presence offsets {offset}")
    figures, text = report(data, shipped, folds=unseen(runs, data), say=say)
    # kept whatever becomes of the bundle: a gate that fails must not cost its own evidence
    (runs / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    (runs / "report.txt").write_text(text + "\n")
    runs_made = [*lineage("veil"), *(f"veil-fold{n}" for n in range(len(FOLDS)))]
    command = " && ".join(
        [f"surgiclear train {name}" for name in runs_made]
        + [f"surgiclear publish runs {folder.name} --version {version}"]
    )
    clear = figures["clear_frames"]
    plain, own = figures["real"], shipped.name
    gates = (
        Gate(
            name="PSNR over the input, unseen scenes",
            figure=plain[own]["mean"]["psnr"] - plain["input"]["mean"]["psnr"],
            bound=2.0, sense="least", unit="dB", data="10 real scenes, cross-validated",
        ),
        Gate(
            name="clear frames falsely restored",
            figure=100 * clear["falsely_found"],
            bound=2.0, sense="most", unit="%", data="clear frames of held-out patients",
        ),
    )  # fmt: skip
    publish_veil(
        trained(runs / "veil" / "last.pt"),
        folder,
        version=version,
        presence_offset=offset,
        card=card(version, command, text, gates, history),
        command=command,
        training_data=DATA,
        gates=gates,
        extra={"report.json": (json.dumps(figures, indent=1) + "\n").encode()},
    )
    return text


def card(version: str, command: str, text: str, gates: tuple[Gate, ...], history: str = "") -> str:
    """The model card, in Markdown."""
    rows = "\n".join(
        f"- {g.name}: {g.figure:.2f} {g.unit} (at {g.sense} {g.bound}; "
        f"{'passed' if g.passed else 'NOT PASSED'}; {g.data})"
        for g in gates
    )
    said = f"\n- History: {history}" if history else ""
    return f"""# veil {version}

Low-resolution net for smoke, fog and splash in laparoscopic video; the embedded default.
Research use. Not a medical device.

- Made by: `{command}`{said}
- Trained on: {DATA}.
- Design, bounds and physics: models/veil.py and engines/apply.py of the project.

## Gates
{rows}

## Limits
- Real smoke: ten scenes of one kind of operation by one kind of camera. The nets of the
  cross-validation below saw two thirds of them; this net saw all ten.
- Fog and splash were only ever synthetic. An opaque deposit cannot be restored and is left alone.
- Where smoke burns the picture white nothing is restored.
- "Clear" frames were sorted automatically; some carry a slight veil.

## Report (`surgiclear bench quality --runs runs`)
```
{text}
```
"""
