"""The cells of one side of a comparison, checked once, by condition and context."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from scbig.data import (
    Expression,
    Screen,
    ScreenSchema,
    Targets,
    check_expression,
    get_gene_names,
    get_matrix,
    make_screen,
)
from scbig.metrics._match import check_columns, find_genes

# A condition in a context; without targets, the controls of the context.
Key = tuple[Targets, str]


@dataclass(frozen=True)
class Side:
    """Cells of one side: real, predicted, or those trained on.

    Attributes
    ----------
    expression
        Their expression, in the genes of the real side.
    genes
        The names of these genes.
    names
        Names of the cells.
    groups
        Row numbers of each condition and context, in the order of the names of the cells: what
        is drawn from them does not depend on the order of the cells.
    labels
        How the side writes each condition.
    """

    expression: Expression
    genes: tuple[str, ...]
    names: np.ndarray
    groups: dict[Key, np.ndarray]
    labels: dict[Targets, str]

    @property
    def perturbed(self) -> list[Key]:
        """The conditions and contexts without the controls, context by context."""
        keys = [key for key in self.groups if key[0]]
        return sorted(keys, key=lambda key: (key[1], len(key[0]), key[0]))


def read_side(
    adata: AnnData,
    schema: ScreenSchema,
    name: str,
    *,
    layer: str | None = None,
    genes: Sequence[str] | None = None,
) -> Side:
    """Check one side and sort its cells into groups.

    Parameters
    ----------
    adata
        Annotated data.
    schema
        Where they keep their labels.
    name
        What errors call them, such as ``"predicted"``.
    layer
        Layer with the expression; ``None`` for ``X``.
    genes
        Names of the genes to read; by default all, in their order.

    Returns
    -------
    The side.

    Raises
    ------
    ValueError
        When columns, labels, genes or a layer are missing, or the expression is not log1p.
    """
    check_columns(adata, schema, name, layer)
    try:
        screen = make_screen(adata.obs, schema)
        found = get_gene_names(adata, schema.gene_key)
        check_expression(adata, layer)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    columns = None if genes is None else find_genes(found, genes, name)
    names = adata.obs_names.to_numpy().astype(str)
    return Side(
        Expression(get_matrix(adata, layer), columns),
        tuple(map(str, found)) if genes is None else tuple(genes),
        names,
        _get_groups(screen, names),
        _get_labels(adata, schema),
    )


def _get_groups(screen: Screen, names: np.ndarray) -> dict[Key, np.ndarray]:
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(names, kind="stable")] = np.arange(len(names))
    groups: dict[Key, np.ndarray] = {}
    for i, name in enumerate(screen.contexts):
        if len(controls := screen.get_controls(i)):
            groups[(), name] = controls
    for targets, context, rows in screen.get_groups():
        groups[targets, screen.contexts[context]] = rows
    return {key: rows[np.argsort(rank[rows])] for key, rows in groups.items()}


def _get_labels(adata: AnnData, schema: ScreenSchema) -> dict[Targets, str]:
    """Return the spelling of each condition, the first of the alphabet if there are several."""
    spellings = sorted(set(adata.obs[schema.perturbation_key].astype(str)), reverse=True)
    return {schema.parse(label): label for label in spellings}
