"""Are predicted cells like real cells? Scores of one condition's cells in all genes."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.stats import wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from scbig.metrics._distribution import PreparedCells, energy_distance, prepare_cells
from scbig.metrics._inputs import Averages, get_rounding
from scbig.metrics._matched_cells import (
    CellsLike,
    get_precision,
    hash_content,
    level_precision,
    match_numbers,
    read_cells,
    read_pair,
)

N_FOLDS = 3
MIN_CLASSIFIED = 50


def c2st_auc(real: CellsLike, predicted: CellsLike) -> float:
    """How well a classifier tells predicted from real cells, by their genes.

    The classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545) with the area
    under the ROC curve of ``HistGradientBoostingClassifier(max_iter=60, random_state=0)`` of
    scikit-learn, each cell scored by a classifier that did not see it: three stratified, shuffled
    folds with a fixed seed. Both sides have equal numbers of cells, 50 to 500, drawn and put in
    order by what they hold: the order in which cells and genes are given does not matter.

    The value is not folded at 0.5. Copies of one cell on both sides, as when cells are scored
    against themselves, have it fall below 0.5: the copy in training has the other label.

    Parameters
    ----------
    real, predicted
        Cells x genes, ``(n, G)`` and ``(m, G)``, log1p-normalised; an array or CSR.

    Returns
    -------
    float
        The area, in [0, 1]: 0.5 where the cells cannot be told apart, 1 where all can.

    Raises
    ------
    ValueError
        If a side has fewer than 50 cells, the shapes do not fit or a value is not finite.
    """
    sides = read_pair(real, predicted, n_least=MIN_CLASSIFIED)
    drawn = level_precision(match_numbers(*sides), (real, predicted))
    both = sparse.vstack(drawn, format="csr")
    label = np.repeat([0, 1], both.shape[0] // 2)
    of_cells, of_genes = hash_content(both)
    order = np.lexsort((of_cells, label))
    cells = both[order].toarray()[:, np.argsort(of_genes, kind="stable")]
    probability = cross_val_predict(
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
        cells,
        label,
        cv=StratifiedKFold(N_FOLDS, shuffle=True, random_state=0),
        method="predict_proba",
    )
    return float(roc_auc_score(label, probability[:, 1]))


def zero_share_error(real: CellsLike, predicted: CellsLike) -> float:
    """Absolute difference of the shares of zeros among the values of real and predicted cells.

    Parameters
    ----------
    real, predicted
        Cells x genes, ``(n, G)`` and ``(m, G)``; an array or CSR.

    Returns
    -------
    float
        The difference, in [0, 1]; lower is better.

    Raises
    ------
    ValueError
        If there is no cell, the shapes do not fit or a value is not finite.
    """
    x, y = (cells.nnz / np.prod(cells.shape) for cells in read_pair(real, predicted, n_least=1))
    return float(abs(x - y))


def variance_ratio(real: CellsLike, predicted: CellsLike) -> float:
    """Sum of the variances of all genes, predicted over real.

    Parameters
    ----------
    real, predicted
        Cells x genes, ``(n, G)`` and ``(m, G)``; an array or CSR.

    Returns
    -------
    float
        The ratio, from 0 (all predicted cells are equal); 1 is best.

    Raises
    ------
    ValueError
        If a side has fewer than two cells, the real cells are all equal, the shapes do not fit or
        a value is not finite.
    """
    x, y = read_pair(real, predicted, n_least=2)
    whole = _sum_variances(x, real)
    if whole <= 0:
        raise ValueError(f"The {x.shape[0]} real cells are equal: they have no variance.")
    return _sum_variances(y, predicted) / whole


def energy_centred(real: ArrayLike | PreparedCells, predicted: ArrayLike | PreparedCells) -> float:
    """Energy distance after both sides are moved to one mean: the shape alone.

    The unbiased :func:`energy_distance`. As each side is moved by its own mean, two samples of one
    distribution score a little below 0, the less the more cells there are; therefore both sides
    have equal numbers, at most 500: of the larger as many are drawn as the smaller has, by what
    they hold.

    Parameters
    ----------
    real, predicted
        Cells x features, ``(n, d)`` and ``(m, d)``, for example 50 principal components fitted
        on the training cells.

    Returns
    -------
    float
        The distance, in units of the features; lower is better.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, or a side has fewer than two cells.
    """
    clouds = [prepare_cells(real).values, prepare_cells(predicted, name="predicted").values]
    drawn = (cells.toarray() for cells in match_numbers(*map(sparse.csr_array, clouds)))
    x, y = (cloud - cloud.mean(axis=0) for cloud in drawn)
    return energy_distance(x, y)


def wasserstein_axis(real: CellsLike, predicted: CellsLike, control: CellsLike) -> float:
    """How far the spread of predicted cells along the real effect is from that of real cells.

    Cells are projected on the real mean effect, mean of ``real`` minus mean of ``control``, and
    each side is centred; the score is the distance of Wasserstein (W1) of the two, over the length
    of the effect. Responders among cells that do not respond are seen here, and not in means. Both
    sides have equal numbers, drawn as in :func:`c2st_auc`.

    Without an effect there is no axis. The noise of the effect is that of split halves: half the
    difference of two half means, squared and averaged over all halvings, which is the sum of gene
    variances over the number of cells; that of the controls is added. The squared length of the
    effect must exceed twice this noise, so that more than half of it is effect.

    Parameters
    ----------
    real, predicted, control
        Cells x genes, ``(n, G)``, ``(m, G)`` and ``(k, G)``, log1p-normalised; arrays or CSR.

    Returns
    -------
    float
        The distance, in lengths of the effect; lower is better.

    Raises
    ------
    ValueError
        If the effect does not exceed its noise, a group has fewer than two cells, the shapes do
        not fit or a value is not finite.
    """
    sides = read_pair(real, predicted, n_least=2)
    controls = read_cells(control, "control", n_least=2, n_genes=sides[0].shape[1])
    measured = ((sides[0], real), (controls, control))
    means = [Averages.read(cells.mean(axis=0), get_precision(own)) for cells, own in measured]
    effect = (means[0] - means[1]).effect
    squared = float(effect @ effect)
    noise = sum(_sum_variances(cells, own) / cells.shape[0] for cells, own in measured)
    if squared <= 2 * noise:
        found = f"squared length {squared:.3g}, of which {noise:.3g} is expected of noise alone"
        raise ValueError(f"the effect does not exceed its split-half noise: {found}")
    drawn = (cells @ effect for cells in match_numbers(*sides))
    x, y = (places - places.mean() for places in drawn)
    # The product with the effect is a place times the length of the effect: twice over it.
    return float(wasserstein_distance(x, y) / squared)


def _sum_variances(cells: sparse.csr_array, given: CellsLike) -> float:
    """Sum of the unbiased variances of all genes; of cells that are equal up to rounding 0."""
    n_cells, whole = cells.shape[0], float(cells.data @ cells.data)
    squares = whole - n_cells * float(np.square(cells.mean(axis=0)).sum())
    least = max(get_rounding(np.float64), get_rounding(get_precision(given)) ** 2)
    return 0.0 if squares <= least * whole else squares / (n_cells - 1)
