"""A pair of noisy means, on which ranks differ: cell-eval 0.8.2 said what stands here."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig import metrics

CONTROL = "non-targeting"
CONDITIONS = ["g0", "g1", "g2", "g3", "g4", "g5", "g0+g1", "g2+g3"]
N_GENES, N_CELLS = 30, 40

# From test_cell_eval_itself_says_so: by condition, in the order above.
EXPECTED = {
    "pearson_delta": [
        0.2671188,
        0.3916067,
        0.1831097,
        0.3561118,
        0.3573233,
        0.1374775,
        0.1787834,
        0.5458649,
    ],
    "mse": [
        0.3999389,
        0.2509777,
        0.2639826,
        0.2455306,
        0.2331733,
        0.2360090,
        0.2455411,
        0.1225109,
    ],
    "mae": [
        0.5073386,
        0.4030881,
        0.4279331,
        0.3812638,
        0.3937434,
        0.4136529,
        0.3622625,
        0.3100642,
    ],
    "discrimination_score_l1": [0.875, 1.0, 0.875, 0.75, 1.0, 0.875, 0.875, 1.0],
    "discrimination_score_l2": [0.875, 1.0, 1.0, 0.75, 1.0, 1.0, 0.875, 1.0],
    "discrimination_score_cosine": [0.875, 1.0, 0.625, 0.625, 1.0, 1.0, 0.875, 1.0],
    "overlap_at_N": [0.3, 1 / 3, 0.375, 3 / 11, 0.6, 0.5, 3 / 7, 5 / 11],
}
EXPECTED |= {f"{name}_delta": EXPECTED[name] for name in ("mse", "mae")}

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
def pair():
    """Log counts around true profiles on the real side, around blurred ones on the other."""
    rng = np.random.default_rng(20)
    genes = [f"g{i}" for i in range(N_GENES)]
    labels = np.repeat([CONTROL, *CONDITIONS], N_CELLS)
    rate = np.tile(rng.uniform(1, 6, N_GENES), (len(CONDITIONS) + 1, 1))
    effect = np.exp(rng.normal(0, 0.3, rate.shape))
    for row, label in enumerate([CONTROL, *CONDITIONS]):
        effect[row, [genes.index(name) for name in label.split("+") if name in genes]] = 0.1
    effect[0] = 1
    blur = np.exp(rng.normal(0, 0.6, rate.shape))
    real, predicted = (
        np.log1p(rng.poisson(np.repeat(rates, N_CELLS, axis=0)))
        for rates in (rate * effect, rate * effect**0.3 * blur)
    )
    predicted[:N_CELLS] = real[:N_CELLS]
    obs = pd.DataFrame({"target": labels}, index=[f"cell{i}" for i in range(len(labels))])
    return tuple(
        AnnData(values, obs=obs.copy(), var=pd.DataFrame(index=genes))
        for values in (real, predicted)
    )


@pytest.fixture(scope="module")
def means(pair):
    return tuple(adata.to_df().groupby(adata.obs["target"].to_numpy()).mean() for adata in pair)


def get_scores(column, means):
    real, predicted = (side.loc[CONDITIONS] for side in means)
    keywords = {}
    if column.startswith("discrimination"):
        # cell-eval looks for a gene named as the label, so it leaves nothing out for A+B.
        genes = [(label,) for label in CONDITIONS]
        keywords["target_mask"] = metrics.get_target_mask(genes, list(real.columns))
    return PAIRS[column](real, predicted, means[0].loc[CONTROL], **keywords)


@pytest.mark.parametrize("column", PAIRS)
def test_scores_are_those_of_cell_eval(column, means):
    np.testing.assert_allclose(get_scores(column, means), EXPECTED[column], rtol=0, atol=1e-6)


def test_ranks_differ():
    for column in ("l1", "l2", "cosine"):
        assert len(set(EXPECTED[f"discrimination_score_{column}"])) >= 3


def test_leaving_out_both_targets_of_a_double_is_the_difference_to_cell_eval(means):
    real, predicted = (side.loc[CONDITIONS] for side in means)
    control = means[0].loc[CONTROL]
    mask = metrics.get_target_mask([c.split("+") for c in CONDITIONS], list(real.columns))
    scores = metrics.pds_l1(real, predicted, control, target_mask=mask)
    expected = np.array(EXPECTED["discrimination_score_l1"])
    np.testing.assert_allclose(scores[:6], expected[:6], atol=1e-12)
    assert (scores[6:] != expected[6:]).any()


def test_cell_eval_itself_says_so(pair, tmp_path):
    cell_eval = pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    real, predicted = (adata.copy() for adata in pair)
    evaluator = cell_eval.MetricsEvaluator(
        predicted, real, control_pert=CONTROL, pert_col="target", outdir=str(tmp_path / "out")
    )
    results, _ = evaluator.compute(
        write_csv=False, skip_metrics=["clustering_agreement", "pearson_edistance"]
    )
    table = results.to_pandas().set_index("perturbation").loc[CONDITIONS]
    for column, values in EXPECTED.items():
        np.testing.assert_allclose(table[column], values, rtol=0, atol=1e-6, err_msg=column)
