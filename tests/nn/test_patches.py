import torch

from scbig.nn import GatedFusion, GenePatches, GeneReadout, extend_rows, sum_pairs, take_rows


def test_patches_hold_neighbours_in_the_order_and_are_joined_again() -> None:
    patches = GenePatches(torch.tensor([3, 1, 0, 2, 4]), 2)
    assert patches.n_tokens == 3
    assert patches.token.tolist() == [1, 0, 1, 0, 2]
    x = torch.arange(10.0).view(2, 5)
    assert patches.cut(x)[0].tolist() == [[3, 1], [0, 2], [4, 0]]
    torch.testing.assert_close(patches.join(patches.cut(x)), x)


def test_the_gate_stays_between_the_streams() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 4, 8)
    mixed = GatedFusion(8)(first, second)
    assert (mixed <= torch.maximum(first, second)).all()
    assert (mixed >= torch.minimum(first, second)).all()


def test_a_readout_starts_at_zero_and_reads_genes_alike_that_are_alike() -> None:
    torch.manual_seed(0)
    vectors, tokens = torch.randn(1, 2, 3).expand(4, 2, 3), torch.randn(1, 1, 8).expand(5, 4, 8)
    readout = GeneReadout(vectors, 8)
    assert not readout(tokens).any()
    torch.nn.init.normal_(readout.project.weight)
    read = readout(tokens)
    assert read.shape == (5, 4, 2)
    assert read.any()
    torch.testing.assert_close(read, read[:1, :1].expand(5, 4, 2))


def test_rows_that_a_table_lacks_are_zero() -> None:
    table = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    rows = torch.tensor([[1, -1], [0, 1]])
    assert take_rows(table, rows).tolist() == [[[3, 4], [0, 0]], [[1, 2], [3, 4]]]
    assert take_rows(table[:0], rows).tolist() == torch.zeros(2, 2, 2).tolist()
    grown = extend_rows(table, 3)
    assert grown.tolist() == [[1, 2], [3, 4], [0, 0]]
    assert grown.requires_grad


def test_pairs_are_those_of_the_mask() -> None:
    vectors = torch.tensor([[[2.0], [3.0], [5.0]], [[2.0], [3.0], [5.0]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    double = torch.nn.Linear(1, 1, bias=False)
    double.weight.data.fill_(2.0)
    assert sum_pairs(double, vectors, mask).tolist() == [[2 * (6 + 10 + 15)], [2 * 6]]
