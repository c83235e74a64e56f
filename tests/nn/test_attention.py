import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn import Attention, SetPooling

DIM, N_HEADS = 12, 3


def _copy_as_reference(attention: Attention) -> nn.MultiheadAttention:
    reference = nn.MultiheadAttention(DIM, N_HEADS, batch_first=True)
    with torch.no_grad():
        for name in ("weight", "bias"):
            query, rest = (getattr(m, name) for m in (attention.query, attention.key_value))
            getattr(reference, f"in_proj_{name}").copy_(torch.cat([query, rest]))
            getattr(reference.out_proj, name).copy_(getattr(attention.output, name))
    return reference


@pytest.fixture
def attention() -> Attention:
    return Attention(DIM, N_HEADS)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([[True, False, True, True, False], [False, False, False, False, True]])


@pytest.mark.parametrize("is_masked", [False, True])
def test_agrees_with_torch_multihead_attention(attention, mask, is_masked) -> None:
    queries, context = torch.randn(2, 4, DIM), torch.randn(2, 5, DIM)
    visible = mask if is_masked else None
    expected, expected_weights = _copy_as_reference(attention)(
        queries, context, context, key_padding_mask=~mask if is_masked else None
    )
    attended, weights = attention.attend(queries, context, visible)
    torch.testing.assert_close(attention(queries, context, visible), expected)
    torch.testing.assert_close(attended, expected)
    torch.testing.assert_close(weights, expected_weights)


def test_agrees_with_scaled_dot_product_attention_on_unit_weights() -> None:
    attention = Attention(DIM, 1)
    with torch.no_grad():
        for layer in (attention.query, attention.output):
            layer.weight.copy_(torch.eye(DIM))
            layer.bias.zero_()
        attention.key_value.weight.copy_(torch.eye(DIM).repeat(2, 1))
        attention.key_value.bias.zero_()
    queries, context = torch.randn(2, 4, DIM), torch.randn(2, 5, DIM)
    expected = F.scaled_dot_product_attention(queries, context, context)
    torch.testing.assert_close(attention(queries, context), expected)


@pytest.mark.parametrize("is_masked", [False, True])
def test_a_bias_is_added_to_the_scores_of_each_head(attention, mask, is_masked) -> None:
    queries, context = torch.randn(2, 4, DIM), torch.randn(2, 5, DIM)
    bias, visible = torch.randn(2, N_HEADS, 5), mask if is_masked else None
    scores = bias.masked_fill(~mask[:, None], float("-inf")) if is_masked else bias
    expected, _ = _copy_as_reference(attention)(
        queries, context, context, attn_mask=scores.repeat_interleave(4, 1).view(-1, 4, 5)
    )
    torch.testing.assert_close(attention(queries, context, visible, bias), expected)


def test_shared_queries_serve_the_batch(attention) -> None:
    queries, context = torch.randn(1, 4, DIM), torch.randn(3, 5, DIM)
    expected = attention(queries.repeat(3, 1, 1), context)
    torch.testing.assert_close(attention(queries, context), expected)


def test_both_ways_have_the_same_gradient(attention) -> None:
    queries, context = torch.randn(2, 4, DIM), torch.randn(2, 5, DIM, requires_grad=True)
    fast, slow = (
        torch.autograd.grad(out.square().sum(), context)[0]
        for out in (attention(queries, context), attention.attend(queries, context)[0])
    )
    torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("name", ["forward", "attend"])
def test_dropout_drops_weights_of_attention_and_keeps_their_mean(name) -> None:
    attention, n_draws = Attention(DIM, N_HEADS, dropout=0.5), 4000
    queries, context = torch.randn(1, 2, DIM), torch.randn(1, 5, DIM)

    def read() -> torch.Tensor:
        found = getattr(attention, name)(queries, context.expand(n_draws, -1, -1))
        return found if name == "forward" else found[0]

    with torch.no_grad():
        dropped = read()
        attention.eval()
        expected = read()[0]
    assert dropped.std(0).min() > 0.01
    # Values are dropped, not features: a head whose weights all go has the bias alone.
    error = (dropped.mean(0) - expected).abs() / (dropped.std(0) / n_draws**0.5)
    assert error.max() < 5
    assert torch.equal(read()[1], expected)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="dim 12 cannot be cut into 5 heads"):
        Attention(12, 5)


@pytest.fixture
def pooling() -> SetPooling:
    return SetPooling(8, 2)


def test_order_does_not_matter(pooling) -> None:
    members, order = torch.randn(3, 5, 8), torch.randperm(5)
    mask = torch.rand(3, 5) < 0.7
    torch.testing.assert_close(pooling(members[:, order], mask[:, order]), pooling(members, mask))


@pytest.mark.parametrize("filling", [0.0, 1e6, float("nan")])
def test_padding_does_not_matter(pooling, filling) -> None:
    members = torch.randn(3, 2, 8)
    padded = torch.cat([members, torch.full((3, 4, 8), filling)], dim=1)
    mask = torch.arange(6).expand(3, -1) < 2
    torch.testing.assert_close(pooling(padded, mask), pooling(members, mask[:, :2]))


def test_a_zero_member_is_not_padding(pooling) -> None:
    members = torch.zeros(2, 2, 8)
    members[:, 0] = torch.randn(8)
    out = pooling(members, torch.tensor([[True, True], [True, False]]))
    assert (out[0] - out[1]).abs().max() > 1e-2


def test_pooling_of_one_member_is_its_value(pooling) -> None:
    member = torch.randn(1, 1, 8)
    value = pooling.attention.key_value(member).chunk(2, dim=-1)[1]
    expected = pooling.norm(pooling.seed + pooling.attention.output(value))[:, 0]
    torch.testing.assert_close(pooling(member, torch.tensor([[True]])), expected)


def test_empty_sets_share_one_learned_vector(pooling) -> None:
    empty = pooling(torch.randn(2, 3, 8), torch.zeros(2, 3, dtype=torch.bool))
    none = pooling(torch.empty(1, 0, 8), torch.empty(1, 0, dtype=torch.bool))
    torch.testing.assert_close(empty[0], empty[1])
    torch.testing.assert_close(empty[:1], none)
    expected = pooling(pooling.empty, torch.tensor([[True]]))
    torch.testing.assert_close(none, expected)


def test_gradients_are_finite_beside_an_empty_set(pooling) -> None:
    members = torch.randn(2, 3, 8, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    pooling(members, mask).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in pooling.parameters())
    assert members.grad[0, :2].abs().sum() > 0
    assert members.grad[mask.logical_not()].abs().sum() == 0
    assert pooling.empty.grad.abs().sum() > 0
