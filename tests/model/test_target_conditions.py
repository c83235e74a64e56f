"""Perturbations as padded arrays."""

import numpy as np

from scbig.model.base import (
    TargetEmbeddings,
    embed_targets,
    hide_unseen,
    index_targets,
    mask_targets,
)
from scbig.priors import GeneEmbedding

TARGETS = [("A", "B"), (), ("C",)]


def test_targets_are_found_by_name_and_padded():
    assert index_targets(TARGETS, ["C", "A"]).tolist() == [[1, -1], [-1, -1], [0, -1]]
    assert mask_targets(TARGETS).tolist() == [[True, True], [False, False], [True, False]]
    assert index_targets([], ["A"]).shape == mask_targets([]).shape == (0, 1)


def test_vectors_are_unit_vectors_or_zero():
    table = GeneEmbedding(("A", "C"), np.array([[3.0, 4.0], [0.0, 2.0]]), "test")
    embeddings = TargetEmbeddings([table])
    expected = np.zeros((3, 2, 2))
    expected[0, 0], expected[2, 0] = (0.6, 0.8), (0, 1)
    np.testing.assert_allclose(embed_targets(TARGETS, embeddings), expected, rtol=1e-6)


def test_contexts_beyond_those_seen_are_hidden():
    assert hide_unseen(np.array([-1, 0, 1, 2]), 2).tolist() == [-1, 0, 1, -1]
