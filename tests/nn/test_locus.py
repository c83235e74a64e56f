import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scbig.nn import DistanceBias, LocusAttention, LocusSet, compute_distance

N_INPUT, N_OUTPUT = 5, 3


@pytest.fixture
def locus() -> LocusAttention:
    locus = LocusAttention(N_INPUT, N_OUTPUT, dim=12, n_heads=3)
    for module in locus.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return locus


def _mark(n_rows: int, n_tokens: int, *positions: int) -> torch.Tensor:
    is_target = torch.zeros(n_rows, n_tokens, dtype=torch.bool)
    is_target[:, list(positions)] = True
    return is_target


def _normalise(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias
    )


def _apply(mlp: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    up, _, down = mlp
    return F.gelu(x @ up.weight.T + up.bias) @ down.weight.T + down.bias


def _read(block: nn.Module, query: torch.Tensor, tokens: torch.Tensor, distance: list[int]):
    """One window, one query, one head at a time."""
    attention, heads = block.attention, []
    query = attention.query(_normalise(block.norms[0], query))
    keys, values = attention.key_value(tokens).chunk(2, dim=-1)
    buckets = [0 if d == 0 else math.floor(math.log2(d)) + 1 for d in distance]
    for head, part in enumerate(torch.arange(12).split(4)):
        scores = keys[:, part] @ query[part] / 2 + block.nearness.bias[head, buckets]
        heads.append(scores.exp() / scores.exp().sum() @ values[:, part])
    return attention.output(torch.cat(heads))


def test_forward_is_the_steps_of_the_method(locus) -> None:
    tokens, is_target = torch.randn(2, 9, N_INPUT), _mark(2, 9, 2, 3)
    distance = compute_distance(is_target)[0].tolist()
    expected = []
    for window in tokens:
        linear, norm = locus.project
        seen = _normalise(norm, linear(window))
        query = _apply(locus.query, (seen[2] + seen[3]) / 2)
        for block in locus.blocks:
            query = query + _read(block, query, seen, distance)
            query = query + _apply(block.feed_forward, _normalise(block.norms[1], query))
        norm, linear = locus.output
        expected.append(linear(_normalise(norm, query)))
    torch.testing.assert_close(locus(tokens, is_target), torch.stack(expected))


@pytest.mark.parametrize("filling", [0.0, 1e6, float("nan")])
@pytest.mark.parametrize("sides", [(0, 4), (3, 0), (2, 5)])
def test_padding_does_not_matter(locus, filling, sides) -> None:
    tokens, is_target = torch.randn(3, 6, N_INPUT), _mark(3, 6, 4)
    padded = F.pad(tokens, (0, 0, *sides), value=filling)
    is_token = F.pad(torch.ones(3, 6, dtype=torch.bool), sides)
    # Marks at padding count for nothing.
    marks = F.pad(is_target, sides, value=True)
    torch.testing.assert_close(locus(padded, marks, is_token), locus(tokens, is_target))


def test_a_zero_token_is_not_padding(locus) -> None:
    tokens, is_target = torch.randn(1, 6, N_INPUT), _mark(1, 6, 1)
    tokens[:, -1] = 0
    is_token = torch.tensor([[True] * 5 + [False]])
    difference = locus(tokens, is_target) - locus(tokens, is_target, is_token)
    assert difference.abs().max() > 1e-4


def test_a_window_read_from_its_other_end_is_the_same_locus(locus) -> None:
    tokens, is_target = torch.randn(3, 8, N_INPUT), _mark(3, 8, 1, 6)
    torch.testing.assert_close(locus(tokens.flip(1), is_target.flip(1)), locus(tokens, is_target))


def test_rows_do_not_see_each_other(locus) -> None:
    tokens, is_target, order = torch.randn(5, 8, N_INPUT), torch.rand(5, 8) < 0.4, [3, 0, 4, 2, 1]
    out = locus(tokens, is_target)
    torch.testing.assert_close(locus(tokens[order], is_target[order]), out[order])
    torch.testing.assert_close(locus(tokens[:1], is_target[:1]), out[:1])


def test_two_places_of_one_window_differ(locus) -> None:
    tokens = torch.randn(1, 8, N_INPUT)
    difference = locus(tokens, _mark(1, 8, 1)) - locus(tokens, _mark(1, 8, 6))
    assert difference.abs().max() > 1e-2


def test_near_tokens_weigh_more_at_the_start() -> None:
    locus, is_target = LocusAttention(N_INPUT, 1, dim=12, n_heads=3), _mark(64, 64, 5)
    tokens = torch.randn(64, 64, N_INPUT, requires_grad=True)
    locus(tokens, is_target).sum().backward()
    reading = tokens.grad.abs().sum(2).mean(0)
    assert reading[6:9].mean() > 2 * reading[-20:].mean()


def test_without_a_target_the_whole_window_counts(locus) -> None:
    tokens, nowhere = torch.randn(2, 6, N_INPUT), torch.zeros(2, 6, dtype=torch.bool)
    is_token = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    torch.testing.assert_close(locus(tokens, nowhere, is_token), locus(tokens, is_token, is_token))


def test_loci_without_tokens_share_one_learned_vector(locus) -> None:
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    missing = locus(torch.randn(2, 4, N_INPUT), _mark(2, 4, 1), nothing)
    empty = locus(torch.empty(1, 0, N_INPUT), nothing[:1, :0])
    torch.testing.assert_close(missing[0], missing[1])
    torch.testing.assert_close(empty, missing[:1])
    missing.square().sum().backward()
    assert locus.missing.grad.abs().sum() > 0


@pytest.mark.parametrize("value", [0.5, 2.0])
def test_a_single_feature_is_not_normalised_away(value) -> None:
    locus, is_target = LocusAttention(1, N_OUTPUT, dim=12, n_heads=3), _mark(1, 1, 0)
    one, other = (locus(torch.full((1, 1, 1), v), is_target) for v in (value, 1.0))
    assert (one - other).abs().max() > 1e-2


def test_every_parameter_and_token_learns(locus) -> None:
    tokens = torch.randn(3, 6, N_INPUT, requires_grad=True)
    is_token = torch.ones(3, 6, dtype=torch.bool)
    is_token[1, 4:], is_token[2] = False, False
    locus(tokens, _mark(3, 6, 2), is_token).pow(3).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in locus.parameters())
    assert all(p.grad.abs().sum() > 0 for p in locus.parameters())
    has_gradient = tokens.grad.abs().sum(2) > 0
    assert torch.equal(has_gradient, is_token)


