"""A screen whose labels name guides is the screen of their genes."""

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.baselines import Additive
from scbig.data import infer_schema

GUIDES = {"control": ["NT_g1", "NT_g2"], "A": ["A_g1", "A_g2"], "B": ["B_g1", "B/2"]}
TABLE = {guide: gene for gene, guides in GUIDES.items() for guide in guides}


@pytest.fixture
def guided(screen: AnnData) -> AnnData:
    """Every other cell has the second guide of its gene."""
    cells = screen.copy()
    first, second = ({gene: guides[i] for gene, guides in GUIDES.items()} for i in (0, 1))
    labels = [
        "+".join((first, second)[i % 2].get(gene, gene) for gene in label.split("+"))
        for i, label in enumerate(cells.obs["perturbation"])
    ]
    del cells.obs["perturbation"]
    cells.obs["assigned_guide"] = pd.Categorical(labels)
    return cells


def train(adata: AnnData, **setup) -> Additive:
    Additive.setup_anndata(adata, **setup)
    model = Additive(adata, seed=0)
    model.train(validation=[])
    return model


@pytest.mark.parametrize("form", [dict, pd.Series])
def test_guides_are_their_genes(screen: AnnData, guided: AnnData, form, tmp_path):
    expected = train(screen).predict(perturbations=["A", "A+B"], sampling=False, seed=1)
    model = train(guided, guide_to_gene=form(TABLE))
    out = model.predict(perturbations=["A_g2", "A_g1+B/2"], sampling=False, seed=1)
    assert out.obs["assigned_guide"].cat.categories.tolist() == ["control", "A", "A+B"]
    np.testing.assert_allclose(out.X, expected.X, rtol=1e-6)
    out.write_h5ad(tmp_path / "out.h5ad")
    noted = anndata.read_h5ad(tmp_path / "out.h5ad").uns["additive"]["schema"]
    assert infer_schema(guided, **dict(noted)) == infer_schema(guided, guide_to_gene=TABLE)
    model.save(tmp_path / "model")
    for again in (Additive.load(tmp_path / "model"), Additive.load(tmp_path / "model", guided)):
        same = again.predict(perturbations=["A", "A+B"], sampling=False, seed=1)
        np.testing.assert_array_equal(same.X, out.X)
    told = model.predict_effects(["B_g1", "B/2+C"])
    np.testing.assert_array_equal(told.X, model.predict_effects(["B", "B+C"]).X)


def test_rows_are_predicted_for_their_guides(guided: AnnData):
    model = train(guided, guide_to_gene=TABLE)
    out = model.predict(guided.copy(), sampling=False, seed=1)
    # Both control guides are themselves, and rows of two guides of a gene have one effect.
    is_control = out.obs["assigned_guide"].isin(GUIDES["control"]).to_numpy()
    np.testing.assert_allclose(out.layers["additive"][is_control], out.X[is_control], rtol=1e-6)
    rows = out.obs["assigned_guide"].isin(GUIDES["A"]).to_numpy()
    sources = out.obs_names.get_indexer(out.obs["additive_source"][rows])
    shifts = out.layers["additive"][rows] - out.X[sources]
    effect = model.predict_effects(["A"]).X[0]
    # Expression that falls stays above zero, each cell by its own.
    expected = np.broadcast_to(effect[effect > 0], (rows.sum(), (effect > 0).sum()))
    np.testing.assert_allclose(shifts[:, effect > 0], expected, atol=1e-5)


def test_what_is_asked_is_read_by_what_the_model_knows(screen: AnnData):
    model = train(screen)
    message = r"'A:B' is no known target; it looks like A and B.*The screen has '\+': write 'A\+B'"
    for ask in (model.predict, model.predict_effects, model.get_confidence):
        with pytest.raises(ValueError, match=message):
            ask(perturbations=["A", "A:B"])
    with pytest.raises(ValueError, match=message):
        model.predict(screen.copy(), perturbations=["A:B"])
    with pytest.raises(ValueError, match="'A_g1' is no known target; it looks like the name of a"):
        model.predict(perturbations=["A_g1"])


def test_what_was_read_is_logged(guided: AnnData, caplog):
    with caplog.at_level("INFO", "scbig"):
        train(guided, guide_to_gene=TABLE, context_keys="line")
    text = "\n".join(caplog.messages)
    assert "Took obs['assigned_guide'] as perturbations (control 'control', separator '+'" in text
    assert (
        "Read 12 control cells ('NT_g1', 'NT_g2'), 2 targets alone ('A_g1' is A, 'B/2' is B)"
        in text
    )
    assert "and 2 combinations ('A_g1+B_g1' is A and B, 'B/2+C' is B and C)." in text
    assert "In 2 context(s): x (20 cells), y (20 cells)." in text
