"""The selective scan's own parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.layers.mamba import DELTA_RANGE, Embed, SelectiveScan, rgb_mean
from models.layers.selective_scan import selective_scan


def scan() -> SelectiveScan:
    torch.manual_seed(1)
    return SelectiveScan(2, width=5, rank=2, states=3).double()


def test_step_sizes_b_and_c_come_from_the_sequence() -> None:
    net = scan()
    x = torch.randn(2, 2, 5, 11, dtype=torch.float64)
    with torch.no_grad():
        net.Ds.copy_(torch.randn(10))
        y = net.scan(x)
        for way in range(2):
            read = net.x_proj_weight[way] @ x[:, way]
            steps, b, c = read[:, :2], read[:, 2:5], read[:, 5:]
            bias = net.dt_projs_bias[way][:, None]
            delta = F.softplus(net.dt_projs_weight[way] @ steps + bias)
            a = -net.A_logs[5 * way : 5 * way + 5].exp()
            d = net.Ds[5 * way : 5 * way + 5]
            u, delta, b, c = (z.unsqueeze(1) for z in (x[:, way], delta, b, c))
            want = selective_scan(u, delta, a.unsqueeze(0), b, c, d.unsqueeze(0))
            assert torch.allclose(y[:, way], want.squeeze(1))


def test_a_prompt_is_added_to_c() -> None:
    net = scan()
    x = torch.randn(1, 2, 5, 9, dtype=torch.float64)
    prompt = torch.randn(1, 2, 3, 9, dtype=torch.float64)
    with torch.no_grad():
        plain, twice = net.scan(x), net.scan(x, 2 * prompt)
        once = net.scan(x, prompt)
    assert not torch.allclose(once, plain)
    assert torch.allclose(once - plain, (twice - plain) / 2)  # the answer is linear in C


def test_steps_start_inside_their_range() -> None:
    steps = F.softplus(SelectiveScan(1, 4000, 1, 1).dt_projs_bias)
    low, high = DELTA_RANGE
    assert low * 0.99 < steps.min() < low * 1.1
    assert high * 0.9 < steps.max() < high * 1.01
    assert abs(steps.log().mean() - (0.5 * (torch.tensor(low * high)).log())) < 0.1


def test_the_mean_follows_type_and_the_norm_is_over_channels() -> None:
    assert rgb_mean(torch.zeros(1, dtype=torch.float16)).dtype == torch.float16
    assert rgb_mean(torch.zeros(1)).shape == (1, 3, 1, 1)
    x = Embed(8)(3 + 2 * torch.randn(2, 4, 4, 8))
    assert torch.allclose(x.mean(-1), torch.zeros(2, 4, 4), atol=1e-5)
