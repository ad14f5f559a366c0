"""The whole quality report of a restorer: figures as JSON, tables as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.restorer import Restorer
from trainer import quality

Say = Callable[[str], None]
NOTE = (
    "Real pairs: robotic prostatectomy, seconds apart, so tools and blood move between the two.\n"
    "Fog and splash are synthetic; there is no real fog or splash here. PSNR dB / SSIM /\n"
    "exposure-normalised PSNR dB; columns by group: PSNR and normalised PSNR."
)


def report(
    data: Path,
    restorer: Restorer,
    *,
    folds: Callable[[str], Restorer] | None = None,
    synthetic_count: int = quality.SYNTHETIC_COUNT,
    say: Say = lambda _: None,
) -> tuple[dict[str, Any], str]:
    """Figures and text. folds: a restorer for each scene that was not trained on it; without,
    `restorer` judges all scenes and the report says that it may have seen them."""
    real = quality.real_pairs(data, folds or (lambda _: restorer), say=say)
    made = quality.synthetic(data, restorer, count=synthetic_count, say=say)
    clear = quality.clear_frames(data, restorer, say=say)
    unseen = folds is not None
    figures: dict[str, Any] = {
        "judged_on_unseen_scenes": unseen,
        "real": real.plain.as_dict(),
        "real_with_reference": real.referred.as_dict(),
        "real_by_level": real.levels.as_dict(),
        "auc_within_scene": real.auc,
        "auc_within_scene_beside_a_clear_frame": real.auc_beside,
        "synthetic_smoke": made.smoke.as_dict(),
        "synthetic_kinds": made.kinds.as_dict(),
        "dense_gain": {"found": made.gain_found, "true": made.gain_true},
        "recall_level_2_and_more": made.recall,
        "recall_level_2_and_more_beside_a_clear_frame": made.recall_beside,
        "clear_frames": asdict(clear),
    }
    alone, beside = (
        ", ".join(f"{scene}: {value:.3f}" for scene, value in of.items())
        for of in (real.auc, real.auc_beside)
    )
    text = "\n\n".join(
        (
            "Real pairs, "
            + ("each scene judged by a net that never saw it" if unseen else "SCENES MAY BE SEEN"),
            real.plain.text(),
            "With another clear frame of the scene as reference (scenes that have one)",
            real.referred.text(),
            "Real pairs by the level that the detector gives them",
            real.levels.text(),
            f"Detection within a scene, smoky against clear, AUC: {alone}\n"
            f"the same beside another clear frame of the scene: {beside}",
            "Synthetic smoke over clear frames of held-out patients, by mean transmission",
            made.smoke.text(),
            f"Local contrast regained where t < 0.5: {made.gain_found:.2f} "
            f"(truth {made.gain_true:.2f})",
            "Synthetic kinds by level",
            made.kinds.text(),
            "Found at level 2 and more: " + shares(made.recall) + "\n"
            "the same beside another clear frame of the patient: " + shares(made.recall_beside),
            f"Clear frames of held-out patients: {clear.frames}; falsely found "
            f"{100 * clear.falsely_found:.2f} % ({shares(clear.by_kind)}), beside another frame of "
            f"the patient {100 * clear.falsely_found_beside:.2f} %; forced open they change "
            f"by {clear.psnr_mean:.1f} dB on average, worst tenth {clear.psnr_worst_tenth:.1f} dB",
            NOTE,
        )
    )
    return figures, text


def shares(values: Mapping[str, float]) -> str:
    """smoke 1.2 %, fog 0.0 %, ..."""
    return ", ".join(f"{name} {100 * value:.1f} %" for name, value in values.items())
