import pytest
import torch
import torch.nn.functional as F

from scbig.nn._causal_conv import CausalConv


@pytest.mark.parametrize("length", [1, 3, 4, 20])
@pytest.mark.parametrize("n_taps", [1, 4])
def test_causal_conv_is_a_padded_conv1d(length: int, n_taps: int):
    conv = CausalConv(5, n_taps).double()
    x = torch.randn(2, length, 5, dtype=torch.float64)
    padded = F.pad(x.transpose(1, 2), (n_taps - 1, 0))
    expected = F.silu(F.conv1d(padded, conv.weight, conv.bias, groups=5)).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected)


def test_causal_conv_looks_back_only():
    conv, x = CausalConv(2, 3).double(), torch.randn(1, 6, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: conv(x)[0, :, 0], x)[:, 0, :, 0]
    position = torch.arange(6)
    back = position.unsqueeze(1) - position
    assert torch.equal(jacobian != 0, (back >= 0) & (back < 3))
