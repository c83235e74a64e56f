"""Scores of a layer between floors and ceiling."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scbig
from scbig.baselines import FLOORS, Additive, EmbeddingBaseline, NoChange, OwnMean, TrainMean
from scbig.metrics import METRICS, Evaluator, choose_metrics, summarise
from scbig.priors import GeneEmbedding
from scbig.tl import evaluate, evaluate_cells

FAST = ["pearson_delta", "pearson_delta_perturbed", "mse", "pds_l1", "energy_distance"]
WITHOUT_TESTS = [name for name in choose_metrics("default") if name != "des"]
FLOOR_KEYS = [floor.default_key for floor in FLOORS]


@pytest.fixture(scope="module")
def split_screen() -> AnnData:
    adata = scbig.data.simulate_screen(
        1400, 80, n_programs=4, n_targets=8, n_doubles=8, n_batches=2, seed=0
    )
    # Few genes that make up all of a cell cannot have any means: those of added effects would sum
    # to more or less than a cell. Some of the genes can.
    adata = adata[:, :60].copy()
    adata.obs["scbig_split"] = "train"
    labels = adata.obs["perturbation"].astype(str)
    doubles = sorted({label for label in labels if "+" in label})
    adata.obs.loc[labels.isin(doubles[:4]), "scbig_split"] = "test"
    adata.obs.loc[labels.isin(doubles[4:6]), "scbig_split"] = "val"
    adata.obs.loc[labels == "control", "scbig_split"] = "control"
    return adata


def _train(baseline_class, adata: AnnData, **options):
    train = adata[adata.obs["scbig_split"] != "test"].copy()
    baseline_class.setup_anndata(train, **options)
    baseline = baseline_class(train, seed=0)
    baseline.train()
    return baseline


@pytest.fixture
def annotated(split_screen: AnnData) -> AnnData:
    model = _train(Additive, split_screen)
    return model.predict(split_screen.copy(), key_added="mine", sampling=False)


@pytest.fixture(scope="module")
def scores(split_screen: AnnData) -> pd.DataFrame:
    model = _train(Additive, split_screen)
    adata = model.predict(split_screen.copy(), key_added="mine")
    return evaluate(adata, "mine", metrics=WITHOUT_TESTS)


def _get_means(scores: pd.DataFrame) -> pd.Series:
    return summarise(scores).set_index(["predictor", "metric"])["mean"]


def test_the_layer_floors_and_ceiling_are_rows(scores):
    assert list(scores) == [
        "predictor", "perturbation", "context", "metric", "value", "status",
    ]  # fmt: skip
    assert list(scores["predictor"].unique()) == ["mine", *FLOOR_KEYS, "ceiling"]
    assert len(scores) == (len(FLOORS) + 2) * 4 * len(WITHOUT_TESTS)
    assert scores["status"].str.startswith("ok").all()
    assert scores["value"].notna().all()


def test_a_layer_scores_as_the_floor_that_made_it(scores):
    means = _get_means(scores)
    for metric in WITHOUT_TESTS:
        # Different control cells, whose chance is off the means; cells are clipped at zero.
        tolerance = 0.5 if METRICS[metric].level == "cells" else 0.05
        # An R2 is one minus the ratio of two errors: the ratio is what is alike.
        offset = 1 if "r2" in metric else 0
        assert offset - means["mine", metric] == pytest.approx(
            offset - means["additive", metric], rel=tolerance, abs=0.02
        ), metric


def test_floors_are_the_baselines_trained_on_train_and_validation(split_screen, scores):
    test = split_screen.obs["scbig_split"] == "test"
    is_control = split_screen.obs["perturbation"] == "control"
    evaluator = Evaluator(
        split_screen[test | is_control].copy(),
        scbig.data.infer_schema(split_screen),
        reference=split_screen[~test].copy(),
        metrics=["pearson_delta", "mse"],
    )
    labels = list(split_screen.obs["perturbation"][test].unique())
    for floor in (Additive, TrainMean):
        # As many cells as floors have, of its own draw of control cells.
        out = _train(floor, split_screen).predict(perturbations=labels, n_cells=200)
        own = evaluator.score(out, layer=floor.default_key)
        found = scores[scores["predictor"] == floor.default_key]
        both = own.merge(found, on=["perturbation", "metric"])
        assert len(both) == 8
        np.testing.assert_allclose(both["value_x"], both["value_y"], atol=0.02)


def test_no_change_has_no_effect_and_the_ceiling_is_above(scores):
    means = _get_means(scores)
    assert means["no_change", "pearson_delta"] == 0
    for metric in ("pearson_delta", "pearson_delta_perturbed", "pds_l1"):
        others = [means[name, metric] for name in ("mine", *FLOOR_KEYS)]
        assert means["ceiling", metric] > max(others) - 1e-9


def test_the_chance_of_drawn_controls_is_off_the_means(split_screen, caplog):
    adata = _train(NoChange, split_screen).predict(split_screen.copy(), seed=5)
    assert _get_means(evaluate(adata, "no_change", metrics=FAST))["no_change", "mse"] > 0
    paired = evaluate(adata, "no_change", metrics=["pearson_delta"])
    own = paired[paired["predictor"] == "no_change"]
    assert own["value"].eq(0).all()
    assert "no_change (floor)" in set(paired["predictor"])
    # Sources are known by their names, wherever they are, until these change.
    shuffled = adata[np.random.default_rng(0).permutation(adata.n_obs)].copy()
    again = evaluate(shuffled, "no_change", metrics=["pearson_delta"])
    assert again.loc[again["predictor"] == "no_change", "value"].eq(0).all()
    shuffled.obs_names = [f"renamed_{name}" for name in shuffled.obs_names]
    with caplog.at_level(logging.WARNING, logger="scbig"):
        unpaired = evaluate(shuffled, "no_change", metrics=["pearson_delta"])
    assert "are not among the cells any more" in caplog.text
    assert unpaired.loc[unpaired["predictor"] == "no_change", "value"].ne(0).all()


def test_contexts_are_drawn_as_in_training(split_screen):
    baseline = _train(NoChange, split_screen, context_keys=["batch"])
    adata = baseline.predict(split_screen.copy())
    scores = evaluate(adata, "no_change", metrics=["pearson_delta"])
    own = scores[scores["predictor"] == "no_change"]
    assert set(own["context"]) == {"batch_1", "batch_2"}
    assert own["value"].eq(0).all()


def test_cells_of_their_own_score_like_the_layer(split_screen, scores):
    labels = list(scores["perturbation"].unique())
    out = _train(Additive, split_screen).predict(perturbations=labels, n_cells=100)
    found = evaluate_cells(split_screen, out, layer="additive", metrics=FAST)
    assert list(found["predictor"].unique())[:2] == ["additive", "no_change"]
    assert "additive (floor)" in set(found["predictor"])
    means, expected = _get_means(found), _get_means(scores)
    assert means["additive", "pearson_delta"] == pytest.approx(
        expected["mine", "pearson_delta"], abs=0.02
    )
    assert means["ceiling", "mse"] == expected["ceiling", "mse"]
    # Without the column, X is nothing special, and X itself can be scored.
    foreign = AnnData(out.layers["additive"], obs=out.obs[["perturbation"]], var=out.var)
    found = evaluate_cells(split_screen, foreign, metrics=["mse"])
    assert found["predictor"][0] == "predicted"
    assert found["status"].str.startswith("ok").all()


def test_expected_expression_of_its_own_is_compared_with_its_sources(split_screen):
    labels = list(split_screen.obs["perturbation"][split_screen.obs["scbig_split"] == "test"])
    out = _train(NoChange, split_screen).predict(perturbations=labels, n_cells=30)
    before = out.X.copy()

    def score(predicted: AnnData) -> pd.Series:
        table = evaluate_cells(
            split_screen, predicted, layer="no_change", metrics=["pearson_delta"]
        )
        return table.loc[table["predictor"] == "no_change", "value"]

    assert score(out).eq(0).all()
    np.testing.assert_array_equal(out.X, before)
    assert score(out[:, ::-1].copy()).eq(0).all()
    # Where the sources are not found, means are taken as they are.
    out.obs["no_change_source"] = "nobody"
    assert score(out).ne(0).all()


def test_a_layer_of_any_origin_is_scored_as_it_is(split_screen):
    adata = split_screen.copy()
    adata.layers["oracle"] = adata.X.copy()
    scores = evaluate(adata, "oracle", metrics=["mse", "pearson_delta"])
    own = scores[scores["predictor"] == "oracle"].set_index("metric")["value"]
    np.testing.assert_allclose(own["mse"], 0, atol=1e-12)
    np.testing.assert_allclose(own["pearson_delta"], 1)


def test_a_floor_that_cannot_be_trained_is_rows_that_say_why(annotated, monkeypatch, caplog):
    def refuse(self, **options):
        raise ValueError("no kernel")

    monkeypatch.setattr(EmbeddingBaseline, "train", refuse)
    scores = evaluate(annotated, "mine", metrics=["mse"])
    failed = scores[scores["value"].isna()]
    assert set(failed["predictor"]) == {"kernel_ridge", "nearest_condition"}
    assert set(failed["status"]) == {"no kernel"}
    assert "KernelRidge cannot be trained: no kernel" in caplog.text


def test_an_embedding_reaches_the_floors_that_compare_genes(annotated, rng):
    names = tuple(annotated.var_names)
    vectors = rng.normal(size=(len(names), 3)).astype(np.float32)
    embedding = GeneEmbedding(names, vectors, "random")
    metric = ["mse"]
    known = _get_means(evaluate(annotated, "mine", gene_embedding=embedding, metrics=metric))
    plain = _get_means(evaluate(annotated, "mine", metrics=metric))
    assert known["ridge", "mse"] == plain["ridge", "mse"]
    assert known["kernel_ridge", "mse"] != plain["kernel_ridge", "mse"]


def test_what_is_written_in_a_file_is_read_back(annotated, tmp_path):
    expected = evaluate(annotated, "mine", metrics=["mse"])
    annotated.write_h5ad(tmp_path / "annotated.h5ad")
    for backed in (None, "r"):
        adata = ad.read_h5ad(tmp_path / "annotated.h5ad", backed=backed)
        pd.testing.assert_frame_equal(evaluate(adata, "mine", metrics=["mse"]), expected)


def test_nothing_is_written(annotated):
    before = annotated.copy()
    evaluate(annotated, "mine", metrics=["mse"])
    assert list(annotated.uns) == list(before.uns)
    assert list(annotated.obs) == list(before.obs)
    assert set(annotated.layers) == set(before.layers)


def test_what_is_missing_is_an_error_that_mends_it(annotated):
    with pytest.raises(ValueError, match=r"no layer 'scbig' to score. Layers found: \['counts', "):
        evaluate(annotated)
    with pytest.raises(ValueError, match=r"no column 'other'.*scbig\.pp\.split"):
        evaluate(annotated, "mine", split_key="other")
    with pytest.raises(ValueError, match="perturbation_key='other' is not a column of obs"):
        evaluate(annotated, "mine", perturbation_key="other")
    annotated.uns["mine"]["schema"]["layer"] = "mine"
    with pytest.raises(ValueError, match="holds the measured expression, not a prediction"):
        evaluate(annotated, "mine")


@pytest.mark.parametrize(
    ("part", "message"),
    [("test", "No perturbed cell has 'test'"), ("train", "No perturbed cell has 'train/val'")],
)
def test_nothing_to_test_or_to_train_on_is_an_error(annotated, part, message):
    parts = annotated.obs["scbig_split"].astype(str).replace({"val": "train"})
    annotated.obs["scbig_split"] = parts.replace({part: "unused"})
    with pytest.raises(ValueError, match=message + r".*Values found: .*'control'"):
        evaluate(annotated, "mine")


def test_counts_in_the_layer_are_refused(annotated):
    with pytest.raises(ValueError, match=r"predicted: .*raw counts"):
        evaluate(annotated, "counts", metrics=["mse"])


def test_held_out_cells_of_known_conditions_are_scored_against_held_out_controls(split_screen):
    adata = split_screen.copy()
    split = scbig.pp.split(adata, "seen")
    train = adata[adata.obs["scbig_split"] != "test"].copy()
    OwnMean.setup_anndata(train)
    baseline = OwnMean(train, seed=0)
    baseline.train()
    predicted = baseline.predict(perturbations=list(split.test), n_cells=200)
    scores = evaluate_cells(adata, predicted, layer="own_mean", metrics=["pearson_delta", "mse"])
    assert {"own_mean", "own_mean (floor)"} <= set(scores["predictor"])
    means = _get_means(scores)
    own = [means["own_mean", "mse"], means["own_mean (floor)", "mse"]]
    assert own[0] == pytest.approx(own[1], rel=0.05)
    real, labels = adata[adata.obs["scbig_split"] == "test"], adata.obs["perturbation"]

    def get_mean(cells: AnnData, label: str) -> np.ndarray:
        return cells[cells.obs["perturbation"] == label].X.toarray().mean(axis=0)

    control = get_mean(real, "control")
    errors = [
        np.mean((get_mean(real, label) - control) ** 2)
        for label in sorted(set(labels) - {"control"})
    ]
    assert means["no_change", "mse"] == pytest.approx(np.mean(errors), rel=1e-4)
    # The ceiling is what the training half says of the other, each with controls of its own.
    ceiling = scores[scores["predictor"] == "ceiling"]
    assert set(ceiling["status"]) == {"ok: training cells against test cells"}
    shift = control - get_mean(train, "control")
    errors = [
        np.mean((get_mean(real, label) - get_mean(train, label) - shift) ** 2)
        for label in sorted(set(labels) - {"control"})
    ]
    assert means["ceiling", "mse"] == pytest.approx(np.mean(errors), rel=1e-4)
    # The mean of training is no farther off, be it of cells.
    assert means["own_mean", "mse"] < 1.1 * means["ceiling", "mse"]


def test_floors_are_not_copies_where_cells_are_looked_at(split_screen, monkeypatch):
    drawn = []
    predict = NoChange.predict

    def watch(self, adata=None, **options):
        drawn.append(options["n_cells"])
        return predict(self, adata, **options)

    monkeypatch.setattr(NoChange, "predict", watch)
    predicted = _train(Additive, split_screen).predict(split_screen.copy(), key_added="mine")
    for metrics in (["mse"], ["mse", "zero_share_error"]):
        evaluate(predicted, "mine", metrics=metrics)
    assert drawn == [200, None]
