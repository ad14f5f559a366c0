"""AMIR: the official network's keys and answers, and its two routings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from exported import assert_exportable
from golden import assert_official

from models.amir import AMIR, PROMPT, ChannelRouting, Instruction, Mixture, SpatialRouting, best


def small() -> AMIR:
    torch.manual_seed(3)
    net = AMIR(8, (1, 1, 1, 1), 1).eval()
    with torch.no_grad():
        for key, weight in net.named_parameters():
            if key.endswith("w_gate"):
                weight.normal_()  # zero at the start: every expert would be as good
    return net


def mixture() -> Mixture:
    torch.manual_seed(0)
    net = Mixture(4).double()
    with torch.no_grad():
        net.w_gate.normal_()
    return net


def test_it_is_the_official_network() -> None:
    assert_official("amir", AMIR(), double=False)


def test_a_pixel_goes_through_its_two_best_experts() -> None:
    net = mixture()
    x, task = torch.randn(2, 1, 5, 6, 4, dtype=torch.float64)
    with torch.inference_mode():
        y = net(x, task)
        scores = torch.cat([x, task], dim=-1) @ net.w_gate
        assert len(set(scores.topk(2).indices.flatten().tolist())) == 4  # all are somebody's best
        for row in range(5):
            for column in range(6):
                best = scores[0, row, column].topk(2)
                gates = best.values.softmax(0)
                pixel = x[0, row, column]
                answers = [net.experts[int(e)](pixel) for e in best.indices]
                want = (gates[0] * answers[0].exp() + gates[1] * answers[1].exp()).log()
                assert torch.allclose(y[0, row, column], want)


def test_of_equal_experts_the_first_are_taken() -> None:
    """Gates begin at zero, where every expert is as good."""
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 3.0, 3.0, 3.0], [2.0, 1.0, 2.0, 0.5]])
    want = [[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 0]]
    assert best(scores, 2).int().tolist() == want
    many = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    taken = torch.zeros(200, 4, dtype=torch.bool).scatter(-1, many.topk(2).indices, True)
    assert torch.equal(best(many, 2), taken)


def test_large_answers_do_not_overflow() -> None:
    net = mixture().float()
    x = torch.full((1, 1, 1, 4), 1e4)
    with torch.no_grad():
        y = net(x, x)
        assert net.experts[0](x).abs().max() > 89  # whose exp is past float32
    assert y.isfinite().all()


def test_the_prompt_is_a_mixture_of_atoms_for_the_whole_picture() -> None:
    torch.manual_seed(0)
    net = Instruction()
    picture = torch.rand(2, 3, 24, 32)
    with torch.inference_mode():
        shares = net.lastOut(net.CondNet(picture).mean((2, 3))).softmax(-1)
        assert shares.shape == (2, 32)
        want = F.gelu(sum(shares[:, i : i + 1] * net.dictionary[i] for i in range(32)))
        assert torch.allclose(net(picture), want, atol=1e-6)
        assert net.CondNet(picture).shape[-2:] == (2, 3)  # two strides of 3, unpadded


def test_routings_are_added_to_what_came_in() -> None:
    torch.manual_seed(0)
    spatial, channel = SpatialRouting(4), ChannelRouting(4)
    x, prompt = torch.randn(2, 4, 5, 6), torch.randn(2, PROMPT)
    with torch.inference_mode():
        task = spatial.fc(prompt)[:, None, None, :].expand(2, 5, 6, 4)
        mixed = spatial.moe(x.permute(0, 2, 3, 1), task).permute(0, 3, 1, 2)
        assert torch.allclose(spatial(x, prompt), x + mixed)
        channel.gamma.normal_()
        channel.beta.normal_()
        wanted = channel.fc(prompt).sigmoid()[:, :, None, None]
        want = x + wanted * (x * channel.gamma + channel.beta)
        assert torch.allclose(channel(x, prompt), want)


def test_training_noise_steers_nothing() -> None:
    net = small()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = net.train()(x)
        for key, weight in net.named_parameters():
            if key.endswith("w_noise"):
                weight.normal_()
        assert torch.equal(net(x), before)
        assert torch.equal(net.eval()(x), before)


def test_other_sizes_are_reflected_to_multiples_of_eight() -> None:
    net = small()
    x = torch.rand(1, 3, 18, 33)
    with torch.inference_mode():
        reflected = F.pad(x, (0, 7, 0, 6), mode="reflect")
        assert torch.equal(net(x), net(reflected)[..., :18, :33])


def test_it_exports_and_compiles_whole() -> None:
    assert_exportable(small(), (1, 3, 17, 33))
