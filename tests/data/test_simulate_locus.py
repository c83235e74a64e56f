from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import pearsonr
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from scbig.data import simulate_locus_screen
from scbig.priors import Genome, load_loci

pytest.importorskip("pyfaidx")

COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulated")


@pytest.fixture(scope="module")
def screen(folder: Path):
    return simulate_locus_screen(folder)


@pytest.fixture(scope="module")
def windows(screen):
    _, loci, fasta = screen
    with Genome(fasta) as genome:
        return genome.get_windows(loci, 512)


@pytest.fixture(scope="module")
def observed(screen) -> pd.DataFrame:
    adata, loci, _ = screen
    means = adata.to_df().groupby(adata.obs["locus"].astype(str).to_numpy()).mean()
    return means.loc[list(loci.ids)] - means.loc["control"]


def _correlate(a, b) -> float:
    return float(np.mean([pearsonr(x, y)[0] for x, y in zip(a, b, strict=True)]))


def _get_pairs(loci) -> tuple[np.ndarray, np.ndarray]:
    genes = np.array([locus.gene for locus in loci])
    left, right = np.nonzero(np.triu(genes[:, None] == genes, k=1))
    return left, right


def _reverse(word: str) -> str:
    return word.translate(COMPLEMENT)[::-1]


def _count_words(sequences, length: int = 6) -> np.ndarray:
    """Words of either strand, (n_sequences, n_words)."""
    columns: dict[str, int] = {}
    rows = [
        [columns.setdefault(min(w, _reverse(w)), len(columns)) for w in _iter_words(s, length)]
        for s in sequences
    ]
    counts = np.zeros((len(rows), len(columns)))
    for row, found in zip(counts, rows, strict=True):
        np.add.at(row, found, 1)
    return counts


def _iter_words(sequence: str, length: int):
    return (sequence[i : i + length] for i in range(len(sequence) - length + 1))


def _predict_held_out_genes(features: np.ndarray, observed: np.ndarray, loci) -> np.ndarray:
    genes = [locus.gene for locus in loci]
    predicted = np.zeros_like(observed)
    for train, test in GroupKFold(5).split(features, groups=genes):
        ridge = RidgeCV(np.logspace(0, 5, 6)).fit(features[train], observed[train])
        predicted[test] = ridge.predict(features[test])
    return predicted


def test_the_screen_has_the_promised_shape_and_labels(screen):
    adata, loci, fasta = screen
    assert adata.shape == (9000, 300)
    assert fasta.name == "genome.fa"
    assert set(adata.obs["locus"].cat.categories) == {*loci.ids, "control"}
    assert (adata.obs["locus"] == "control").mean() == pytest.approx(0.1)
    gene_of = {locus.id: locus.gene for locus in loci} | {"control": "control"}
    assert adata.obs["locus"].map(gene_of).astype(str).tolist() == adata.obs["gene"].tolist()
    assert adata.obs["locus"].value_counts().min() >= 5
    per_gene = pd.Series([locus.gene for locus in loci]).value_counts()
    assert len(per_gene) == 180
    assert set(per_gene) == {2, 3}
    assert not set(per_gene.index) & set(adata.var_names)


def test_x_is_log1p_of_the_normalised_counts(screen):
    adata = screen[0]
    counts = adata.layers["counts"]
    assert sparse.issparse(counts)
    assert counts.format == adata.X.format == "csr"
    dense = counts.toarray().astype(np.float64)
    expected = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(adata.X.toarray(), expected, rtol=1e-5)


def test_the_table_on_disk_is_the_loci(screen, folder: Path):
    read = load_loci(folder / "loci.tsv", assembly="simulated", coordinates="0-based")
    assert read.records == screen[1].records


def test_windows_of_a_screen_do_not_overlap(screen):
    loci = screen[1]
    assert len(set(loci.group(1024))) == 180  # only genes are groups
    assert {locus.strand for locus in loci} == {"+", "-"}


