import math

import numpy as np
import pytest
import torch

from scbig.nn import SeedPooling


@pytest.fixture
def pooling() -> SeedPooling:
    return SeedPooling(5, 3, n_seed=6, width=8, n_heads=2)


def _pool_by_hand(pooling: SeedPooling, members: torch.Tensor) -> torch.Tensor:
    """One set without padding, head by head."""
    query, read = pooling.query(pooling.seed)[0], []
    for head in (slice(0, 4), slice(4, 8)):
        keys, values = pooling.key(members)[:, head], pooling.value(members)[:, head]
        read.append((keys @ query[head] / math.sqrt(8)).softmax(0) @ values)
    return pooling.output(torch.cat(read))


@pytest.mark.parametrize("sizes", [[1], [3, 1, 2], [2, 2, 2, 2, 2, 2, 2, 2, 2]])
def test_any_number_of_sets_is_pooled_as_each_alone(pooling, sizes: list[int]) -> None:
    members = torch.randn(len(sizes), 3, 5)
    mask = torch.arange(3) < torch.tensor(sizes).unsqueeze(1)
    expected = [_pool_by_hand(pooling, x[:n]) for x, n in zip(members, sizes, strict=True)]
    torch.testing.assert_close(pooling(members, mask), torch.stack(expected))


@pytest.mark.parametrize("filling", [0.0, 1e6, float("nan")])
def test_padding_and_order_do_not_matter(pooling, filling: float) -> None:
    members, mask = torch.randn(3, 4, 5), torch.tensor([[True] * 4, [True] * 4, [True] * 4])
    mask[1, 2:], mask[2, 1:] = False, False
    filled = members.masked_fill(~mask.unsqueeze(-1), filling)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(pooling(filled, mask), pooling(members, mask))
    torch.testing.assert_close(pooling(members[:, order], mask[:, order]), pooling(members, mask))


def test_a_zero_member_is_a_member_and_an_empty_set_is_one_zero(pooling) -> None:
    members, mask = torch.randn(2, 2, 5), torch.tensor([[True, True], [True, False]])
    members[:, 1] = 0
    both, one = pooling(members, mask)
    assert (both - one).abs().max() > 1e-3
    zero = pooling(torch.zeros(1, 1, 5), torch.tensor([[True]]))
    torch.testing.assert_close(pooling(members[:1], torch.zeros(1, 2, dtype=torch.bool)), zero)
    none = pooling(torch.empty(1, 0, 5), torch.empty(1, 0, dtype=torch.bool))
    torch.testing.assert_close(none, zero)
    torch.testing.assert_close(zero[0], pooling.output(pooling.value.bias))


def test_gradients_are_finite_and_reach_every_weight(pooling) -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    pooling(torch.randn(2, 3, 5), mask).square().sum().backward()
    gradients = {name: p.grad for name, p in pooling.named_parameters()}
    assert all(torch.isfinite(g).all() for g in gradients.values())
    # What is added to all keys cancels in the softmax.
    still = {name for name, g in gradients.items() if not g.abs().max() > 1e-7}
    assert still <= {"key.bias"}


def test_it_starts_as_published(pooling) -> None:
    wide = SeedPooling(5, 3, n_seed=4096).seed
    np.testing.assert_allclose(wide.abs().max().item(), math.sqrt(6 / 4097), rtol=0.01)
    assert wide.std().item() == pytest.approx(math.sqrt(2 / 4097), rel=0.05)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 64 cannot be cut into 5 heads"):
        SeedPooling(5, 3, n_heads=5)
