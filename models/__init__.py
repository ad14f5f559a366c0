"""The networks: one net, one file, one paper. RESTORERS is the whole table.

Reading the table needs no torch; `Spec.build` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.spec import Spec

if TYPE_CHECKING:
    from torch.nn import Module


def _ramit(variant: str) -> Module:
    from models.ramit import RAMiT

    return RAMiT()


def _focalnet(variant: str) -> Module:
    from models.focalnet import FocalNet

    return FocalNet()


def _convir(variant: str) -> Module:
    from models.convir import ConvIR

    return ConvIR()


def _fourmer(variant: str) -> Module:
    from models.fourmer import Fourmer

    return Fourmer()


def _sfhformer(variant: str) -> Module:
    from models.sfhformer import SFHformer

    return SFHformer()


def _ast(variant: str) -> Module:
    from models.ast import AST

    return AST()


RESTORERS: dict[str, Spec] = {
    "ramit": Spec(
        name="RAMiT",
        paper="Choi et al., Reciprocal Attention Mixing Transformer for Lightweight Image "
        "Restoration, CVPR Workshops 2024",
        year=2024,
        licence="none given (rami0205/RAMiT)",
        purpose="few parameters; bound by memory traffic",
        parameters=301_095,
        size_multiple=32,
        half_unsafe=None,
        gmacs_720p=225.0,
        make=_ramit,
    ),
    "focalnet": Spec(
        name="FocalNet",
        paper="Cui et al., Focal Network for Image Restoration, ICCV 2023",
        year=2023,
        licence="MIT (c-yn/FocalNet)",
        purpose="convolutions only; the safer choice at 1080p",
        parameters=3_741_532,
        size_multiple=4,
        half_unsafe=None,
        gmacs_720p=383.4,
        make=_focalnet,
    ),
    "convir": Spec(
        name="ConvIR",
        paper="Cui et al., Revitalizing Convolutional Network for Image Restoration, TPAMI 2024",
        year=2024,
        licence="MIT (c-yn/ConvIR)",
        purpose="best smoke removal in the SurgClean table",
        parameters=14_830_985,
        size_multiple=64,
        half_unsafe=None,
        gmacs_720p=1884.7,
        make=_convir,
    ),
    "fourmer": Spec(
        name="Fourmer",
        paper="Zhou et al., Fourmer: An Efficient Global Modeling Paradigm for Image "
        "Restoration, ICML 2023",
        year=2023,
        licence="none given (manman1995/Fourmer)",
        purpose="global view by the Fourier transform, few parameters",
        parameters=677_923,
        size_multiple=1,
        half_unsafe="convolves unscaled spectra, sums over the whole picture that pass 65504",
        gmacs_720p=593.5,
        make=_fourmer,
    ),
    "sfhformer": Spec(
        name="SFHformer",
        paper="Jiang et al., When Fast Fourier Transform Meets Transformer for Image "
        "Restoration, ECCV 2024",
        year=2024,
        licence="MIT (deng-ai-lab/SFHformer)",
        purpose="local convolutions and a learned filter of the spectrum",
        parameters=7_670_539,
        size_multiple=4,
        half_unsafe="a spectrum's mean term grows with the square root of the area: at 1280x720 "
        "it passes 65504 where a channel's mean passes 68",
        gmacs_720p=701.8,
        make=_sfhformer,
    ),
    "ast": Spec(
        name="AST",
        paper="Zhou et al., Adapt or Perish: Adaptive Sparse Transformer with Attentive Feature "
        "Refinement for Image Restoration, CVPR 2024",
        year=2024,
        licence="Apache-2.0 (joshyZhou/AST)",
        purpose="sparse window attention; pads to a square",
        parameters=19_919_507,
        size_multiple=128,
        half_unsafe="squares attention logits: above 256 they pass 65504",
        gmacs_720p=945.9,
        make=_ast,
    ),
}
