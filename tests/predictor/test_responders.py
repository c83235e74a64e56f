"""Responders of a screen: estimated or given, told, saved, and drawn in what is predicted."""

import logging

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from scbig.baselines import Additive, NoChange
from scbig.data import ScreenSchema, read_responding

N_CONTROLS, N_CELLS, N_GENES = 400, 200, 100
CHANGED = {"GENE0001": slice(20, 44), "GENE0002": slice(50, 74)}


@pytest.fixture(scope="module")
def escaped() -> AnnData:
    """Half of the cells of GENE0001 escape, none of GENE0002, whose effect is none."""
    rng = np.random.default_rng(2)
    labels = np.repeat(["control", *CHANGED], [N_CONTROLS, N_CELLS, N_CELLS])
    who = np.zeros(len(labels), dtype=bool)
    who[N_CONTROLS : N_CONTROLS + N_CELLS] = rng.random(N_CELLS) < 0.5
    ratio = np.ones((len(labels), N_GENES))
    ratio[who, CHANGED["GENE0001"]] = np.tile([0.2, 1.8], 12)
    rate = rng.lognormal(0, 0.25, (len(labels), 1)) * rng.lognormal(0.3, 0.9, N_GENES) * ratio
    counts = rng.poisson(rng.gamma(3.0, rate / 3.0))
    adata = AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs["perturbation"] = labels
    adata.obs["mixscape_class_p_ko"] = np.where(who, 0.9, 0.1) * (labels != "control")
    classes = [
        label if label == "control" else f"{label} {'KO' if responds else 'NP'}"
        for label, responds in zip(labels, who, strict=True)
    ]
    adata.obs["mixscape_class"] = pd.Categorical(classes)
    adata.var_names = [f"GENE{i:04d}" for i in range(N_GENES)]
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def train(adata: AnnData, cls: type = Additive, **setup):
    adata = adata.copy()
    cls.setup_anndata(adata, **setup)
    model = cls(adata, seed=0)
    model.train(validation=[])
    return model


@pytest.fixture(scope="module")
def trained(escaped: AnnData) -> Additive:
    return train(escaped)


def measure_axis(x: np.ndarray, escaped: AnnData) -> np.ndarray:
    """Log1p values along the true effect."""
    axis = np.zeros(N_GENES)
    axis[CHANGED["GENE0001"]] = np.tile([-1.0, 1.0], 12)
    return x @ axis


def test_cells_vary_as_responders_and_the_others_do(escaped: AnnData, trained: Additive):
    out = trained.predict(perturbations=["GENE0001"], n_cells=400)
    rows = (out.obs["perturbation"] == "GENE0001").to_numpy()
    made = measure_axis(out.X.toarray()[rows], escaped)
    real_rows = (escaped.obs["perturbation"] == "GENE0001").to_numpy()
    real = measure_axis(escaped.X.toarray()[real_rows], escaped)
    assert made.mean() == pytest.approx(real.mean(), abs=0.1 * abs(real.mean()))
    assert made.var() / real.var() == pytest.approx(1, abs=0.25)
    # With all cells alike they would vary much less.
    responds = out.obs["additive_responds"].to_numpy()[rows]
    assert made[responds].var() < 0.6 * made.var()
    assert made[responds].mean() > made[~responds].mean() + 2 * made[~responds].std()


def test_as_many_respond_as_is_told(trained: Additive):
    told = trained.get_responders()
    assert told.index.tolist() == ["GENE0001", "GENE0002"]
    assert told.columns.tolist() == ["share", "lower", "upper", "is_used", "n_cells"]
    assert told["is_used"].tolist() == [True, False]
    assert told["n_cells"].tolist() == [N_CELLS, 0]
    first = told.loc["GENE0001"]
    assert first["lower"] < 0.5 < first["upper"]
    for n_cells in (1, 60, 400):
        out = trained.predict(perturbations=["GENE0001", "GENE0002"], n_cells=n_cells)
        responds = (
            out.obs["additive_responds"].groupby(out.obs["perturbation"], observed=True).sum()
        )
        assert abs(responds["GENE0001"] - n_cells * first["share"]) <= 1
        assert responds["GENE0002"] == n_cells
        assert responds["control"] == 0


def test_new_conditions_are_told_from_those_of_training(trained: Additive):
    own = trained.get_responders().loc["GENE0001", "share"]
    # What could not be told counts as 1, and has no part in the mean; shares that escape multiply.
    told = trained.get_responders(["GENE0001+GENE0002", "GENE0003", "GENE0001+GENE0003"])
    np.testing.assert_allclose(told["share"], [1, own, 1 - (1 - own) ** 2])
    assert (told["n_cells"] == 0).all()


def test_only_shares_of_new_conditions_follow_their_means(
    trained: Additive, monkeypatch: pytest.MonkeyPatch
):
    def predict_share(name: str) -> float:
        out = trained.predict(perturbations=[name], n_cells=200)
        return out.obs["additive_responds"][out.obs["perturbation"] == name].mean()

    before = predict_share("GENE0001")
    monkeypatch.setattr("scbig.data._make_cells._raise_share", lambda *_: 0.9)
    assert predict_share("GENE0001") == before < 0.8
    assert predict_share("GENE0003") == pytest.approx(0.9, abs=0.01)


