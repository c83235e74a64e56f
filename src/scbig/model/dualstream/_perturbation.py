"""What a perturbation tells each token."""

import torch
from torch import nn

from scbig.model.dualstream._condition import ConditionInput
from scbig.nn import MLP


class PerturbationEncoder(nn.Module):
    """Message of a set of targets to each token; the order of the targets does not matter.

    A target's message is its embedding, projected, plus a vector of its own where it was seen in
    training. Each token hears it by its similarity to the target, and the token that holds the
    target itself is marked. Each pair of targets adds a message to all tokens.

    Parameters
    ----------
    place
        Mean embedding of the genes of each token, shape ``(L, D)``.
    n_tables
        Number of unit vectors that an embedding is made of.
    n_targets, n_contexts
        Number of targets and of contexts with a learned vector.
    n_hidden
        Width of a token.
    use_pairs
        Have the message of pairs.
    """

    place: torch.Tensor

    def __init__(
        self,
        place: torch.Tensor,
        n_tables: int,
        n_targets: int,
        n_contexts: int,
        n_hidden: int,
        *,
        use_pairs: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("place", place, persistent=False)
        self.n_tables = n_tables
        self.project = nn.Linear(place.shape[1], n_hidden)
        self.own = nn.Parameter(torch.zeros(n_targets, n_hidden))
        self.context = nn.Parameter(torch.zeros(n_contexts, n_hidden))
        self.here = nn.Parameter(torch.randn(n_hidden))
        self.pair = MLP((n_hidden, n_hidden, n_hidden)) if use_pairs else None

    def forward(self, condition: ConditionInput, token: torch.Tensor) -> torch.Tensor:
        """Tell B conditions to all tokens.

        Parameters
        ----------
        condition
            The conditions.
        token
            Token of each gene, shape ``(G,)``.

        Returns
        -------
        Messages, shape ``(B, L, n_hidden)``.
        """
        message = self._get_messages(condition)
        # (B, L, T): from 0 for the opposite of the target to 1 for the target itself
        heard = (1 + self.place @ condition.embedding.mT / self.n_tables) / 2
        tokens = heard @ message + self._mark(condition, token).unsqueeze(-1) * self.here
        everywhere = _look_up(self.context, condition.context)
        if self.pair is not None:
            everywhere = everywhere + self._get_pair_message(self.pair, message, condition.mask)
        return tokens + everywhere.unsqueeze(1)

    def _get_messages(self, condition: ConditionInput) -> torch.Tensor:
        message = self.project(condition.embedding) + _look_up(self.own, condition.target)
        return message * condition.mask.unsqueeze(-1)

    def _mark(self, condition: ConditionInput, token: torch.Tensor) -> torch.Tensor:
        """Count the targets that each token holds, shape ``(B, L)``."""
        counts = condition.effect.new_zeros(len(condition.gene), len(self.place))
        is_here = (condition.gene >= 0).to(counts)
        return counts.scatter_add(1, token[condition.gene.clamp(min=0)], is_here)

    @staticmethod
    def _get_pair_message(
        pair: nn.Module, message: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Sum over the pairs of targets, shape ``(B, n_hidden)``."""
        n_targets = mask.shape[1]
        first, second = torch.triu_indices(n_targets, n_targets, 1, device=mask.device)
        is_pair = (mask[:, first] & mask[:, second]).unsqueeze(-1)
        return (pair(message[:, first] * message[:, second]) * is_pair).sum(1)


def _look_up(table: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Rows of a table; zeros for row -1."""
    if not len(table):
        return table.new_zeros(*row.shape, table.shape[1])
    return table[row.clamp(min=0)] * (row >= 0).unsqueeze(-1)
