"""The site's gate file decides, not the bundle's own word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_bundle

from engines.errors import GateFailed, KeyUnusable
from engines.gates import Required, check, read_gates
from engines.manifest import Manifest

PSNR = {"name": "psnr", "figure": 26.0, "bound": 25.0, "sense": "least", "unit": "dB"}


def manifest(tmp_path: Path, **changes: Any) -> Manifest:
    return tiny_bundle(tmp_path / "tiny", gates=[PSNR], **changes).manifest


def test_a_file_of_gates(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text('[psnr]\nat_least = 25\nunit = "dB"\n[rmse]\nat_most = 1.5\n')
    assert read_gates(path) == {
        "psnr": Required(at_least=25.0, unit="dB"),
        "rmse": Required(at_most=1.5),
    }


@pytest.mark.parametrize(
    "text",
    ["[psnr]", "[psnr]\nat_least = 1\nat_most = 2", "[psnr]\natleast = 1", "psnr = 1", "[",
     "[psnr]\nat_least = nan", "[psnr]\nat_least = 'high'"],
)  # fmt: skip
def test_a_file_that_asks_for_nothing_is_no_gate(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(KeyUnusable):
        read_gates(path)


def test_a_missing_file_is_not_no_gates(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable):
        read_gates(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("required", "passes"),
    [
        (Required(at_least=26.0, unit="dB"), True),
        (Required(at_least=26.1, unit="dB"), False),
        (Required(at_most=26.0, unit="dB"), True),
        (Required(at_most=25.9, unit="dB"), False),
        (Required(at_least=1.0), False),  # another unit is another figure
        (Required(at_least=99.0, unit="dB", unless_precision="fp32"), True),
        (Required(at_least=99.0, unit="dB", unless_precision="fp16"), False),
        (Required(at_least=99.0, unit="dB", unless_architecture="gain"), True),
        (Required(at_least=99.0, unit="dB", unless_architecture="veil"), False),
        (Required(at_least=99.0, unit="dB", only_architecture="veil"), True),
        (Required(at_least=99.0, unit="dB", only_architecture="gain"), False),
    ],
)
def test_what_is_asked_is_held_to(tmp_path: Path, required: Required, passes: bool) -> None:
    claims = manifest(tmp_path)
    if passes:
        check(claims, {"psnr": required})
        assert claims.gates[0].figure == 26.0
        return
    with pytest.raises(GateFailed, match="psnr"):
        check(claims, {"psnr": required})


def test_a_figure_that_is_not_shown_is_not_passed(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="shows no ssim"):
        check(manifest(tmp_path), {"ssim": Required(at_least=0.8)})