def test_dropout_acts_in_training_only() -> None:
    locus = LocusAttention(N_INPUT, N_OUTPUT, dim=12, n_heads=3, dropout=0.5)
    arguments = torch.randn(2, 6, N_INPUT), _mark(2, 6, 2)
    assert not torch.equal(locus(*arguments), locus(*arguments))
    locus.eval()
    assert torch.equal(locus(*arguments), locus(*arguments))


def test_a_block_is_needed() -> None:
    with pytest.raises(ValueError, match="n_blocks is 0; pass 1 or more"):
        LocusAttention(N_INPUT, N_OUTPUT, n_blocks=0)


@pytest.fixture
def locus_set() -> LocusSet:
    """A set as after some training: its attention is no longer zero."""
    locus_set = LocusSet(8, 2)
    for parameter in locus_set.attention.output.parameters():
        torch.nn.init.normal_(parameter)
    return locus_set


def test_untrained_it_adds_the_loci() -> None:
    loci, mask = (
        torch.randn(3, 4, 8),
        torch.tensor([[True] * 4, [True, False] * 2, [True] + [False] * 3]),
    )
    joined = LocusSet(8, 2)(loci, mask)
    expected = torch.stack([loci[0].sum(0), loci[1, 0] + loci[1, 2], loci[2, 0]])
    torch.testing.assert_close(joined, expected)


