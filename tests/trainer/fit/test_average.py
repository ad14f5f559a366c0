"""The averaged weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.fit.average import Average


@pytest.mark.parametrize("buffers", [False, True])
def test_it_is_the_exponential_mean_with_a_quick_youth(buffers: bool) -> None:
    net = nn.BatchNorm2d(1)
    average = Average(net, 0.5, buffers=buffers)
    assert average.net.running_mean is not None
    average.net.running_mean.fill_(1)
    want = 1.0
    for step, value in enumerate((3.0, 5.0, 7.0)):
        with torch.no_grad():
            net.weight.fill_(value)
            assert net.running_mean is not None
            net.running_mean.fill_(value)
            assert net.num_batches_tracked is not None
            net.num_batches_tracked.add_(1)
        average.update(net, step)
        decay = min(0.5, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * value
        assert average.net.state_dict()["weight"].item() == pytest.approx(want)
        mean = average.net.state_dict()["running_mean"].item()
        assert mean == pytest.approx(want if buffers else value)
        assert average.net.state_dict()["num_batches_tracked"].item() == step + 1


def test_it_is_a_copy_in_eval_mode_without_gradients() -> None:
    net = nn.Linear(2, 2).train()
    average = Average(net, None)
    assert not average.net.training and net.training
    assert not any(p.requires_grad for p in average.net.parameters())