def test_the_truth_follows_from_the_motifs_in_the_genome(screen, windows):
    adata = screen[0]
    truth = adata.uns["truth"]
    words = list(truth["motif_counts"].columns)
    # A locus of one base stands at 256 of its window on either strand; the reach is 200.
    for row, sequence in enumerate(windows.sequences[:40]):
        edge = 56 if screen[1].records[row].strand == "+" else 57
        near = list(_iter_words(sequence[edge : edge + 400], 10))
        found = [near.count(word) + near.count(_reverse(word)) for word in words]
        assert found == truth["motif_counts"].iloc[row].tolist()
    shifts = truth["motif_counts"].to_numpy() @ truth["grammar"].to_numpy()
    program = truth["grammar"].columns.get_indexer(adata.var["true_program"])
    expected = 1.5 * np.tanh(shifts / 1.5)[:, program]
    loading = truth["effects"].to_numpy()[expected != 0] / expected[expected != 0]
    assert loading.min() > 0.2
    is_moved = truth["effects"].to_numpy() != 0
    np.testing.assert_array_equal(is_moved, expected != 0)


def test_the_cells_show_the_truth_and_start_sites_differ(screen, observed):
    adata, loci, _ = screen
    truth = adata.uns["truth"]["effects"].loc[list(loci.ids)].to_numpy()
    assert _correlate(truth, observed.to_numpy()) > 0.85
    left, right = _get_pairs(loci)
    assert np.linalg.norm(truth[left] - truth[right], axis=1).min() > 1
    mean = truth.mean(axis=0)
    assert np.abs(_correlate(truth, np.tile(mean, (len(truth), 1)))) < 0.15


def test_words_predict_held_out_genes_and_shuffled_ones_do_not(screen, windows, observed):
    adata, loci, _ = screen
    truth = adata.uns["truth"]["effects"].to_numpy()
    left, right = _get_pairs(loci)
    shuffled = windows.shuffle(np.random.default_rng(0))
    for source, is_good in ((windows, True), (shuffled, False)):
        features = _count_words(source.sequences)
        predicted = _predict_held_out_genes(features, observed.to_numpy(), loci)
        effect = _correlate(predicted, truth)
        difference = _correlate(predicted[left] - predicted[right], truth[left] - truth[right])
        if is_good:
            assert (effect > 0.75, difference > 0.75) == (True, True)
        else:
            assert (abs(effect) < 0.15, abs(difference) < 0.15) == (True, True)


def test_same_seed_same_bits_and_more_cells_keep_the_genome(tmp_path: Path):
    small = {"n_targets": 9, "n_genes": 40, "n_cells": 200}
    first, again, other, more = (
        simulate_locus_screen(tmp_path / str(i), **{**small, **changes})
        for i, changes in enumerate([{}, {}, {"seed": 1}, {"n_cells": 300}])
    )
    assert np.array_equal(first[0].X.toarray(), again[0].X.toarray())
    assert first[2].read_bytes() == again[2].read_bytes() == more[2].read_bytes()
    assert first[2].read_bytes() != other[2].read_bytes()
    pd.testing.assert_frame_equal(
        first[0].uns["truth"]["effects"], more[0].uns["truth"]["effects"]
    )


