"""Fields of the scvi-tools registry for perturbation screens.

scvi-tools' own categorical field refuses labels that were not there at setup, and its layer
field takes genes by position; a model of unseen perturbations needs neither.
"""

import logging
from typing import Any

import numpy as np
import pandas as pd
import rich.table
from anndata import AnnData
from scvi.data.fields import BaseAnnDataField

from scbig._constants import REGISTRY
from scbig.data._check_cells import check_readable
from scbig.data._expression import get_gene_names
from scbig.data._lenders import REMEDY
from scbig.data._screen import make_screen
from scbig.labels import (
    ScreenSchema,
    check_missing,
    check_other_controls,
)

logger = logging.getLogger(__name__)


class ExpressionField(BaseAnnDataField):
    """Log1p-normalised expression, or raw counts, in ``X`` or a layer.

    Parameters
    ----------
    layer
        Layer with the expression; ``None`` for ``X``.
    gene_key
        Column of ``var`` with the gene names; ``None`` for ``var_names``.
    is_log1p
        Take integer values for log1p values.
    """

    def __init__(
        self, layer: str | None, gene_key: str | None = None, *, is_log1p: bool = False
    ) -> None:
        self._layer = layer
        self._gene_key = gene_key
        self._is_log1p = is_log1p

    @property
    def registry_key(self) -> str:
        """Key of the field in the registry."""
        return REGISTRY.X

    @property
    def attr_name(self) -> str:
        """Attribute of AnnData that is read."""
        return "X" if self._layer is None else "layers"

    @property
    def attr_key(self) -> str | None:
        """Key inside the attribute."""
        return self._layer

    @property
    def is_empty(self) -> bool:
        """Never: every model reads expression."""
        return False

    def validate_field(self, adata: AnnData) -> None:
        """Check values and gene names; see :func:`scbig.data.check_expression`.

        Parameters
        ----------
        adata
            Annotated data of one screen.

        Raises
        ------
        ValueError
            When names or values cannot be used.
        """
        get_gene_names(adata, self._gene_key)
        check_readable(adata, self._layer, is_log1p=self._is_log1p)

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Check the field and record the gene names.

        Parameters
        ----------
        adata
            Annotated data of one screen.

        Returns
        -------
        The gene names as ``"genes"``, and ``"is_log1p"``.
        """
        super().register_field(adata)
        names = get_gene_names(adata, self._gene_key)
        return {"genes": [str(name) for name in names], "is_log1p": self._is_log1p}

    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        """Register another dataset; its genes are matched by name when it is read.

        Parameters
        ----------
        state_registry
            State of the screen that was registered first; not needed.
        adata_target
            The other screen.
        **kwargs
            scvi-tools' options for other fields; ignored.

        Returns
        -------
        What :meth:`register_field` returns for it.
        """
        return self.register_field(adata_target)

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        """Count the genes.

        Parameters
        ----------
        state_registry
            What :meth:`register_field` returned.

        Returns
        -------
        The number of genes as ``"n_vars"``.
        """
        return {"n_vars": len(state_registry["genes"])}

    def view_state_registry(self, state_registry: dict[str, Any]) -> rich.table.Table | None:
        """Show nothing beyond the summary.

        Parameters
        ----------
        state_registry
            What :meth:`register_field` returned.

        Returns
        -------
        No table.
        """
        return None


class PerturbationField(BaseAnnDataField):
    """Perturbation labels, read as sets of targets within contexts.

    Parameters
    ----------
    schema
        Where the screen keeps its labels.
    """

    def __init__(self, schema: ScreenSchema) -> None:
        self._schema = schema

    @property
    def registry_key(self) -> str:
        """Key of the field in the registry."""
        return REGISTRY.PERTURBATION

    @property
    def attr_name(self) -> str:
        """Attribute of AnnData that is read."""
        return "obs"

    @property
    def attr_key(self) -> str:
        """Key inside the attribute."""
        return self._schema.perturbation_key

    @property
    def is_empty(self) -> bool:
        """Never: every model reads perturbations."""
        return False

    def validate_field(self, adata: AnnData) -> None:
        """Check labels and that each context has its controls.

        Parameters
        ----------
        adata
            Annotated data of one screen.

        Raises
        ------
        ValueError
            When labels are missing or empty, or a context has no control cells.
        """
        _check_labels(adata.obs, self._schema)
        genes = set(get_gene_names(adata, self._schema.gene_key))
        check_other_controls(adata.obs, self._schema, genes)
        screen = make_screen(adata.obs, self._schema)
        borrows = np.isin(screen.context, [i for i, named in screen.lenders.items() if named])
        check_controls(screen.is_control | borrows, screen.context, list(screen.contexts))

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Check the field, and record the schema and what it found.

        Parameters
        ----------
        adata
            Annotated data of one screen.

        Returns
        -------
        The schema, numbers of conditions and controls, and names of targets and contexts.
        """
        super().register_field(adata)
        screen = make_screen(adata.obs, self._schema)
        return {
            "schema": self._schema.to_dict(),
            "n_conditions": sum(bool(targets) for targets in screen.conditions),
            "n_controls": int(screen.is_control.sum()),
            "targets": list(screen.targets),
            "contexts": list(screen.contexts),
        }

    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        """Register another screen with the same conventions; new labels are welcome.

        Parameters
        ----------
        state_registry
            State of the screen that was registered first; not needed.
        adata_target
            The other screen.
        **kwargs
            scvi-tools' options for other fields; ignored.

        Returns
        -------
        What :meth:`register_field` returns for it.
        """
        return self.register_field(adata_target)

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        """Count conditions, targets, contexts and control cells.

        Parameters
        ----------
        state_registry
            What :meth:`register_field` returned.

        Returns
        -------
        The counts by name.
        """
        return {
            "n_conditions": state_registry["n_conditions"],
            "n_controls": state_registry["n_controls"],
            "n_targets": len(state_registry["targets"]),
            "n_contexts": len(state_registry["contexts"]),
        }

    def view_state_registry(self, state_registry: dict[str, Any]) -> rich.table.Table:
        """Show the conventions that were recognised.

        Parameters
        ----------
        state_registry
            What :meth:`register_field` returned.

        Returns
        -------
        A table of the schema.
        """
        table = rich.table.Table(title="Perturbations")
        table.add_column("Setting")
        table.add_column("Value")
        for name, value in state_registry["schema"].items():
            table.add_row(name, f"of {len(value)}" if name == "guide_to_gene" else str(value))
        return table


