"""Training groups anchored as if they were unseen, against refits and draws by hand."""

from dataclasses import replace

import numpy as np
import pytest

from scbig.data import Effects
from scbig.regression import (
    Anchor,
    DenoisedRegression,
    Denoising,
    KernelRegression,
    KernelSettings,
    TargetKernel,
    anchor_as_unseen,
)

GENES = tuple(f"G{i}" for i in range(12))
TARGETS = (("G0",), ("G1",), ("G2",), ("G0", "G1"), ("G0", "X"), ("G1", "G2", "X"), ("G0",))
CONTEXT = np.array([0, 0, 0, 0, 0, 0, 1])
KERNEL = TargetKernel((), KernelSettings(noise=0.5, context=0.3, mean_context=0.3))
NEW = (("G0", "G2"), ("Z",), ("G1",))
HERE = np.array([0, 1, 2])
# Held-out conditions that combine seen targets, or have an unseen one.
SEEN, UNSEEN = ("G0", "G2"), ("G0", "Z")


@pytest.fixture
def effects(rng: np.random.Generator) -> Effects:
    delta = rng.normal(size=(len(TARGETS), len(GENES)))
    return Effects(
        targets=TARGETS,
        context=CONTEXT,
        delta=delta,
        n_cells=rng.integers(20, 90, len(TARGETS)),
        control_mean=rng.gamma(2.0, 0.5, size=(2, len(GENES))),
        variance=np.ones_like(delta),
    )


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(len(TARGETS), 4))


@pytest.fixture
def anchor(effects: Effects, features: np.ndarray) -> Anchor:
    return Anchor(effects, KERNEL, GENES, Denoising(), features)


def predict_without(
    effects: Effects, features: np.ndarray, is_left: np.ndarray, row: int
) -> np.ndarray:
    """Features of one group by a fresh regression on the groups that are left."""
    rest = replace(effects, delta=features).subset(is_left)
    # The noise is relative to the average number of cells, which changes with the subset.
    noise = KERNEL.settings.noise * effects.n_cells.mean() / rest.n_cells.mean()
    kernel = KERNEL.with_noise(noise, KERNEL.settings.interaction)
    return KernelRegression(rest, kernel).predict([TARGETS[row]], CONTEXT[[row]])[0]


def test_genes_are_denoised_and_features_are_not(
    effects: Effects, features: np.ndarray, anchor: Anchor
):
    denoised = DenoisedRegression(effects, KERNEL, GENES, Denoising())
    np.testing.assert_array_equal(anchor.predict(NEW, HERE), denoised.predict(NEW, HERE))
    np.testing.assert_array_equal(anchor.leave_one_out(), denoised.leave_one_out())
    plain = KernelRegression(replace(effects, delta=features), KERNEL)
    np.testing.assert_array_equal(anchor.predict_features(NEW, HERE), plain.predict(NEW, HERE))
    assert anchor.regression is anchor.regression
    assert anchor.regression.effects is effects


def test_genes_and_denoising_reach_the_regression(effects: Effects, anchor: Anchor):
    parts = Denoising(use_components=False, use_own_gene=False)
    found = Anchor(effects, KERNEL, GENES, parts).predict(NEW, HERE)
    expected = DenoisedRegression(effects, KERNEL, (), parts).predict(NEW, HERE)
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - anchor.predict(NEW, HERE)).max() > 1e-3


def test_without_features_there_are_none_to_predict(effects: Effects):
    anchor = Anchor(effects, KERNEL, GENES, Denoising())
    for call in (anchor.leave_one_out_features, lambda: anchor.predict_features(NEW, HERE)):
        with pytest.raises(ValueError, match="no further features: pass features="):
            call()
    assert [one.features for one in anchor_as_unseen(anchor, [], np.random.default_rng(0))] == [
        None,
        None,
    ]


def test_the_last_groups_are_taken(effects: Effects, features: np.ndarray, anchor: Anchor):
    for unseen in anchor_as_unseen(anchor, [], np.random.default_rng(0)):
        last = unseen.take_last(2)
        np.testing.assert_array_equal(last.effect, unseen.effect[len(effects) - 2 :])
        np.testing.assert_array_equal(last.features, unseen.features[len(effects) - 2 :])
        assert last.forgotten == (unseen.forgotten and unseen.forgotten[-2:])


def test_left_out_one_by_one(effects: Effects, features: np.ndarray, anchor: Anchor):
    [unseen] = anchor_as_unseen(anchor, [SEEN], np.random.default_rng(0))
    assert unseen.forgotten is None
    np.testing.assert_array_equal(unseen.effect, anchor.leave_one_out())
    n = len(TARGETS)
    expected = [predict_without(effects, features, np.arange(n) != i, i) for i in range(n)]
    np.testing.assert_allclose(unseen.features, expected, rtol=1e-7)
    # What a regression expects that has seen the group is something else.
    assert np.abs(unseen.effect - anchor.predict(TARGETS, CONTEXT)).max() > 0.1
    in_sample = anchor.predict_features(TARGETS, CONTEXT)
    assert np.abs(unseen.features - in_sample).max(axis=1).min() > 0.05


def test_left_out_with_a_target(effects: Effects, features: np.ndarray, anchor: Anchor):
    [unseen] = anchor_as_unseen(anchor, [UNSEEN], np.random.default_rng(3))
    rng = np.random.default_rng(3)
    assert unseen.forgotten == tuple(str(rng.choice(sorted(group))) for group in TARGETS)
    for row, target in enumerate(unseen.forgotten):
        assert target in TARGETS[row]
        is_left = np.array([target not in group for group in TARGETS])
        expected = predict_without(effects, features, is_left, row)
        np.testing.assert_allclose(unseen.features[row], expected, rtol=1e-7)
        rows, left_out = anchor.regression.leave_target_out(target)
        np.testing.assert_array_equal(unseen.effect[row], left_out[rows.tolist().index(row)])


@pytest.mark.parametrize(
    ("held_out", "is_forgotten"),
    [
        ([SEEN], [False]),
        ([("G0",), ("X",)], [False]),
        ([UNSEEN], [True]),
        ([("Y", "Z"), ("Z",)], [True]),
        ([SEEN, UNSEEN], [False, True]),
        ([UNSEEN, SEEN], [False, True]),
        ([], [False, True]),
    ],
)
def test_groups_are_unseen_in_the_ways_of_the_held_out_ones(
    anchor: Anchor, held_out: list, is_forgotten: list[bool]
):
    found = anchor_as_unseen(anchor, held_out, np.random.default_rng(0))
    assert [one.forgotten is not None for one in found] == is_forgotten
    for one in found:
        assert one.effect.shape == (len(TARGETS), len(GENES))
        assert one.features.shape == (len(TARGETS), 4)


def test_draws_are_made_only_where_a_target_is_left_out(anchor: Anchor):
    rng = np.random.default_rng(0)
    anchor_as_unseen(anchor, [SEEN], rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    first, second = (anchor_as_unseen(anchor, [UNSEEN], rng)[0].forgotten for _ in range(2))
    assert first != second
