"""Overlap of differentially expressed genes, computed by cell-eval."""

import logging
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig._optional import require

logger = logging.getLogger(__name__)

# DE metrics of cell-eval changed between 0.6 and 0.8: numbers of other releases do not compare.
CELL_EVAL_VERSION = "0.8.2"


def des(real: AnnData, predicted: AnnData, *, perturbation_key: str, control: str) -> pd.Series:
    """Share of the really differentially expressed genes among the predicted ones.

    ``overlap_at_N`` of cell-eval 0.8.2: on either side genes are tested against the controls
    (Mann-Whitney, false discovery rate below 5%) and ordered by absolute fold change; of the N
    significant real genes, the share that is among the N first significant predicted ones. A
    condition without significant genes on either side scores 0.0.

    Parameters
    ----------
    real
        Real cells with their controls, log1p-normalised in ``X``.
    predicted
        Predicted cells of the same conditions and genes, with the *real* controls.
    perturbation_key
        Column of ``obs`` with the condition, on both sides.
    control
        Label of the controls in that column.

    Returns
    -------
    pandas.Series
        Shares in [0, 1] by perturbation, sorted; higher is better.

    Raises
    ------
    ImportError
        If cell-eval is not installed (extra ``eval``).
    ValueError
        If genes or conditions of the two sides differ, the controls are missing, or values
        are negative or integers only.
    """
    _check_sides(real, predicted, perturbation_key, control)
    cell_eval = require("cell_eval", "eval")
    _log_version(version("cell-eval"))
    with TemporaryDirectory() as folder:
        evaluator = cell_eval.MetricsEvaluator(
            _copy_plain(predicted, perturbation_key),
            _copy_plain(real, perturbation_key),
            control_pert=control,
            pert_col=perturbation_key,
            outdir=str(Path(folder) / "cell_eval"),
        )
        results, _ = evaluator.compute(
            profile="vcc",
            skip_metrics=["mae", "discrimination_score_l1"],
            write_csv=False,
            break_on_error=True,
        )
    labels = results["perturbation"].to_list()
    values = results["overlap_at_N"].to_list()
    return pd.Series(values, index=labels, name="des", dtype=np.float64).sort_index()


def _log_version(found: str) -> None:
    if found == CELL_EVAL_VERSION:
        logger.info("differential expression by cell-eval %s", found)
    else:
        logger.warning(
            "differential expression by cell-eval %s; scores are defined by %s: "
            "pip install 'cell-eval==%s'",
            found,
            CELL_EVAL_VERSION,
            CELL_EVAL_VERSION,
        )


def _check_sides(real: AnnData, predicted: AnnData, key: str, control: str) -> None:
    if list(real.var_names) != list(predicted.var_names):
        raise ValueError(
            f"real has {real.n_vars} genes and predicted {predicted.n_vars}, or in another "
            "order: predicted = predicted[:, real.var_names]"
        )
    for name, adata in (("real", real), ("predicted", predicted)):
        if key not in adata.obs:
            raise ValueError(f"{name}.obs has no column {key!r}; found {list(adata.obs)}.")
        if not (adata.obs[key].astype(str) == control).any():
            raise ValueError(
                f"{name} has no cells labelled {control!r} in obs[{key!r}]; add the real controls."
            )
        _check_scale(adata, name)
    sides = [set(adata.obs[key].astype(str)) for adata in (real, predicted)]
    if sides[0] != sides[1]:
        odd = sorted(sides[0] ^ sides[1])
        raise ValueError(
            f"{len(odd)} conditions are on one side only, for example {odd[:3]}; keep those that "
            "both have."
        )


def _check_scale(adata: AnnData, name: str) -> None:
    values = adata.X.data if sparse.issparse(adata.X) else np.asarray(adata.X)
    if values.size and values.min() < 0:
        raise ValueError(
            f"{name}.X holds {np.count_nonzero(values < 0)} negative values (smallest "
            f"{values.min():g}), which log1p expression cannot have: "
            f"{name}.X = {name}.X.clip(0)"
        )
    # cell-eval would take them for counts and normalise them in place.
    if not np.any(np.modf(values)[0] > 1e-3):
        raise ValueError(
            f"{name}.X holds integers only; log1p-normalised expression is expected: "
            f"sc.pp.normalize_total({name}, target_sum=1e4); sc.pp.log1p({name})"
        )


def _copy_plain(adata: AnnData, key: str) -> AnnData:
    """Only what cell-eval reads, with labels as strings."""
    obs = pd.DataFrame({key: adata.obs[key].astype(str).to_numpy()}, index=adata.obs_names)
    matrix = sparse.csr_matrix(adata.X) if sparse.issparse(adata.X) else np.asarray(adata.X)
    return AnnData(matrix, obs=obs, var=pd.DataFrame(index=adata.var_names))
