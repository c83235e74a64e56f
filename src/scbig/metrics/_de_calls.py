"""Which genes does scanpy call differentially expressed, in real and in predicted cells?"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from threadpoolctl import threadpool_limits

from scbig.cells import FALSE_DISCOVERY_RATE
from scbig.metrics._matched_cells import (
    CellsLike,
    level_precision,
    match_numbers,
    read_cells,
    read_pair,
)

# Below, the normal approximation of scanpy's Wilcoxon test does not hold.
MIN_TESTED = 10
N_TOP = 20


@dataclass(frozen=True)
class DeCalls:
    """What tests against the real controls say of each gene, by real and by predicted cells.

    Made by :func:`call_de_genes`.

    Parameters
    ----------
    real_scores, predicted_scores
        Scores of scanpy's Wilcoxon test, ``(G,)``; positive where the gene is higher than in the
        controls.
    is_real, is_predicted
        Whether the gene is called differentially expressed, ``(G,)``.
    """

    real_scores: np.ndarray
    predicted_scores: np.ndarray
    is_real: np.ndarray
    is_predicted: np.ndarray


def call_de_genes(real: CellsLike, predicted: CellsLike, control: CellsLike) -> DeCalls:
    """Call genes differentially expressed, in real and in predicted cells, as scanpy does.

    ``scanpy.tl.rank_genes_groups(method="wilcoxon")`` with its defaults, against the *real*
    controls on both sides; called is a gene whose p-value, adjusted by Benjamini and Hochberg
    (1995, doi:10.1111/j.2517-6161.1995.tb02031.x), is below 0.05. As the power of a test grows
    with the number of cells, both sides have the same number, at most 500: more are drawn by
    what they hold, whatever their order.

    Parameters
    ----------
    real, predicted, control
        Cells x genes, ``(n, G)``, ``(m, G)`` and ``(k, G)``, log1p-normalised; arrays or CSR.

    Returns
    -------
    DeCalls
        For :func:`de_count`, :func:`de_count_ratio`, :func:`de_precision`, :func:`de_recall` and
        :func:`de_top20_overlap`.

    Raises
    ------
    ValueError
        If a group has fewer than 10 cells, the shapes do not fit or a value is not finite.
    """
    sides = read_pair(real, predicted, n_least=MIN_TESTED)
    controls = read_cells(control, "control", n_least=MIN_TESTED, n_genes=sides[0].shape[1])
    drawn = level_precision((*match_numbers(*sides), controls), (real, predicted, control))
    (real_scores, is_real), (predicted_scores, is_predicted) = _test_groups(drawn[:2], drawn[2])
    return DeCalls(real_scores, predicted_scores, is_real, is_predicted)


def call_directions(cells: CellsLike, control: CellsLike) -> np.ndarray:
    """Call genes of one group of cells up, down or neither, as :func:`call_de_genes` does.

    All cells are tested, as there is no other side that would have to have as many.

    Parameters
    ----------
    cells, control
        Cells x genes, ``(n, G)`` and ``(k, G)``, log1p-normalised; arrays or CSR.

    Returns
    -------
    numpy.ndarray
        1 for a gene that is called and higher than in the controls, -1 for one that is called and
        lower, 0 for one that is not called, ``(G,)``.

    Raises
    ------
    ValueError
        If a group has fewer than 10 cells, the shapes do not fit or a value is not finite.
    """
    own = read_cells(cells, "real", n_least=MIN_TESTED)
    controls = read_cells(control, "control", n_least=MIN_TESTED, n_genes=own.shape[1])
    own, controls = level_precision((own, controls), (cells, control))
    [(scores, is_called)] = _test_groups([own], controls)
    return np.where(is_called, np.sign(scores), 0.0).astype(np.int8)


def _test_groups(
    groups: Sequence[sparse.csr_array], controls: sparse.csr_array
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Test each group against the controls: the scores of the genes, and which are called."""
    names = [str(i) for i in range(len(groups))]
    labels = np.repeat([*names, "control"], [cells.shape[0] for cells in (*groups, controls)])
    adata = AnnData(
        sparse.csr_matrix(sparse.vstack([*groups, controls])),
        obs=pd.DataFrame(
            {"group": pd.Categorical(labels)}, index=np.arange(len(labels)).astype(str)
        ),
        var=pd.DataFrame(index=np.arange(controls.shape[1]).astype(str)),
    )
    # numba, in scanpy, leaves its number of threads to all of OpenMP: it is given back.
    with warnings.catch_warnings(), threadpool_limits(1, "openmp"):
        # Fold changes of silent genes, which are not read.
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(
            adata, "group", groups=names, reference="control", method="wilcoxon"
        )
    found = []
    for name in names:
        table = sc.get.rank_genes_groups_df(adata, name).set_index("names").loc[adata.var_names]
        is_called = table["pvals_adj"].to_numpy(float) < FALSE_DISCOVERY_RATE
        found.append((table["scores"].to_numpy(float), is_called))
    return found


