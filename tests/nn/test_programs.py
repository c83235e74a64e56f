import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from torch import nn

from scbig.nn import InducedBlock, ProgramLinear, ProgramUnlinear, make_program_index

LABELS = torch.tensor([2, 0, 2, 1, 0, 2, 2, 1, 2])
EVEN = torch.tensor([1, 0, 2, 1, 0, 2])
DIM = 4


def _as_dense(labels: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Block-diagonal matrix (G, K, dim): zero where a gene is not in the program."""
    is_member = torch.nn.functional.one_hot(labels).to(weight)
    return is_member.unsqueeze(-1) * weight.unsqueeze(1)


def test_program_index_lists_genes_in_rising_order() -> None:
    expected = [[1, 4, -1, -1, -1], [3, 7, -1, -1, -1], [0, 2, 5, 6, 8]]
    assert make_program_index(LABELS).tolist() == expected


@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=30))
def test_program_index_holds_every_gene_once(n_programs: int, rest: list[int]) -> None:
    labels = np.array([*range(n_programs), *(k % n_programs for k in rest)])
    index = make_program_index(torch.from_numpy(labels)).numpy()
    for k, row in enumerate(index):
        assert row[row >= 0].tolist() == np.flatnonzero(labels == k).tolist()
    assert index.shape == (n_programs, np.bincount(labels).max())


def test_program_index_refuses_what_is_no_labelling() -> None:
    with pytest.raises(ValueError, match=r"Programs \[1\] have no genes"):
        make_program_index(torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="labels holds -1"):
        make_program_index(torch.tensor([0, -1]))
    with pytest.raises(ValueError, match=r"type torch\.float32"):
        make_program_index(torch.tensor([0.0]))


@pytest.mark.parametrize("labels", [LABELS, EVEN], ids=["uneven", "even"])
def test_linear_is_a_dense_product_with_zeros(labels) -> None:
    layer = ProgramLinear(labels, DIM).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(5, len(labels), dtype=torch.float64, requires_grad=True)
    expected = torch.einsum("bg,gkd->bkd", x, _as_dense(labels, layer.weight)) + layer.bias
    torch.testing.assert_close(layer(x), expected)
    variables = (x, layer.weight, layer.bias)
    for mine, dense in zip(
        torch.autograd.grad(layer(x).square().sum(), variables),
        torch.autograd.grad(expected.square().sum(), variables),
        strict=True,
    ):
        torch.testing.assert_close(mine, dense)


@pytest.mark.parametrize("labels", [LABELS, EVEN], ids=["uneven", "even"])
def test_unlinear_is_a_dense_product_with_zeros(labels) -> None:
    layer = ProgramUnlinear(labels, DIM).double()
    torch.nn.init.normal_(layer.bias)
    n_programs = int(labels.max()) + 1
    tokens = torch.randn(5, n_programs, DIM, dtype=torch.float64, requires_grad=True)
    expected = torch.einsum("bkd,gkd->bg", tokens, _as_dense(labels, layer.weight)) + layer.bias
    torch.testing.assert_close(layer(tokens), expected)
    variables = (tokens, layer.weight, layer.bias)
    for mine, dense in zip(
        torch.autograd.grad(layer(tokens).square().sum(), variables),
        torch.autograd.grad(expected.square().sum(), variables),
        strict=True,
    ):
        torch.testing.assert_close(mine, dense)


def test_initial_scale_follows_the_number_of_inputs() -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor([4, 400, 4000]))
    linear = ProgramLinear(labels, 64)
    bounds = [linear.weight[labels == k].abs().max().item() for k in range(3)]
    np.testing.assert_allclose(bounds, [0.5, 0.05, 4000**-0.5], rtol=0.05)
    assert ProgramUnlinear(labels, 64).weight.abs().max().item() == pytest.approx(1 / 8, rel=0.01)


def test_wiring_travels_with_the_state() -> None:
    one, other = ProgramLinear(EVEN, DIM), ProgramLinear(EVEN.flip(0), DIM)
    x = torch.randn(2, len(EVEN))
    assert not torch.allclose(one(x), other(x))
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(x), one(x))


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
        centred / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt() * norm.weight + norm.bias
    )


def test_forward_is_the_four_steps(block) -> None:
    tokens = torch.randn(2, 7, 12)
    points = block.points.expand(2, -1, -1)
    points = _normalise(block.norms[0], points + block.gather(points, tokens))
    points = _normalise(block.norms[1], points + block.mix(points, points))
    after = _normalise(block.norms[2], tokens + block.scatter(tokens, points))
    up, _, down = block.feed_forward
    change = F.gelu(after @ up.weight.T + up.bias, approximate="tanh") @ down.weight.T + down.bias
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


def test_dropout_sits_inside_and_after_the_feed_forward_layer(block) -> None:
    tokens = torch.randn(2, 7, 12)
    seen = {}
    block.feed_forward.register_forward_hook(lambda *args: seen.update(attended=args[1][0]))
    full = InducedBlock(12, 3, 4, dropout=0.5)
    full.load_state_dict(
        {
            name.replace("feed_forward.2", "feed_forward.3"): w
            for name, w in block.state_dict().items()
        }
    )
    for attention in (full.gather, full.mix, full.scatter):
        assert attention.dropout == 0.5
        attention.dropout = 0.0
    inner, after = full.feed_forward[2], full.dropout
    block(tokens)
    # All dropped after the layer, the tokens alone are left; all inside, its last bias too.
    inner.p, after.p = 0.0, 1.0
    torch.testing.assert_close(full(tokens), full.norms[3](seen["attended"]))
    inner.p, after.p = 1.0, 0.0
    expected = full.norms[3](seen["attended"] + full.feed_forward[-1].bias)
    torch.testing.assert_close(full(tokens), expected)
