import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn import InducedBlock


@pytest.fixture
def block() -> InducedBlock:
    block = InducedBlock(dim=12, n_heads=3, n_inducing=4)
    for norm in block.norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return block


def _normalise(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias
    )


def test_forward_is_the_four_steps(block) -> None:
    tokens = torch.randn(2, 7, 12)
    points = block.points.expand(2, -1, -1)
    points = _normalise(block.norms[0], points + block.gather(points, tokens))
    points = _normalise(block.norms[1], points + block.mix(points, points))
    after = _normalise(block.norms[2], tokens + block.scatter(tokens, points))
    up, _, down = block.feed_forward
    change = F.gelu(after @ up.weight.T + up.bias) @ down.weight.T + down.bias
    assert up.out_features == 24
    torch.testing.assert_close(block(tokens), _normalise(block.norms[3], after + change))


def test_attend_returns_the_same_tokens_and_three_maps(block) -> None:
    tokens = torch.randn(2, 7, 12)
    out, maps = block.attend(tokens)
    torch.testing.assert_close(out, block(tokens))
    assert [tuple(weights.shape) for weights in maps] == [(2, 4, 7), (2, 4, 4), (2, 7, 4)]
    for weights in maps:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    torch.testing.assert_close(maps.points_to_tokens, block.gather.attend(block.points, tokens)[1])


def test_tokens_are_treated_alike(block) -> None:
    tokens, order = torch.randn(2, 7, 12), torch.randperm(7)
    torch.testing.assert_close(block(tokens[:, order]), block(tokens)[:, order])


def test_every_parameter_learns(block) -> None:
    block(torch.randn(2, 7, 12)).pow(3).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_dropout_acts_in_training_only() -> None:
    block, tokens = InducedBlock(12, 3, 4, dropout=0.5), torch.randn(2, 7, 12)
    assert not torch.equal(block(tokens), block(tokens))
    block.eval()
    assert torch.equal(block(tokens), block(tokens))
