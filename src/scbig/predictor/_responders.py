"""What a predictor can tell of the cells that it makes: how many of them respond."""

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import replace

import pandas as pd
from anndata import AnnData

from scbig.data import Effects, Perturbations, ScreenCells, list_responders, read_responding
from scbig.predictor._folder import StoredModel


class RespondingModel(StoredModel):
    """Knows which share of the cells of a condition responds."""

    @abstractmethod
    def _check_trained(self) -> Effects:
        """Return the effects that the model was fitted on, or raise."""

    @abstractmethod
    def _check_known(self, targets: Collection[str]) -> None:
        """Raise when nothing is known of a target."""

    def _read_cells(self, adata: AnnData) -> ScreenCells:
        """Read the cells of a screen, and who of them responds where it is given."""
        known, key = self._vocabulary, self.registry_["setup_args"].get("responder_key")
        is_responding = read_responding(adata.obs, known.schema, key)
        return replace(known.read_screen(adata), is_responding=is_responding)

    def get_responders(self, perturbations: Perturbations | None = None) -> pd.DataFrame:
        """Tell which share of the cells of each condition responds.

        Some cells escape a perturbation. Their share is estimated from the training cells, along
        the axis of the effect, as Mixscape does (Papalexi et al. 2021,
        doi:10.1038/s41588-021-00778-2), and shrunk to that of the screen; or it is that of
        ``setup_anndata(responder_key=...)``. Cells are made with it where this was seen to bring
        them nearer to cells that had no part in the estimate.

        Parameters
        ----------
        perturbations
            Labels, or sequences of targets; by default all conditions of training. A combination
            that was not trained on has the product of the shares of its targets, and a target that
            was not the mean share of those that could be told.

        Returns
        -------
        By label: ``share``, bounds ``lower`` and ``upper`` of its 90% interval, ``is_used``
        (otherwise all cells that are made respond), and ``n_cells`` that tell it, 0 where they
        cannot. One row for each context, named in ``context``, where there are several.

        Raises
        ------
        NotImplementedError
            When the predictor makes no cells.
        RuntimeError, ValueError
            When it has not been trained, there are no counts, or nothing is known of a target.
        """
        self._check_trained()
        if not self._method.makes_cells:
            raise NotImplementedError(
                f"{type(self).__name__} makes no cells, so that none of them responds."
            )
        known, wanted = self._vocabulary, None
        if perturbations is not None:
            labels = known.schema.read_labels(perturbations)
            wanted = {label: known.resolve(group) for label, group in labels.items()}
            self._check_known({target for group in wanted.values() for target in group})
        return list_responders(self._cells, known.schema, known.contexts, wanted)