def de_count(calls: DeCalls) -> float:
    """Number of genes that predicted cells call differentially expressed.

    It has no best value of its own: read it beside the ceiling, the number that real cells call.

    Parameters
    ----------
    calls
        What :func:`call_de_genes` found.

    Returns
    -------
    float
        The number of genes.
    """
    return float(calls.is_predicted.sum())


def de_count_ratio(calls: DeCalls) -> float:
    """Number of genes called differentially expressed, predicted over real: (p + 1) / (r + 1).

    Parameters
    ----------
    calls
        What :func:`call_de_genes` found.

    Returns
    -------
    float
        The ratio; 1 is best. Denoised cells call many genes too many.
    """
    return float((calls.is_predicted.sum() + 1) / (calls.is_real.sum() + 1))


def de_precision(calls: DeCalls) -> float:
    """Of the genes that predicted cells call, the share that real cells call.

    Parameters
    ----------
    calls
        What :func:`call_de_genes` found.

    Returns
    -------
    float
        The share, in [0, 1]; higher is better.

    Raises
    ------
    ValueError
        If predicted cells call no gene.
    """
    if not calls.is_predicted.any():
        raise ValueError("no gene is called differentially expressed in the predicted cells")
    return float(calls.is_real[calls.is_predicted].mean())


def de_recall(calls: DeCalls) -> float:
    """Of the genes that real cells call, the share that predicted cells call.

    Parameters
    ----------
    calls
        What :func:`call_de_genes` found.

    Returns
    -------
    float
        The share, in [0, 1]; higher is better.

    Raises
    ------
    ValueError
        If real cells call no gene.
    """
    if not calls.is_real.any():
        raise ValueError("no gene is called differentially expressed in the real cells")
    return float(calls.is_predicted[calls.is_real].mean())


def de_top20_overlap(calls: DeCalls) -> float:
    """Share of the 20 strongest genes that real and predicted cells have in common.

    Strongest are the largest absolute scores of the Wilcoxon test, called or not. Genes of equal
    score at the end of the list share the places that are left, so that their order does not
    matter.

    Parameters
    ----------
    calls
        What :func:`call_de_genes` found.

    Returns
    -------
    float
        The share, in [0, 1]; higher is better.

    Raises
    ------
    ValueError
        If there are fewer than 20 genes.
    """
    if len(calls.is_real) < N_TOP:
        raise ValueError(f"There are {len(calls.is_real)} genes; the top needs {N_TOP}.")
    shares = [_share_places(np.abs(s)) for s in (calls.real_scores, calls.predicted_scores)]
    return float(np.minimum(*shares).sum() / N_TOP)


def _share_places(strength: np.ndarray) -> np.ndarray:
    """Share of each gene in the 20 first places, ``(G,)``; the last ones may be shared."""
    last = np.sort(strength)[-N_TOP]
    is_tied = strength == last
    return np.where(is_tied, (N_TOP - (strength > last).sum()) / is_tied.sum(), strength > last)
