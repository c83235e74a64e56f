import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from scbig.data import simulate_screen


@pytest.fixture(scope="module")
def screen():
    return simulate_screen()


@pytest.fixture(scope="module")
def effects(screen):
    """Observed effects, conditions x genes."""
    labels = screen.obs["perturbation"].astype(str)
    means = screen.to_df().groupby(labels.to_numpy()).mean()
    return means.drop(index="control") - means.loc["control"]


def _correlate(a, b):
    return np.corrcoef(a, b)[0, 1]


def _split(effects):
    is_double = effects.index.str.contains("+", regex=False)
    return effects[~is_double], effects[is_double]


def test_the_screen_has_the_promised_shape_and_labels(screen):
    obs = screen.obs
    assert screen.shape == (6000, 800)
    assert screen.var_names[0] == "GENE0001"
    assert (obs["perturbation"] == "control").mean() == pytest.approx(0.15)
    labels = set(obs["perturbation"].cat.categories) - {"control"}
    assert sum("+" not in label for label in labels) == 40
    assert sum("+" in label for label in labels) == 40
    genes = {gene for label in labels for gene in label.split("+")}
    assert len(genes) == 40
    assert genes <= set(screen.var_names)
    expected = [0 if p == "control" else p.count("+") + 1 for p in obs["perturbation"]]
    assert obs["n_targets"].tolist() == expected


def test_every_condition_is_in_every_batch(screen):
    table = pd.crosstab(screen.obs["perturbation"], screen.obs["batch"])
    assert table.shape == (81, 2)
    assert table.to_numpy().min() >= 10
    assert np.abs(table["batch_1"] - table["batch_2"]).max() <= 1


def test_x_is_log1p_of_the_normalised_counts(screen):
    counts = screen.layers["counts"]
    assert sparse.issparse(counts)
    assert counts.format == screen.X.format == "csr"
    assert counts.dtype == screen.X.dtype == np.float32
    assert (counts.data == np.round(counts.data)).all()
    assert counts.data.min() >= 1
    dense = counts.toarray().astype(np.float64)
    expected = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(screen.X.toarray(), expected, rtol=1e-5)


def test_counts_are_overdispersed_and_sparse(screen):
    control = screen[screen.obs["perturbation"] == "control"].layers["counts"].toarray()
    mean, variance = control.mean(axis=0), control.var(axis=0)
    assert np.mean(variance[mean > 1] > 1.5 * mean[mean > 1]) > 0.95
    assert 0.2 < np.mean(screen.layers["counts"].toarray() == 0) < 0.6


