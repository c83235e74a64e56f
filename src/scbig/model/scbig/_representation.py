"""What SCBIG sees in cells: latents, program activity and attention."""

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from scbig.model.scbig._autoencoder import compute_latents
from scbig.model.scbig._blueprint import Blueprint, get_averaging
from scbig.model.scbig._components import ProgramEncoder
from scbig.model.scbig._inference import InferenceMixin


class RepresentationMixin(InferenceMixin):
    """Representations of cells; nothing is written."""

    _blueprint: Blueprint

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None
    ) -> np.ndarray:
        """Encode cells.

        Parameters
        ----------
        adata
            Cells to encode; by default the training data.
        layer
            Layer to read, such as a predicted one; by default that of the training data.

        Returns
        -------
        Standardised latents, shape ``(n_cells, n_latent)``.
        """
        self._check_trained()
        return compute_latents(self.module, self._read(self._get_adata(adata), layer))

    def get_program_activity(
        self, adata: AnnData | None = None, *, layer: str | None = None
    ) -> pd.DataFrame:
        """Average the expression of each gene program.

        Parameters
        ----------
        adata
            Cells; by default the training data.
        layer
            Layer to read, such as a predicted one; by default that of the training data.

        Returns
        -------
        Mean log1p expression, cells by programs.
        """
        adata = self._get_adata(adata)
        averaging = get_averaging(self._blueprint.programs.labels)
        chunks = [x @ averaging.T for _, x in self._read(adata, layer).chunks()]
        return pd.DataFrame(
            np.vstack(chunks), index=adata.obs_names, columns=list(self._blueprint.programs.names)
        )

    @torch.no_grad()
    def get_attention(
        self,
        adata: AnnData | None = None,
        *,
        groupby: str | None = None,
        layer: str | None = None,
    ) -> pd.DataFrame:
        """Attention that the encoder pays to each program, averaged over groups of cells.

        The share of attention of the inducing points, averaged over points, heads and blocks.
        How it differs between perturbed and control cells is what the analysis of
        arXiv 2602.04901 looks at.

        Parameters
        ----------
        adata
            Cells; by default the training data.
        groupby
            Column of ``obs``; by default the perturbation.
        layer
            Layer to read, such as a predicted one; by default that of the training data.

        Returns
        -------
        Attention, groups by programs; rows add up to one.

        Raises
        ------
        ValueError
            When ``groupby`` or ``layer`` is not there, or the encoder is principal components.
        """
        self._check_trained()
        encoder = self.module.encoder
        if not isinstance(encoder, ProgramEncoder):
            raise ValueError(
                "Principal components pay no attention: this model was made with "
                "autoencoder='pca'. Take the gene-cluster-aware encoder: SCBIG(adata)."
            )
        adata = self._get_adata(adata)
        key = self._schema.perturbation_key if groupby is None else groupby
        if key not in adata.obs:
            raise ValueError(
                f"groupby={key!r} is not a column of obs. Columns found: {list(adata.obs)}."
            )
        names = list(self._blueprint.programs.names)
        chunks = [self._attend(encoder, x) for _, x in self._read(adata, layer).chunks(512)]
        table = pd.DataFrame(np.vstack(chunks), columns=names)
        return table.groupby(adata.obs[key].astype(str).to_numpy()).mean()

    def _attend(self, encoder: ProgramEncoder, x: np.ndarray) -> np.ndarray:
        self.module.eval()
        cells = torch.from_numpy(np.ascontiguousarray(x)).to(self.module.device)
        maps = encoder.attend(cells - self.module.gene_mean)
        return torch.stack([m.points_to_tokens.mean(1) for m in maps]).mean(0).cpu().numpy()
