"""The numbers of cell-eval 0.8.2, as the data kit holds them."""

import os
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scbig import metrics

PAIRS = {
    "pearson_delta": metrics.pearson_delta,
    "mse": metrics.mse,
    "mae": metrics.mae,
    "mse_delta": metrics.mse_delta,
    "mae_delta": metrics.mae_delta,
    "discrimination_score_l1": metrics.pds_l1,
    "discrimination_score_l2": metrics.pds_l2,
    "discrimination_score_cosine": metrics.pds_cosine,
}


@pytest.fixture(scope="module")
def folder():
    if "SCBIG_TEST_DATA" not in os.environ:
        pytest.skip("SCBIG_TEST_DATA does not name the folder of the data kit")
    return Path(os.environ["SCBIG_TEST_DATA"]) / "parity"


@pytest.fixture(scope="module")
def pair(folder):
    """Means in float64: summing 150 cells in float32 alone would cost the sixth digit."""
    real, predicted = (
        adata.to_df().astype(np.float64).groupby(adata.obs["target"].astype(str)).mean()
        for adata in map(
            ad.read_h5ad, (folder / "real_lognorm.h5ad", folder / "pred_lognorm.h5ad")
        )
    )
    return real, predicted


@pytest.mark.data_kit
@pytest.mark.parametrize("column", PAIRS)
def test_each_condition_scores_as_in_cell_eval(column, folder, pair):
    real, predicted = pair
    expected = pd.read_csv(folder / "cell_eval_0.8.2" / "results.csv", index_col="perturbation")
    labels = expected.index
    keywords = {}
    if column.startswith("discrimination"):
        targets = [(label,) for label in labels]
        keywords["target_mask"] = metrics.get_target_mask(targets, list(real.columns))
        assert keywords["target_mask"].sum() == len(labels)
    control = real.loc["non-targeting"]
    scores = PAIRS[column](real.loc[labels], predicted.loc[labels], control, **keywords)
    np.testing.assert_allclose(scores, expected[column], rtol=0, atol=1e-6)


@pytest.mark.data_kit
def test_the_predicted_file_carries_the_real_controls(pair):
    real, predicted = (means.loc["non-targeting"] for means in pair)
    np.testing.assert_allclose(predicted, real, atol=1e-12)


@pytest.mark.data_kit
def test_overlap_of_de_genes_is_that_of_cell_eval(folder):
    pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    real, predicted = (ad.read_h5ad(folder / f"{s}_lognorm.h5ad") for s in ("real", "pred"))
    scores = metrics.des(real, predicted, perturbation_key="target", control="non-targeting")
    expected = pd.read_csv(folder / "cell_eval_0.8.2" / "results.csv", index_col="perturbation")
    np.testing.assert_allclose(scores[expected.index], expected["overlap_at_N"], atol=1e-6)