def test_same_seed_same_bits_other_seed_other_cells():
    small = {"n_cells": 600, "n_genes": 80, "n_programs": 4, "n_targets": 6, "n_doubles": 5}
    first, again, other = (simulate_screen(**small, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.X.toarray(), again.X.toarray())
    pd.testing.assert_frame_equal(first.obs, again.obs)
    pd.testing.assert_frame_equal(first.uns["truth"]["effects"], again.uns["truth"]["effects"])
    assert not np.array_equal(first.X.toarray(), other.X.toarray())


def test_more_cells_keep_the_truth():
    small = {"n_genes": 80, "n_programs": 4, "n_targets": 6, "n_doubles": 5}
    few, many = (simulate_screen(n, **small).uns["truth"] for n in (600, 900))
    pd.testing.assert_frame_equal(few["effects"], many["effects"])


def test_programs_are_found_in_control_coexpression(screen):
    control = screen[screen.obs["perturbation"] == "control"].X.toarray()
    scaled = (control - control.mean(axis=0)) / control.std(axis=0)
    loadings = PCA(20, random_state=0).fit_transform(scaled.T)
    found = KMeans(12, n_init=5, random_state=0).fit_predict(loadings)
    assert adjusted_rand_score(screen.var["true_program"], found) > 0.5


def test_the_truth_is_what_the_cells_show(screen, effects):
    truth = screen.uns["truth"]["effects"].loc[effects.index]
    r = [_correlate(a, b) for a, b in zip(truth.to_numpy(), effects.to_numpy(), strict=True)]
    assert np.mean(r) > 0.85
    for label in effects.index:
        own = label.split("+")
        assert (truth.loc[label, own] == -1.8).all()
        assert (effects.loc[label, own] < -0.2).all()


def test_interactions_are_doubles_minus_singles(screen):
    truth = screen.uns["truth"]
    for label, interaction in truth["interactions"].iterrows():
        first, second = label.split("+")
        expected = truth["effects"].loc[label] - truth["effects"].loc[[first, second]].sum()
        np.testing.assert_allclose(interaction, expected, atol=1e-12)


def test_kinds_follow_from_the_programs(screen):
    kinds = screen.uns["truth"]["kinds"]["kind"]
    assert kinds.value_counts().min() >= 10
    program = screen.var["true_program"]
    partners = {}
    for label, kind in kinds.items():
        first, second = (program[gene] for gene in label.split("+"))
        assert (kind == "buffering") == (first == second)
        if kind == "synergistic":
            assert partners.setdefault(first, second) == second
            assert partners.setdefault(second, first) == first


def test_buffering_is_smaller_and_synergy_larger_than_the_sum(screen):
    truth = screen.uns["truth"]
    total = truth["effects"].loc[truth["interactions"].index] - truth["interactions"]
    kinds = truth["kinds"]["kind"]
    size = np.linalg.norm(truth["effects"].loc[kinds.index], axis=1) / np.linalg.norm(
        total, axis=1
    )
    mean = pd.Series(size, index=kinds.index).groupby(kinds.to_numpy()).mean()
    assert mean["buffering"] < mean["additive"] < 1 < mean["synergistic"]


def test_additive_is_good_but_not_the_best_possible(screen, effects):
    singles, doubles = _split(effects)
    pairs = [label.split("+") for label in doubles.index]
    added = np.array([singles.loc[pair].sum() for pair in pairs])
    r = [_correlate(a, b) for a, b in zip(added, doubles.to_numpy(), strict=True)]
    assert 0.7 < np.mean(r) < 0.9
    truth = screen.uns["truth"]["effects"].loc[doubles.index].to_numpy()
    best = [_correlate(a, b) for a, b in zip(truth, doubles.to_numpy(), strict=True)]
    assert np.mean(best) > np.mean(r) + 0.05


def test_targets_of_one_program_have_related_effects(screen, effects):
    singles, _ = _split(effects)
    program = screen.var.loc[singles.index, "true_program"].to_numpy()
    r = np.corrcoef(singles)
    is_same = program[:, None] == program
    off_diagonal = ~np.eye(len(singles), dtype=bool)
    assert r[is_same & off_diagonal].mean() > r[~is_same].mean() + 0.3


def test_it_survives_a_round_trip_through_h5ad(tmp_path):
    adata = simulate_screen(400, 60, n_programs=3, n_targets=4, n_doubles=3)
    adata.write_h5ad(tmp_path / "screen.h5ad")
    truth = ad.read_h5ad(tmp_path / "screen.h5ad").uns["truth"]
    for name in ("effects", "interactions", "kinds"):
        pd.testing.assert_frame_equal(
            truth[name], adata.uns["truth"][name], check_dtype=False, check_index_type=False,
            check_column_type=False,
        )  # fmt: skip


def test_no_doubles_is_possible():
    adata = simulate_screen(400, 60, n_programs=3, n_targets=4, n_doubles=0)
    assert adata.obs["n_targets"].max() == 1
    assert adata.uns["truth"]["interactions"].shape == (0, 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_genes": 30}, "n_genes=30 with n_programs=12"),
        ({"n_programs": 1}, "at least 2 programs"),
        ({"n_targets": 401}, "n_targets=401 must be between 1 and half of the genes, 400"),
        ({"n_targets": 0}, "n_targets=0"),
        ({"n_targets": 4, "n_doubles": 7}, "n_doubles=7 must be between 0 and 6"),
        ({"n_targets": 4, "n_doubles": 0, "n_triples": 5}, "n_triples=5 must be between 0 and 4"),
        ({"n_batches": 0}, "n_batches=0"),
        ({"control_share": 1.0}, "control_share=1.0"),
        ({"n_cells": 100}, "n_cells=100 leaves 15 control cells and 85 cells for 80 conditions"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        simulate_screen(**changes)


@pytest.fixture(scope="module")
def with_triples():
    return simulate_screen(4000, 300, n_programs=6, n_targets=12, n_doubles=20, n_triples=24)


def test_triples_leave_all_else_as_it_is(with_triples):
    without = simulate_screen(4000, 300, n_programs=6, n_targets=12, n_doubles=20)
    pd.testing.assert_frame_equal(
        with_triples.uns["truth"]["effects"].iloc[:32], without.uns["truth"]["effects"]
    )
    assert (with_triples.obs["n_targets"] == 3).sum() > 24 * 2


def test_pairs_of_a_triple_interact_as_in_doubles(with_triples):
    truth = with_triples.uns["truth"]
    program = with_triples.var["true_program"]
    kinds = truth["kinds"]["kind"].iloc[20:]
    assert set(kinds) == {"additive", "buffering", "synergistic", "mixed"}
    doubles = truth["kinds"]["kind"].iloc[:20]
    partner = {
        program[a]: program[b]
        for a, b in (label.split("+") for label in doubles.index[doubles == "synergistic"])
    }
    for label, kind in kinds.items():
        programs = [program[gene] for gene in label.split("+")]
        assert (len(set(programs)) < 3) == (kind in ("buffering", "mixed"))
        if any(partner.get(p) in programs for p in programs):
            assert kind in ("synergistic", "mixed")


def test_interactions_of_triples_are_triples_minus_singles(with_triples):
    truth = with_triples.uns["truth"]
    size = {}
    for label, interaction in truth["interactions"].iloc[20:].iterrows():
        added = truth["effects"].loc[label.split("+")].sum()
        np.testing.assert_allclose(interaction, truth["effects"].loc[label] - added, atol=1e-12)
        size.setdefault(truth["kinds"]["kind"][label], []).append(
            np.linalg.norm(truth["effects"].loc[label]) / np.linalg.norm(added)
        )
    mean = {kind: np.mean(values) for kind, values in size.items()}
    assert mean["buffering"] < mean["additive"] < mean["synergistic"]


def test_regulation_is_what_targets_do_to_programs(screen):
    truth = screen.uns["truth"]
    regulation, program = truth["regulation"], screen.var["true_program"]
    assert (regulation.to_numpy() != 0).sum(axis=1).tolist() == [4] * 12
    singles = truth["effects"].loc[[label for label in truth["effects"].index if "+" not in label]]
    by_program = singles.T.groupby(program.to_numpy()).mean().T
    expected = regulation.loc[program[singles.index]].to_numpy()
    assert _correlate(by_program.to_numpy().ravel(), expected.ravel()) > 0.8
