import math

import pytest
import torch

from scbig.nn import DistanceBias, compute_distance


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
