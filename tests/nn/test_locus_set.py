import pytest
import torch

from scbig.nn import LocusSet


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
def test_padding_does_not_matter(locus_set, filling) -> None:
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
