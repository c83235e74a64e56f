"""Names that a predictor knows: targets as padded arrays, contexts, genes, and further screens."""

from dataclasses import replace

import numpy as np
import pytest
from anndata import AnnData

from scbig.data import infer_schema
from scbig.predictor import Vocabulary
from scbig.predictor._vocabulary import read_vocabulary
from scbig.priors import GeneAliases, GeneEmbedding, TargetEmbeddings, index_targets, mask_targets

TARGETS = [("A", "B"), (), ("C",)]


def test_targets_are_found_by_name_and_padded():
    assert index_targets(TARGETS, ["C", "A"]).tolist() == [[1, -1], [-1, -1], [0, -1]]
    assert mask_targets(TARGETS).tolist() == [[True, True], [False, False], [True, False]]
    assert index_targets([], ["A"]).shape == mask_targets([]).shape == (0, 1)


def test_vectors_are_unit_vectors_or_zero():
    table = GeneEmbedding(("A", "C"), np.array([[3.0, 4.0], [0.0, 2.0]]), "test")
    embeddings = TargetEmbeddings((table,))
    expected = np.zeros((3, 2, 2))
    expected[0, 0], expected[2, 0] = (0.6, 0.8), (0, 1)
    np.testing.assert_allclose(embeddings.get_vectors(TARGETS), expected, rtol=1e-6)


@pytest.fixture
def vocabulary(screen: AnnData) -> Vocabulary:
    schema = infer_schema(screen, context_keys=["line"])
    return read_vocabulary(screen, schema, np.random.default_rng(0), is_log1p=False)[0]


def test_contexts_beyond_those_seen_are_hidden(vocabulary: Vocabulary):
    assert vocabulary.contexts == ("x", "y")
    assert vocabulary.index_contexts(np.array([-1, 0, 1, 2])).tolist() == [-1, 0, 1, -1]


def test_what_is_missing_is_expected_as_in_control_cells(vocabulary: Vocabulary, screen: AnnData):
    is_control = (screen.obs["perturbation"] == "control").to_numpy()
    expected = screen.X[is_control].mean(axis=0)
    np.testing.assert_allclose(vocabulary.expected_expression, expected, rtol=1e-5)
    read = vocabulary.read(screen[:, 1:].copy()).rows(np.arange(4))
    np.testing.assert_allclose(read[:, 0], expected[0], rtol=1e-5)
    np.testing.assert_array_equal(read[:, 1:], screen.X[:4, 1:])


def test_a_further_screen_appends_its_names_and_controls(vocabulary: Vocabulary, screen: AnnData):
    further = screen.copy()
    further.obs["line"] = further.obs["line"].map({"x": "y", "y": "w"})
    further.obs["perturbation"] = (
        further.obs["perturbation"].astype(str).replace({"A": "NEW", "A+B": "NEW+B"})
    )
    cells = vocabulary.read_screen(further)
    extended = vocabulary.extend(cells, further.obs, np.random.default_rng(0))
    assert extended.targets == (*vocabulary.targets, "NEW")
    assert extended.contexts == ("x", "y", "w")
    # Those of y were known; those of w are the former y.
    n_known = vocabulary.controls.n_obs
    assert extended.controls.n_obs == n_known + 6
    np.testing.assert_array_equal(
        extended.controls.X[:n_known].toarray(), vocabulary.controls.X.toarray()
    )
    assert set(extended.controls.obs["line"].iloc[n_known:]) == {"w"}
    same = vocabulary.read_screen(screen)
    assert vocabulary.extend(same, screen.obs, np.random.default_rng(0)) is vocabulary


def test_targets_are_resolved_by_aliases(vocabulary: Vocabulary):
    aliases = GeneAliases({"A2": ("A",), "B9": ("B",)})
    known = replace(vocabulary, embeddings=TargetEmbeddings((), aliases))
    assert known.resolve(("A2", "Z")) == ("A", "Z")
    assert known.resolve(("A", "A2")) == ("A",)
    assert vocabulary.resolve(("A2",)) == ("A2",)


def test_a_vocabulary_is_saved_whole(vocabulary: Vocabulary):
    table = GeneEmbedding(("A", "C"), np.array([[3.0, 4.0], [0.0, 2.0]]), "test")
    full = replace(vocabulary, embeddings=TargetEmbeddings((table,), GeneAliases({"C": ("C2",)})))
    again = Vocabulary.from_plain(*full.to_plain())
    for name in ("schema", "genes", "targets", "contexts", "is_log1p"):
        assert getattr(again, name) == getattr(full, name)
    assert again.controls.obs.equals(full.controls.obs)
    np.testing.assert_array_equal(again.controls.X.toarray(), full.controls.X.toarray())
    np.testing.assert_array_equal(
        again.embeddings.get_vectors(TARGETS), full.embeddings.get_vectors(TARGETS)
    )
    assert again.resolve(("C2",)) == full.resolve(("C2",))
