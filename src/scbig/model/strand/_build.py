"""Building an untrained STRAND from a screen and its loci."""

import numpy as np
from anndata import AnnData

from scbig.data import (
    Expression,
    ScreenSchema,
    compute_group_means,
    get_gene_names,
    get_matrix,
    make_controls,
    make_screen,
)
from scbig.model.base import CellLatent, PrincipalComponents
from scbig.model.strand._blueprint import Blueprint
from scbig.model.strand._config import STRANDConfig
from scbig.model.strand._places import Places
from scbig.model.strand._reading import PlaceReader
from scbig.model.strand._state import compute_control_mean


def make_blueprint(
    adata: AnnData, schema: ScreenSchema, reader: PlaceReader, places: Places, *, strict: bool
) -> Blueprint:
    """Put together what a model is built from.

    Parameters
    ----------
    adata
        Registered screen.
    schema
        Where it keeps its labels.
    reader
        What read the loci.
    places
        The loci.
    strict
        Whether a target without a locus is an error.

    Returns
    -------
    The blueprint.

    Raises
    ------
    ValueError
        When a target has no locus and `strict` is set.
    """
    screen = make_screen(adata.obs, schema)
    if strict:
        places.loci.match(screen.targets)
    expression = Expression(get_matrix(adata, schema.layer))
    genes = tuple(map(str, get_gene_names(adata, schema.gene_key)))
    means = compute_group_means(
        expression, [screen.get_controls(i) for i in range(len(screen.contexts))]
    )
    columns = [schema.perturbation_key, *schema.context_keys]
    return Blueprint(
        config=reader.config,
        schema=schema,
        genes=genes,
        contexts=screen.contexts,
        kind=reader.kind,
        places=places,
        twins=reader.genes,
        controls=make_controls(
            expression, screen, adata.obs[columns], genes, np.random.default_rng(0)
        ),
        control_mean=compute_control_mean(means),
        strict=strict,
    )


def make_latent(latent: CellLatent | None, n_genes: int, config: STRANDConfig) -> CellLatent:
    """Take a latent space, or make one of principal components.

    Raises
    ------
    ValueError
        When it is of another class.
    """
    if latent is None:
        return PrincipalComponents(n_genes, config.n_latent)
    if not isinstance(latent, CellLatent):
        raise ValueError(
            f"latent is of the class {type(latent).__name__}. Give a scbig.model.CellLatent: a "
            "torch module with n_latent, encode(x) and decode(z)."
        )
    return latent
