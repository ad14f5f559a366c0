"""SelfSVD and SelfSVD*: a causal video net taught by the clear frame from before the smoke.

Paper: R. Wu et al., ECCV 2024 (see models/selfsvd.py). The output is warped onto the PS frame and
compared there; a patch critic keeps it sharp; the reference's features are kept small so that the
net does not just copy. SelfSVD* starts from SelfSVD and takes as truth what that net makes of the
PS frame itself: the smoke left in it does not teach.

Differences: our flow in place of PWC-Net, no gradient through it; the mask from our reference_mask.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.layers.flow import Flow, inside, warp
from models.selfsvd import SelfSVD, load_official
from models.weights import read
from trainer.align import StructureFlow, masked_l1
from trainer.feed.clips import Clips, clips
from trainer.feed.crops import unit
from trainer.feed.data import Data, Need
from trainer.fit.loop import Judge
from trainer.fit.task import Adam, Batch, Cost, Turn
from trainer.tasks.critic import Critic, convinced, discerning

REGULAR = 0.05  # weight of the reference features' size


class VideoTask:
    """Two turns: the net, then the critic. star: a copy of the starting net cleans the PS frame."""

    def __init__(
        self,
        net: SelfSVD,
        critic: Critic,
        *,
        maker: Adam,
        judge: Adam,
        star: bool = False,
        flow: Flow | None = None,
    ) -> None:
        self.nets: dict[str, nn.Module] = {"net": net, "critic": critic}
        if star:
            self.nets["teacher"] = copy.deepcopy(net)
        self.ships = "net"
        self.turns = (
            Turn(name="net", trains=("net",), optimiser=maker),
            Turn(name="critic", trains=("critic",), optimiser=judge),
        )
        self._flow: Flow = flow or StructureFlow()

    def cost(self, turn: str, batch: Batch) -> Cost:
        critic = self.nets["critic"]
        if turn == "critic":
            loss = discerning(critic(batch["truth"]), critic(batch["made"]))
            return Cost(loss, {"critic": loss.detach()}, {})
        net = self.nets["net"]
        assert isinstance(net, SelfSVD)
        clip, reference = unit(batch["input"]), unit(batch["reference"])
        out, features = net.with_reference(clip, reference, unit(batch["mask"]))
        t = clip.shape[1]
        truth = self._truth(reference)
        many = truth.repeat_interleave(t, 0)  # b 3 h w -> (b t) 3 h w
        made = out.flatten(0, 1).float()
        # the output onto the PS frame: the other way round than SurgClean
        flow = self._flow(made.detach().clamp(0, 1), many)
        mask = inside(flow)
        pixel = masked_l1(warp(made, flow), many, mask)
        fooled = convinced(critic(made))
        kept = features.abs().mean()
        parts = {"l1": pixel.detach(), "convinced": fooled.detach(), "reference": kept.detach()}
        left = {"made": made.detach(), "truth": truth}
        return Cost(pixel + fooled + REGULAR * kept, parts, left)

    @torch.no_grad()
    def _truth(self, reference: Tensor) -> Tensor:
        """The PS frame; cleaned by the teacher, with the PS frame as its own reference, if any."""
        teacher = self.nets.get("teacher")
        if teacher is None:
            return reference
        b, _, h, w = reference.shape
        open_ = reference.new_zeros(b, 1, 1, h // 4, w // 4)
        out: Tensor = teacher(reference[:, None], reference, open_)
        return out[:, 0].float().clamp(0, 1)

    def pictures(self, net: nn.Module, batch: Batch) -> Tensor:
        """last frame | restored | PS frame"""
        clip, reference = unit(batch["input"]), unit(batch["reference"])
        out: Tensor = net(clip, reference, unit(batch["mask"]))
        return torch.cat((clip[:, -1], out[:, -1].float(), reference), 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """start: a checkpoint of the net (of ours, or the authors'); needed where star is on."""

    maker: Adam
    critic: Adam
    size: int = 256
    length: int = 5
    star: bool = False
    start: str | None = None

    needs: ClassVar[Need] = "clips"

    def build(self) -> VideoTask:
        """Raises ValueError where SelfSVD* has nothing to start from."""
        if self.star and self.start is None:
            raise ValueError("SelfSVD* starts from a trained SelfSVD: name it with --start")
        net = SelfSVD()
        if self.start is not None:
            load_official(net, read(self.start))
        return VideoTask(net, Critic(), maker=self.maker, judge=self.critic, star=self.star)

    def source(self, data: Data) -> Clips:
        return Clips(clips(data, self.length)[0], self.size, self.length)

    def judge(self, data: Data) -> Judge | None:
        """None: a PS frame is both guide and truth, so no figure on it means anything (METHODS of
        the paper's own evaluation); judge by `surgiclear bench quality`."""
        return None