def test_the_column_goes_with_responders(escaped: AnnData, trained: Additive):
    adata = escaped[escaped.obs["perturbation"] != "GENE0002"].copy()
    trained.predict(adata)
    assert adata.obs["additive_responds"].sum() < 0.7 * N_CELLS
    adata.obs["perturbation"] = np.where(
        adata.obs["perturbation"] == "control", "control", "GENE0002"
    )
    trained.predict(adata)
    assert "additive_responds" not in adata.obs
    trained.predict(adata, sampling=False)
    assert "additive_responds" not in adata.obs


@pytest.mark.parametrize("key", ["mixscape_class_p_ko", "mixscape_class"])
def test_what_mixscape_tells_is_taken(escaped: AnnData, key: str, tmp_path):
    model = train(escaped, responder_key=key)
    cells = escaped.obs[escaped.obs["perturbation"] == "GENE0001"]
    is_class = key == "mixscape_class"
    given = cells[key].str.endswith("KO") if is_class else cells[key]
    told = model.get_responders()
    assert told.loc["GENE0001", "share"] == pytest.approx(given.mean())
    assert told.loc["GENE0002", "share"] == pytest.approx(0.0 if is_class else 0.1)
    # Where nobody responds there is nothing to make cells with.
    assert told.loc["GENE0002", "is_used"] != is_class
    model.save(tmp_path / "model")
    loaded = Additive.load(tmp_path / "model", escaped.copy())
    pd.testing.assert_frame_equal(loaded.get_responders(), told)
    loaded.train(validation=[])
    pd.testing.assert_frame_equal(loaded.get_responders(), told)


def test_shares_travel_with_a_saved_model(escaped: AnnData, trained: Additive, tmp_path):
    trained.save(tmp_path / "model")
    loaded = Additive.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.get_responders(), trained.get_responders())
    one, other = (m.predict(perturbations=["GENE0001"]) for m in (trained, loaded))
    assert (one.layers["additive_counts"] != other.layers["additive_counts"]).nnz == 0
    assert one.obs["additive_responds"].equals(other.obs["additive_responds"])


def test_contexts_have_shares_of_their_own(escaped: AnnData):
    adata = escaped.copy()
    first = np.arange(len(adata)) % 2 == 0
    adata.obs["line"] = np.where(first, "x", "y")
    adata.obs.loc[~first, "mixscape_class_p_ko"] /= 2
    model = train(adata, context_keys="line", responder_key="mixscape_class_p_ko")
    told = model.get_responders(["GENE0001"])
    assert told["context"].tolist() == ["x", "y"]
    mean = adata.obs[adata.obs["perturbation"] == "GENE0001"].groupby("line")
    np.testing.assert_allclose(told["share"], mean["mixscape_class_p_ko"].mean())


def test_errors_say_what_mends_them(escaped: AnnData):
    adata = escaped.copy()
    with pytest.raises(ValueError, match=r"no column obs\['p'\].*responder_key='mixscape_class"):
        Additive.setup_anndata(adata, responder_key="p")
    adata.obs["p"] = 2.0
    with pytest.raises(ValueError, match=r"obs\['p'\] of 400 perturbed cells.*\[2.0\]"):
        Additive.setup_anndata(adata, responder_key="p")
    with pytest.raises(ValueError, match=r"neither a probability.*'KO' or 'NP'"):
        Additive.setup_anndata(adata, responder_key="perturbation")
    with pytest.raises(NotImplementedError, match="NoChange makes no cells"):
        train(escaped, NoChange).get_responders()
    denoised = escaped.copy()
    denoised.X = denoised.X.toarray() + np.float32(0.01)
    with pytest.raises(ValueError, match="counts_layer='counts'"):
        train(denoised).get_responders()
    untrained = escaped.copy()
    Additive.setup_anndata(untrained)
    with pytest.raises(RuntimeError, match="train"):
        Additive(untrained).get_responders()


def test_columns_are_read_as_probabilities():
    schema = ScreenSchema("label", "NT")
    obs = pd.DataFrame({"label": ["NT", "A", "A", "B"]})
    obs["class"] = ["NT", "A KO", "A NP", None]
    obs["bool"] = [False, True, False, True]
    obs["p"] = [0.0, 0.25, 1.0, np.nan]
    nan = np.nan
    for key, expected in {
        "class": [nan, 1, 0, nan],
        "bool": [nan, 1, 0, 1],
        "p": [nan, 0.25, 1, nan],
    }.items():
        np.testing.assert_array_equal(read_responding(obs, schema, key), expected)
    assert read_responding(obs, schema, None) is None


def test_training_says_how_many_conditions_have_responders_if_any(escaped: AnnData, caplog):
    with caplog.at_level(logging.DEBUG, logger="scbig"):
        train(escaped)
        assert "Only some cells respond in 1 of 2 conditions." in caplog.messages
        caplog.clear()
        train(escaped[escaped.obs["perturbation"] != "GENE0001"].copy())
    assert any("The counts of 100.0%" in message for message in caplog.messages)
    assert not any("Only some cells" in message for message in caplog.messages)
