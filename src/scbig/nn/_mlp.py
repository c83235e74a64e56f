"""Multilayer perceptron."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    """Linear layers with an activation and dropout between them, none after the last.

    Parameters
    ----------
    widths
        Width of the input, of each hidden layer and of the output; two or more.
    activation
        Makes the activation, :class:`torch.nn.SiLU` by default.
    dropout
        Probability of dropping a hidden unit.
    zero_last
        Start the last layer at zero, so that the untrained network returns zeros.

    Raises
    ------
    ValueError
        When `widths` has fewer than two entries.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
        zero_last: bool = False,
    ) -> None:
        if len(widths) < 2:
            raise ValueError(f"widths is {tuple(widths)}; pass (n_in, ..., n_out).")
        *inner, last = pairwise(widths)
        layers: list[nn.Module] = []
        for n_in, n_out in inner:
            layers += [nn.Linear(n_in, n_out), activation()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        output = nn.Linear(*last)
        if zero_last:
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
        super().__init__(*layers, output)
