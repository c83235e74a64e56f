"""Which genes the networks of DualStreamMamba read, and for which others."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch

from scbig.model.dualstream._condition import ConditionInput
from scbig.model.dualstream._inference import InferenceMixin
from scbig.model.dualstream._streams import compute_block_influence

_METHODS = ("occlusion", "kernel")
_TOKENS_AT_ONCE = 16_384


class InfluenceMixin(InferenceMixin):
    """Influence of genes on genes; nothing is written."""

    @torch.no_grad()
    def get_gene_influence(
        self,
        perturbation: str | Sequence[str],
        *,
        method: Literal["occlusion", "kernel"] = "occlusion",
        genes: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Tell which genes the networks read where, on the mean control cell.

        ``"occlusion"`` takes the token of each gene out of the biological stream, together with
        the message that a perturbed gene of it sends to the others, and measures by how much the
        predicted effect of every gene changes, in log1p units. ``"kernel"`` is the scan of the
        biological stream, written as a matrix: the absolute weight with which each position
        reads each other, averaged over heads and blocks and added up over the two directions.
        It is a property of the network and falls with the distance in the gene order; on
        simulated screens it says nothing of regulation, which occlusion does. Genes that share
        a token have their source column in common. Neither proves that a gene regulates another.

        Parameters
        ----------
        perturbation
            A label such as ``"A+B"``, or a sequence of targets.
        method
            ``"occlusion"`` or ``"kernel"``.
        genes
            Genes of the table; all by default, which takes memory for the square of their
            number.

        Returns
        -------
        Influence of each gene (columns) on each gene (rows).

        Raises
        ------
        RuntimeError
            When the model has not been trained.
        ValueError
            When the method or a gene is unknown, or nothing is known of a target.
        """
        self._check_trained()
        if method not in _METHODS:
            raise ValueError(f"method={method!r} is unknown. Choose one of {list(_METHODS)}.")
        names, rows = self._find_genes(genes)
        schema, wanted = self._schema, perturbation
        label = wanted if isinstance(wanted, str) else schema.join(list(wanted))
        targets = schema.parse(label)
        self._check_known(targets)
        condition = self._make_condition(targets, 0).to(self.module.device)
        cell = torch.from_numpy(self._get_control_mean(0)).to(self.module.device)[None]
        self.module.eval()
        compute = self._read_kernel if method == "kernel" else self._occlude
        return pd.DataFrame(compute(cell, condition, rows), index=names, columns=names)

    def _find_genes(self, genes: Sequence[str] | None) -> tuple[list[str], torch.Tensor]:
        number = {gene: i for i, gene in enumerate(self._genes)}
        names = list(self._genes) if genes is None else list(genes)
        if unknown := [name for name in names if name not in number]:
            raise ValueError(
                f"{len(unknown)} genes are not among the {len(number)} of the model: "
                f"{unknown[:5]}. Choose among {list(self._genes[:5])} ..."
            )
        return names, torch.tensor([number[name] for name in names], dtype=torch.long)

    def _read_kernel(
        self, cell: torch.Tensor, condition: ConditionInput, rows: torch.Tensor
    ) -> np.ndarray:
        module = self.module
        tokens = module.biological.embed(*module.get_biological_input(cell, condition))
        influence = compute_block_influence(module.biological.blocks, tokens)[0]
        token = module.patches.token[rows]
        return influence[token][:, token].cpu().numpy()

    def _occlude(
        self, cell: torch.Tensor, condition: ConditionInput, rows: torch.Tensor
    ) -> np.ndarray:
        module = self.module
        token = module.patches.token[rows]
        sources, column = torch.unique(token, return_inverse=True)
        whole = module.forward_cells(cell, condition).effect[0, rows]
        size = max(_TOKENS_AT_ONCE // module.patches.n_tokens, 1)
        changes = [
            (module.forward_without(cell, condition, part)[:, rows] - whole).abs()
            for part in sources.split(size)
        ]
        return torch.cat(changes).T[:, column].cpu().numpy()
