"""The networks: one net, one file, one paper. RESTORERS is the whole table.

Reading the table needs no torch; `Spec.build` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

    from torch.nn import Module


def _ramit(variant: str) -> Module:
    from models.ramit import RAMiT

    return RAMiT()


def _focalnet(variant: str) -> Module:
    from models.focalnet import FocalNet
    from models.steered import Steered

    return {"default": FocalNet, "steered": Steered}[variant]()


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


def _restormer(variant: str) -> Module:
    from models.restormer import Restormer

    return Restormer()


def _mambair(variant: str) -> Module:
    from models.mambair import MambaIR, as_published, of_test_files

    return {"train": MambaIR, "default": as_published, "testyml": of_test_files}[variant]()


def _mambairv2(variant: str) -> Module:
    from models.mambairv2 import MambaIRv2

    return MambaIRv2()


def _histoformer(variant: str) -> Module:
    from models.histoformer import Histoformer

    return Histoformer()


def _amir(variant: str) -> Module:
    from models.amir import AMIR

    return AMIR()


def _xrestormer(variant: str) -> Module:
    from models.xrestormer import XRestormer, as_published

    return {"train": XRestormer, "default": as_published}[variant]()


def _selfsvd(variant: str) -> Module:
    from models.selfsvd import SelfSVD

    return SelfSVD()


def _veil(variant: str) -> Module:
    from models.veil import Veil

    return Veil()


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
        purpose="convolutions only; the safer choice at 1080p; `steered` takes a reference",
        parameters=3_741_532,
        size_multiple=4,
        half_unsafe=None,
        gmacs_720p=383.4,
        make=_focalnet,
        variants=("default", "steered"),
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
    "restormer": Spec(
        name="Restormer",
        paper="Zamir et al., Restormer: Efficient Transformer for High-Resolution Image "
        "Restoration, CVPR 2022",
        year=2022,
        licence="Academic Public License, non-commercial (swz30/Restormer)",
        purpose="attention between channels; the field's yardstick",
        parameters=26_126_644,
        size_multiple=8,
        half_unsafe=None,
        gmacs_720p=2178.0,
        make=_restormer,
    ),
    "mambair": Spec(
        name="MambaIR",
        paper="Guo et al., MambaIR: A Simple Baseline for Image Restoration with State-Space "
        "Model, ECCV 2024",
        year=2024,
        licence="Apache-2.0 (csguoh/MambaIR)",
        purpose="state-space scan in four directions; `default` is the published 4.31 M",
        parameters=1_308_417,
        size_multiple=1,
        half_unsafe=None,
        gmacs_720p=1097.4,
        make=_mambair,
        variants=("train", "default", "testyml"),
    ),
    "mambairv2": Spec(
        name="MambaIRv2 (light)",
        paper="Guo et al., MambaIRv2: Attentive State Space Restoration, CVPR 2025",
        year=2025,
        licence="Apache-2.0 (csguoh/MambaIR)",
        purpose="one scan over pixels sorted by kind; best segmentation after it in SurgClean",
        parameters=770_195,
        size_multiple=16,
        half_unsafe=None,
        gmacs_720p=1025.1,
        make=_mambairv2,
    ),
    "histoformer": Spec(
        name="Histoformer",
        paper="Sun et al., Restoring Images in Adverse Weather Conditions via Histogram "
        "Transformer, ECCV 2024",
        year=2024,
        licence="none given (sunshangquan/Histoformer)",
        purpose="attention among pixels of like intensity; lowest PSNR in SurgClean",
        parameters=29_917_648,
        size_multiple=8,
        half_unsafe="sorts pixels by value: rounded to half they tie and change places, and "
        "its softmax, without maximum, overflows at a temperature of 11",
        gmacs_720p=2940.9,
        make=_histoformer,
    ),
    "amir": Spec(
        name="AMIR",
        paper="Yang et al., All-In-One Medical Image Restoration via Task-Adaptive Routing, "
        "MICCAI 2024",
        year=2024,
        licence="Apache-2.0 (Yaziwel/All-In-One-Medical-Image-Restoration-via-Task-Adaptive-"
        "Routing)",
        purpose="experts chosen by pixel and by task; many degradations in one net",
        parameters=23_543_918,
        size_multiple=8,
        half_unsafe=None,
        gmacs_720p=2012.3,
        make=_amir,
    ),
    "xrestormer": Spec(
        name="X-Restormer",
        paper="Chen et al., A Comparative Study of Image Restoration Networks for General "
        "Backbone Network Design, ECCV 2024",
        year=2024,
        licence="MIT (Andrew0613/X-Restormer)",
        purpose="best splash removal in SurgClean; `default` is the published 42.52 M",
        parameters=26_041_208,
        size_multiple=64,
        half_unsafe=None,
        gmacs_720p=2682.5,
        make=_xrestormer,
        variants=("train", "default"),
    ),
    # takes a clip, the clear frame before it and a mask: see models/selfsvd.py
    "selfsvd": Spec(
        name="SelfSVD",
        paper="Wu et al., Self-Supervised Video Desmoking for Laparoscopic Surgery, ECCV 2024",
        year=2024,
        licence="MIT, with a GPL-3.0 flow net that is not used here (ZcsrenlongZ/SelfSVD)",
        purpose="causal video net that is shown the clear frame from before the smoke",
        parameters=6_209_039,
        size_multiple=4,
        half_unsafe="its flow is found on the CPU between the frames; parity was not measured",
        gmacs_720p=390.6,
        make=_selfsvd,
    ),
    # takes picture, reference and known at 256x144 and gives maps: see models/veil.py
    "veil": Spec(
        name="veil",
        paper="this project; Koschmieder's law (1924) solved with a predicted transmission",
        year=2026,
        licence="Apache-2.0",
        purpose="smoke, fog and splash at video rate on two CPU cores; the embedded default",
        parameters=585180,
        size_multiple=16,
        half_unsafe="parity of its maps in half precision was not measured",
        gmacs_720p=0.22,
        make=_veil,
    ),
}


def load(path_or_name: str | Path, *, ema: bool = False, steered: bool = False) -> Module:
    """The network that a checkpoint is for, recognised by its keys and shapes; or, given a
    network's name or `name:variant`, that one with fresh weights. Details: models/weights.py."""
    from models.weights import load as load_weights

    return load_weights(path_or_name, ema=ema, steered=steered)
