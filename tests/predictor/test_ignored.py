"""Arguments that would be ignored are refused by name; data that changed since are looked at."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.baselines import Additive
from scbig.data import simulate_screen
from scbig.model import SCBIG, DualStreamMamba
from scbig.priors import GeneGraph
from scbig.programs import GenePrograms


@pytest.fixture(scope="module")
def screen() -> AnnData:
    adata = simulate_screen(200, 30, n_programs=3, n_targets=5, n_doubles=2, seed=0)
    adata.uns.clear()
    return adata


@pytest.fixture
def trained(screen: AnnData) -> Additive:
    adata = screen.copy()
    Additive.setup_anndata(adata)
    model = Additive(adata, seed=0)
    model.train()
    return model


@pytest.mark.parametrize("name", ["n_cells", "n_draws", "contexts"])
@pytest.mark.parametrize("method", ["predict", "get_predicted_expression"])
def test_what_is_asked_of_new_cells_needs_perturbations(trained, method, name):
    if (method, name) == ("get_predicted_expression", "n_draws"):
        pytest.skip("takes no draws")
    value = ["all"] if name == "contexts" else 5
    with pytest.raises(ValueError, match=rf"{name}=.* would be ignored: .*perturbations=\[...\]"):
        getattr(trained, method)(trained.adata, **{name: value})


def test_a_sum_for_counts_that_are_none(screen):
    with pytest.raises(ValueError, match=r"target_sum=5000 .*X holds log1p values.*Leave"):
        Additive.setup_anndata(screen.copy(), target_sum=5000)


def test_nobody_lends_where_there_are_no_contexts(screen, trained):
    with pytest.raises(ValueError, match=r"borrow_controls='nearest' .*context_keys=\["):
        Additive.setup_anndata(screen.copy(), borrow_controls="nearest")
    with pytest.raises(ValueError, match=r"borrow_controls='pooled' .*context_keys=\["):
        trained.predict(
            perturbations=[screen.obs["perturbation"].iloc[-1]], borrow_controls="pooled"
        )


def make_graph(adata: AnnData) -> GeneGraph:
    return GeneGraph(tuple(adata.var_names), sparse.csr_array(1 - np.eye(adata.n_vars)), "mine")


@pytest.mark.parametrize("name", ["n_programs", "gene_graph"])
@pytest.mark.parametrize("where", ["argument", "uns"])
def test_programs_that_are_there_are_not_made(screen, name, where):
    adata = screen.copy()
    labels = np.arange(adata.n_vars) % 2
    programs = GenePrograms(labels, tuple(adata.var_names), ("a", "b"), "mine")
    given = {"programs": programs} if where == "argument" else {}
    if where == "uns":
        from scbig.pp import set_gene_programs

        set_gene_programs(adata, {gene: "ab"[i % 2] for i, gene in enumerate(adata.var_names)})
    SCBIG.setup_anndata(adata)
    value = 2 if name == "n_programs" else make_graph(adata)
    with pytest.raises(ValueError, match=f"{name}=.* would be ignored: programs are there"):
        SCBIG(adata, **given, **{name: value})
    SCBIG(adata, **given)


@pytest.mark.parametrize("name", ["position_keys", "gene_graph"])
def test_genes_have_one_order(screen, name):
    adata = screen.copy()
    adata.var["chrom"], adata.var["start"] = "1", range(adata.n_vars)
    DualStreamMamba.setup_anndata(adata)
    value = ("chrom", "start") if name == "position_keys" else make_graph(adata)
    with pytest.raises(ValueError, match=f"{name}=.* would be ignored: gene_order"):
        DualStreamMamba(adata, gene_order=list(adata.var_names), **{name: value})


@pytest.mark.parametrize("epochs", [0, None])
def test_a_batch_of_what_is_not_trained(screen, epochs):
    adata = screen.copy()
    SCBIG.setup_anndata(adata)
    model = SCBIG(adata, n_programs=3)
    with pytest.raises(ValueError, match="batch_size=8 would be ignored: no autoencoder"):
        model.train(max_epochs=epochs, max_steps=0, batch_size=8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_since_training(trained, value):
    """The model's own control cells are a copy; where the data are read, a cell is named."""
    label = trained.adata.obs["perturbation"].iloc[-1]
    before = trained.predict(perturbations=[label]).X.toarray()
    x = trained.adata.X.toarray()
    x[17, 3] = value
    trained.adata.X = type(trained.adata.X)(x)
    np.testing.assert_array_equal(trained.predict(perturbations=[label]).X.toarray(), before)
    cell, gene = trained.adata.obs_names[17], trained.adata.var_names[3]
    for call in (trained.predict, trained.get_predicted_expression):
        with pytest.raises(ValueError, match=rf"in 1 cell\(s\), such as {cell} \({gene}\). Drop"):
            call()


@pytest.mark.parametrize("verb", ["get_latent_representation", "get_program_activity"])
def test_what_is_told_of_cells_is_of_finite_ones(screen, verb):
    adata = screen.copy()
    SCBIG.setup_anndata(adata)
    model = SCBIG(adata, n_programs=3)
    model.train(max_epochs=1, max_steps=1, use_progress_bar=False)
    x = adata.X.toarray()
    x[17, 3] = np.nan
    adata.X = type(adata.X)(x)
    with pytest.raises(ValueError, match=rf"1 NaN .* such as {adata.obs_names[17]}"):
        getattr(model, verb)()
