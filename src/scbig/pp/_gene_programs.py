"""Gene programs of an AnnData."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig._annotations import checked
from scbig._constants import UNS, VAR
from scbig.data import check_expression, get_gene_names, get_matrix, infer_schema, make_screen
from scbig.priors import GeneEmbedding, GeneGraph
from scbig.programs import (
    GenePrograms,
    ProgramConfig,
    make_gene_programs,
    make_known_programs,
)

logger = logging.getLogger(__name__)

# Co-expression of a few thousand cells is stable; a genome-wide screen has far more controls.
MAX_CONTROL_CELLS = 10_000


@checked
def gene_programs(
    adata: AnnData,
    n_programs: int = 32,
    *,
    embedding: GeneEmbedding | None = None,
    graph: GeneGraph | None = None,
    layer: str | None = None,
    perturbation_key: str | None = None,
    control: str | Sequence[str] | None = None,
    seed: int = 0,
) -> None:
    """Cluster genes into programs of equal size (gene-relation clustering, arXiv 2602.04901).

    Genes that are close in the embedding and linked in the graph come together. A gene without
    an embedding is placed by its co-expression in the control cells and by the graph. Without
    embedding all genes are clustered by co-expression, so the data alone are enough. The order
    of the genes does not matter, and it is not changed.

    Parameters
    ----------
    adata
        Annotated data of one screen, log1p-normalised.
    n_programs
        Number of programs, at most half the number of genes.
    embedding
        Gene embedding, see :func:`scbig.priors.load_gene_embedding`.
    graph
        Interaction graph, see :func:`scbig.priors.load_string`.
    layer
        Layer with log1p expression; ``None`` for ``X``.
    perturbation_key
        Column of ``obs`` with the perturbation labels; recognised by default. Needed only if
        some gene has no embedding, as are ``control`` and ``layer``.
    control
        Label of the control cells; recognised by default.
    seed
        Seed of k-means, of the component start vector and of the choice among more than 10,000
        control cells.

    Returns
    -------
    Nothing; writes into ``adata``:

    - ``var["scbig_program"]``: categorical "P00", "P01", ..., whose codes are the program numbers.
    - ``uns["scbig_programs"]``: labels, names, source, settings and, with a graph, coherence;
      read it with :func:`scbig.programs.get_gene_programs`.

    Raises
    ------
    ValueError
        If there are too few genes for ``n_programs``, gene names repeat, control cells are needed
        but not recognised, or expression is not log1p-normalised.
    """
    genes = list(get_gene_names(adata, None))
    rng = np.random.default_rng(seed)

    def get_controls() -> np.ndarray | sparse.csr_array:
        schema = infer_schema(
            adata, layer=layer, perturbation_key=perturbation_key, control=control
        )
        is_control = make_screen(adata.obs, schema).is_control
        controls = adata[_choose(np.flatnonzero(is_control), rng)]
        check_expression(controls, layer)
        return get_matrix(controls, layer)

    programs = make_gene_programs(
        genes,
        get_controls,
        embedding=None if embedding is None else embedding.align(genes),
        graph=None if graph is None else graph.align(genes),
        config=ProgramConfig(n_programs=n_programs, seed=seed),
    )
    _write(adata, programs)


@checked
def set_gene_programs(
    adata: AnnData,
    groups: str | Mapping[str, str] | pd.Series,
    *,
    graph: GeneGraph | None = None,
) -> None:
    """Use a known grouping of genes as the programs.

    Parameters
    ----------
    adata
        Annotated data.
    groups
        Column of ``var``, or program names by gene name. Genes that it leaves out form a program
        of their own, "unassigned".
    graph
        Interaction graph for the coherence report.

    Returns
    -------
    Nothing; writes ``var["scbig_program"]`` and ``uns["scbig_programs"]`` like
    :func:`gene_programs`.

    Raises
    ------
    ValueError
        If the column does not exist, the grouping fits no gene, or gene names repeat.
    """
    genes = list(get_gene_names(adata, None))
    source = "groups"
    if isinstance(groups, str):
        if groups not in adata.var:
            raise ValueError(
                f"groups={groups!r} is not a column of var. Columns found: {list(adata.var)}."
            )
        source, groups = f"var[{groups!r}]", adata.var[groups]
    links = None if graph is None else graph.align(genes)
    _write(adata, make_known_programs(genes, groups, graph=links, source=source))


def _choose(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if cells.size <= MAX_CONTROL_CELLS:
        return cells
    return np.sort(rng.choice(cells, MAX_CONTROL_CELLS, replace=False))


def _write(adata: AnnData, programs: GenePrograms) -> None:
    adata.var[VAR.PROGRAM] = pd.Categorical.from_codes(programs.labels, list(programs.names))
    adata.uns[UNS.PROGRAMS] = programs.to_dict()
    sizes = programs.sizes
    logger.info(
        "%d programs of %d to %d genes from %s%s",
        programs.n_programs,
        sizes.min(),
        sizes.max(),
        programs.source,
        "" if programs.coherence is None else f"; {programs.coherence}",
    )
