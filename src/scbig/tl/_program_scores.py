"""Mean expression of gene programs."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig._constants import UNS
from scbig.data import Expression, check_finite, get_matrix
from scbig.programs import compute_program_means, get_gene_programs


@checked
def program_scores(
    adata: AnnData, *, layer: str | None = None, key_added: str = UNS.PROGRAMS
) -> None:
    """Average the genes of each program in each cell.

    Parameters
    ----------
    adata
        Annotated data with programs, see :func:`scbig.pp.gene_programs`.
    layer
        Layer with expression, for example a predicted one; ``None`` for ``X``.
    key_added
        Key of ``obsm`` to write to.

    Returns
    -------
    Nothing; writes ``obsm[key_added]``, a table of cells by programs. Genes that were not there
    when the programs were made are left out; a program without genes scores zero.

    Raises
    ------
    ValueError
        If there are no programs or no such layer, or it has values that are not finite.
    """
    programs = get_gene_programs(adata.uns)
    if layer is not None and layer not in adata.layers:
        # From anndata 0.13 on, X is among the layers under the key None.
        found = [key for key in adata.layers if key is not None]
        raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
    check_finite(adata, layer)
    labels = programs.get_labels(list(adata.var_names))
    expression = Expression(get_matrix(adata, layer))
    means = np.zeros((adata.n_obs, programs.n_programs))
    for rows, values in expression.chunks():
        means[rows] = compute_program_means(values, labels, programs.n_programs)
    adata.obsm[key_added] = pd.DataFrame(means, index=adata.obs_names, columns=programs.names)