def test_writing_again_replaces_genome_and_index(tmp_path: Path):
    small = {"n_targets": 9, "n_genes": 40, "n_cells": 200}
    for seed in (0, 1):
        adata, loci, fasta = simulate_locus_screen(tmp_path, **small, seed=seed)
        with Genome(fasta) as genome:
            [window] = genome.get_windows(loci.take(loci.ids[-1:]), 100).sequences
        text = "".join(fasta.read_text().split(">chr3\n")[1].split())
        last = loci[loci.ids[-1]]
        start = last.start - (50 if last.strand == "+" else 49)
        expected = text[start : start + 100]
        assert window == (expected if last.strand == "+" else _reverse(expected))
    adata.write_h5ad(tmp_path / "screen.h5ad")
    truth = ad.read_h5ad(tmp_path / "screen.h5ad").uns["truth"]
    np.testing.assert_array_equal(truth["grammar"], adata.uns["truth"]["grammar"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_targets": 2}, "n_targets=2 must be at least 3"),
        ({"n_genes": 20}, "n_genes=20 must be at least 30"),
        ({"n_cells": 100}, "n_cells=100 leaves fewer than three cells a locus"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        simulate_locus_screen(tmp_path / "x", **changes)
    assert not (tmp_path / "x").exists()


# --- several cell lines ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("lines")
    return simulate_locus_screen(folder, n_targets=6, n_genes=60, n_cells=9000, n_contexts=3)


def test_every_locus_is_in_every_line_and_the_genome_is_that_of_one(lines, tmp_path: Path):
    adata, loci, fasta = lines
    table = pd.crosstab(adata.obs["locus"], adata.obs["line"])
    assert table.columns.tolist() == ["line_1", "line_2", "line_3"]
    assert set(table.index) == {*loci.ids, "control"}
    # Dealt in turn, the lines of a condition differ by one cell at most.
    assert (table.max(axis=1) - table.min(axis=1)).max() <= 1
    one = simulate_locus_screen(tmp_path, n_targets=6, n_genes=60, n_cells=9000)
    assert one[2].read_bytes() == fasta.read_bytes()
    assert "line" not in one[0].obs
    assert one[0].uns["truth"]["response"].to_numpy().tolist() == [[1.0] * 6]
    pd.testing.assert_frame_equal(one[0].uns["truth"]["effects"], adata.uns["truth"]["effects"])
    adata.write_h5ad(tmp_path / "lines.h5ad")


def test_programs_respond_in_a_line_by_their_factor(lines):
    """Slopes of observed effects on the true ones, line by line and program by program."""
    adata, loci, _ = lines
    truth, line = adata.uns["truth"], adata.obs["line"].to_numpy()
    program = truth["response"].columns.get_indexer(adata.var["true_program"])
    assert truth["response"].to_numpy().mean() == pytest.approx(1)
    labels = adata.obs["locus"].astype(str).to_numpy()
    counts = adata.layers["counts"].toarray()
    found = np.zeros((3, 6))
    for number, name in enumerate(truth["response"].index):
        is_here = line == name
        frame = pd.DataFrame(counts[is_here]).groupby(labels[is_here]).sum()
        share = np.log(frame.div(frame.sum(axis=1), axis=0) + 1e-5)
        observed = (share.loc[list(loci.ids)] - share.loc["control"]).to_numpy()
        effects = truth["effects"].to_numpy()
        # Shares sum to one: what all genes lose alike is no effect.
        observed = observed - np.median(observed, axis=1, keepdims=True)
        for k in range(6):
            x, y = (values[:, program == k].ravel() for values in (effects, observed))
            found[number, k] = (x * y).sum() / (x * x).sum()
    response = truth["response"].to_numpy()
    assert pearsonr(found.ravel(), response.ravel())[0] > 0.8
    # A program responds the more, the more active it is in the control cells of a line.
    means = np.stack([
        [np.log(counts[(line == name) & (labels == "control")].mean(0)[program == k]).mean()
         for k in range(6)] for name in truth["response"].index
    ])  # fmt: skip
    deviation = means - means.mean(axis=0)
    expected = np.log(response) - np.log(response).mean(axis=0)
    assert pearsonr(deviation.ravel(), expected.ravel())[0] > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_contexts": 0}, "n_contexts=0 must be at least 1"),
        ({"n_contexts": 3}, "with n_targets=9 and n_contexts=3 simulate at least 270"),
    ],
)
def test_lines_that_do_not_fit_are_refused(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        simulate_locus_screen(tmp_path / "x", n_targets=9, n_genes=40, n_cells=200, **changes)
