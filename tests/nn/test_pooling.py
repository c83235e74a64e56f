import pytest
import torch

from scbig.nn import SetPooling


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