def test_attention_is_added_to_the_sum(locus_set) -> None:
    loci = torch.randn(2, 3, 8)
    total = loci.sum(1, keepdim=True)
    change = locus_set.attention(locus_set.norm(total), locus_set.norm(loci))
    expected = (total + change)[:, 0]
    torch.testing.assert_close(locus_set(loci, torch.ones(2, 3, dtype=torch.bool)), expected)
    assert change.abs().max() > 0.1


def test_order_does_not_matter(locus_set) -> None:
    loci, mask, order = torch.randn(3, 5, 8), torch.rand(3, 5) < 0.7, torch.randperm(5)
    expected = locus_set(loci, mask)
    torch.testing.assert_close(locus_set(loci[:, order], mask[:, order]), expected)


@pytest.mark.parametrize("filling", [0.0, 1e6, float("nan")])
def test_padding_of_a_set_does_not_matter(locus_set, filling) -> None:
    loci = torch.randn(3, 2, 8)
    padded = torch.cat([loci, torch.full((3, 4, 8), filling)], dim=1)
    mask = torch.arange(6).expand(3, -1) < 2
    torch.testing.assert_close(locus_set(padded, mask), locus_set(loci, mask[:, :2]))


def test_a_zero_locus_is_not_padding(locus_set) -> None:
    loci = torch.zeros(2, 2, 8)
    loci[:, 0] = torch.randn(8)
    out = locus_set(loci, torch.tensor([[True, True], [True, False]]))
    assert (out[0] - out[1]).abs().max() > 1e-2


def test_empty_sets_share_one_learned_vector(locus_set) -> None:
    empty = locus_set(torch.randn(2, 3, 8), torch.zeros(2, 3, dtype=torch.bool))
    none = locus_set(torch.empty(1, 0, 8), torch.empty(1, 0, dtype=torch.bool))
    learned = locus_set(locus_set.unknown, torch.tensor([[True]]))
    torch.testing.assert_close(empty, learned.expand(2, -1))
    torch.testing.assert_close(none, learned)


def test_gradients_are_finite_beside_an_empty_set(locus_set) -> None:
    loci = torch.randn(2, 3, 8, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    locus_set(loci, mask).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in locus_set.parameters())
    assert torch.equal(loci.grad.abs().sum(2) > 0, mask)
    assert locus_set.unknown.grad.abs().sum() > 0


def test_distance_is_that_to_the_nearest_mark() -> None:
    is_marked = torch.rand(50, 17) < 0.2
    is_marked[:, 3] = True
    expected = [
        [min(abs(i - j) for j, marked in enumerate(row) if marked) for i in range(17)]
        for row in is_marked.tolist()
    ]
    assert compute_distance(is_marked).tolist() == expected


def test_distance_without_a_mark_is_beyond_the_window() -> None:
    assert compute_distance(torch.zeros(1, 3, dtype=torch.bool)).tolist() == [[6, 6, 6]]


def test_buckets_double_in_width() -> None:
    bias, is_marked = DistanceBias(2), torch.zeros(1, 2**20, dtype=torch.bool)
    is_marked[0, 0] = True
    falling = -bias(is_marked)[0, 1]
    expected = [0] + [min(math.floor(math.log2(d)) + 1, 19) for d in range(1, 200)]
    torch.testing.assert_close(falling[:200], torch.tensor(expected, dtype=torch.float32))
    assert falling[-1] == 19


def test_heads_start_from_flat_to_steep() -> None:
    bias = DistanceBias(3)(torch.tensor([[False, True, False, False]]))
    expected = torch.tensor([[[0.0, 0, 0, 0], [-0.5, 0, -0.5, -1], [-1, 0, -1, -2]]])
    torch.testing.assert_close(bias, expected)


@pytest.mark.parametrize("n_heads", [1, 4])
def test_the_other_end_has_the_same_bias(n_heads) -> None:
    bias, is_marked = DistanceBias(n_heads), torch.rand(5, 40) < 0.1
    is_marked[:, 7] = True
    torch.nn.init.normal_(bias.bias)
    assert torch.equal(bias(is_marked.flip(1)), bias(is_marked).flip(2))
    assert bias(is_marked).shape == (5, n_heads, 40)
