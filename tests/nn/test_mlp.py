import pytest
import torch
from torch import nn

from scbig.nn import MLP


def test_mlp_is_its_layers_in_turn() -> None:
    mlp = MLP((3, 5, 4, 2))
    x = torch.randn(7, 3)
    first, second, last = (layer for layer in mlp if isinstance(layer, nn.Linear))
    hidden = x @ first.weight.T + first.bias
    hidden = hidden * hidden.sigmoid() @ second.weight.T + second.bias
    expected = hidden * hidden.sigmoid() @ last.weight.T + last.bias
    torch.testing.assert_close(mlp(x), expected)


def test_mlp_without_hidden_layers_is_linear() -> None:
    assert [type(layer) for layer in MLP((3, 2), dropout=0.5)] == [nn.Linear]


def test_activation_and_dropout_follow_each_hidden_layer() -> None:
    kinds = [type(layer) for layer in MLP((3, 5, 2), activation=nn.GELU, dropout=0.1)]
    assert kinds == [nn.Linear, nn.GELU, nn.Dropout, nn.Linear]


def test_zero_last_returns_zeros_and_still_learns() -> None:
    mlp = MLP((3, 5, 2), zero_last=True)
    y = mlp(torch.randn(4, 3))
    assert torch.equal(y, torch.zeros(4, 2))
    y.sum().backward()
    assert mlp[-1].weight.grad.abs().sum() > 0


def test_mlp_needs_two_widths() -> None:
    with pytest.raises(ValueError, match=r"widths is \(3,\)"):
        MLP((3,))