def _check_labels(obs: pd.DataFrame, schema: ScreenSchema) -> None:
    """Raise when cells lack a label or a category has no cells."""
    keys = (schema.perturbation_key, *schema.context_keys)
    check_missing(obs, keys)
    for key in keys:
        column = obs[key]
        if isinstance(column.dtype, pd.CategoricalDtype):
            counts = column.value_counts()
            empty = [str(label) for label in counts.index[counts == 0]]
            if empty:
                raise ValueError(
                    f"{len(empty)} categories of obs[{key!r}] have no cells: {empty[:5]}. Drop "
                    f"them: adata.obs[{key!r}] = adata.obs[{key!r}].cat.remove_unused_categories()"
                )


def check_controls(is_control: np.ndarray, contexts: np.ndarray, names: list[str]) -> None:
    """Raise when a context has perturbed cells but no controls to match them with."""
    lacking = sorted(set(contexts[~is_control]) - set(contexts[is_control]))
    if lacking:
        raise ValueError(
            f"{len(lacking)} context(s) have perturbed cells but no control cells: "
            f"{[names[i] for i in lacking[:5]]}. Give fewer context_keys, drop "
            f"these cells, or take the control cells of other contexts: {REMEDY}."
        )


def check_columns(adata: AnnData, schema: ScreenSchema, name: str, layer: str | None) -> None:
    """Raise when cells lack a column of labels, or the layer.

    Parameters
    ----------
    adata
        Cells.
    schema
        Where they are to keep their labels.
    name
        What the user called them.
    layer
        Layer that is to be read; ``None`` for ``X``.

    Raises
    ------
    ValueError
        When one is not there; the message lists those that are.
    """
    for key in schema.obs_keys:
        if key not in adata.obs:
            raise ValueError(
                f"{name} has no column obs[{key!r}]; both sides need it. Columns found: "
                f"{list(adata.obs)}. Write it: {name}.obs[{key!r}] = {name}.obs['...']"
            )
    if layer is not None and layer not in adata.layers:
        # anndata 0.13 lists X among the layers, under None.
        found = [key for key in adata.layers if key is not None]
        raise ValueError(
            f"{name} has no layer {layer!r}. Layers found: {found}. Name one of them, or None "
            "for X."
        )
