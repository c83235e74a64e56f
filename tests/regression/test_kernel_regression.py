"""The closed form against explicit ridge regression, refits and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from scbig.data import Effects
from scbig.regression import KernelRegression, KernelSettings, TargetKernel

TARGETS = (("A",), ("B",), ("C",), ("D",), ("A", "B"), ("B", "C"), ("A", "C", "D"), ("D", "E"))
NEW = (("A",), ("A", "D"), ("C", "E"), ("Z",), ("A", "Z"))


def make_effects(rng: np.random.Generator, n_contexts: int = 1, n_genes: int = 6) -> Effects:
    targets = TARGETS * n_contexts
    return Effects(
        targets=targets,
        context=np.repeat(np.arange(n_contexts), len(TARGETS)),
        delta=rng.normal(size=(len(targets), n_genes)),
        n_cells=np.full(len(targets), 50),
        control_mean=np.ones((n_contexts, n_genes)),
        variance=np.ones((len(targets), n_genes)),
    )


def make_embedding(rng: np.random.Generator, names: str = "ABCDZ") -> dict[str, np.ndarray]:
    vectors = rng.normal(size=(len(names), 3))
    return dict(zip(names, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))


def make_design(targets, names: str, settings: KernelSettings) -> np.ndarray:
    """Features whose inner product is the kernel: count of targets, and one for each target."""
    count = np.array([[len(group)] for group in targets])
    own = np.array([[name in group for name in names] for group in targets])
    return np.hstack([np.sqrt(settings.mean) * count, np.sqrt(settings.identity) * own])


@pytest.mark.parametrize(
    "settings", [KernelSettings(noise=0.7), KernelSettings(noise=2.0, identity=0.4, mean=3.0)]
)
def test_identity_and_mean_are_ridge_with_an_intercept_for_each_target(
    rng: np.random.Generator, settings: KernelSettings
):
    effects = make_effects(rng)
    names = "ABCDEZ"
    ridge = Ridge(alpha=settings.noise, fit_intercept=False)
    ridge.fit(make_design(TARGETS, names, settings), effects.delta)
    regression = KernelRegression(effects, TargetKernel((), settings))
    predicted = regression.predict(NEW, np.zeros(len(NEW), dtype=int))
    np.testing.assert_allclose(
        predicted, ridge.predict(make_design(NEW, names, settings)), rtol=1e-8
    )


def test_few_cells_weigh_less(rng: np.random.Generator):
    settings = KernelSettings(noise=0.7)
    n_cells = np.array([10, 20, 30, 40, 50, 60, 70, 120])
    effects = replace(make_effects(rng), n_cells=n_cells)
    ridge = Ridge(alpha=0.7, fit_intercept=False)
    design = make_design(TARGETS, "ABCDEZ", settings)
    ridge.fit(design, effects.delta, sample_weight=n_cells / n_cells.mean())
    predicted = KernelRegression(effects, TargetKernel((), settings)).predict(
        NEW, np.zeros(len(NEW), dtype=int)
    )
    expected = ridge.predict(make_design(NEW, "ABCDEZ", settings))
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)


def compute_kernel(rows, row_context, columns, column_context, table, settings) -> np.ndarray:
    """The definition, pair of targets by pair of targets."""
    kernel = np.zeros((len(rows), len(columns)))
    for i, one in enumerate(rows):
        for j, other in enumerate(columns):
            differs = row_context[i] != column_context[j]
            for a in one:
                for b in other:
                    particular = settings.identity * (a == b)
                    if a in table and b in table:
                        particular += settings.embedding[0] * table[a] @ table[b]
                    for group in (one, other):
                        particular *= settings.combination if len(group) > 1 else 1
                    kernel[i, j] += particular * (1 - settings.context * differs)
                    kernel[i, j] += settings.mean * (1 - settings.mean_context * differs)
    return kernel


@pytest.mark.parametrize("combination", [1.0, 0.7])
def test_with_embeddings_and_contexts_it_is_kernel_ridge(
    rng: np.random.Generator, combination: float
):
    settings = KernelSettings(
        noise=0.5, embedding=(2.0,), context=0.3, mean_context=0.6, combination=combination
    )
    effects, table = make_effects(rng, n_contexts=2), make_embedding(rng)
    context = np.array([0, 1, 0, 1, 0])
    gram = compute_kernel(
        effects.targets, effects.context, effects.targets, effects.context, table, settings
    )
    cross = compute_kernel(NEW, context, effects.targets, effects.context, table, settings)
    kernel = TargetKernel((table,), settings)
    found = kernel(effects.targets, effects.context, effects.targets, effects.context)
    np.testing.assert_allclose(found, gram, rtol=1e-10)
    expected = KernelRidge(alpha=0.5, kernel="precomputed").fit(gram, effects.delta).predict(cross)
    predicted = KernelRegression(effects, kernel).predict(NEW, context)
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)


def test_wholly_separate_contexts_do_not_inform_each_other(rng: np.random.Generator):
    effects = make_effects(rng, n_contexts=2)
    kernel = TargetKernel((), KernelSettings(context=1.0, mean_context=1.0))
    both = KernelRegression(effects, kernel)
    one = KernelRegression(effects.subset(effects.context == 1), kernel)
    context = np.ones(len(NEW), dtype=int)
    np.testing.assert_allclose(both.predict(NEW, context), one.predict(NEW, context), rtol=1e-8)


def test_a_missing_embedding_is_similar_to_nothing(rng: np.random.Generator):
    table = make_embedding(rng, "AB")
    kernel = TargetKernel((table,), KernelSettings(mean=0.0, identity=0.0, embedding=(1.0,)))
    context = np.zeros(3, dtype=int)
    found = kernel([("A",), ("Y",), ("Z",)], context, [("A",), ("Y",), ("B", "Z")], context)
    similarity = table["A"] @ table["B"]
    np.testing.assert_allclose(found, [[1, 0, similarity], [0, 0, 0], [0, 0, 0]], atol=1e-12)


def test_an_unseen_target_without_embedding_has_the_shared_effect(rng: np.random.Generator):
    effects, table = make_effects(rng), make_embedding(rng, "ABCD")
    kernel = TargetKernel((table,), KernelSettings(embedding=(1.0,)))
    one, two = KernelRegression(effects, kernel).predict([("Y",), ("Y", "Z")], np.zeros(2, int))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-8)


@pytest.fixture
def regression(rng: np.random.Generator) -> KernelRegression:
    effects = replace(make_effects(rng, n_contexts=2), n_cells=rng.integers(20, 90, 16))
    settings = KernelSettings(noise=0.5, embedding=(1.0,), context=0.2)
    return KernelRegression(effects, TargetKernel((make_embedding(rng),), settings))


def refit_without(regression: KernelRegression, is_left_out: np.ndarray) -> np.ndarray:
    """Predict groups from the others by a fresh fit under the same noise."""
    effects, kernel = regression.effects, regression.kernel
    rest = effects.subset(~is_left_out)
    # The noise is relative to the average number of cells, which changes with the subset.
    noise = kernel.settings.noise * effects.n_cells.mean() / rest.n_cells.mean()
    kernel = TargetKernel(kernel.embeddings, replace(kernel.settings, noise=noise))
    left_out = effects.subset(is_left_out)
    return KernelRegression(rest, kernel).predict(left_out.targets, left_out.context)


def test_leave_one_out_is_a_refit(regression: KernelRegression):
    n = len(regression.effects)
    expected = [refit_without(regression, np.arange(n) == i)[0] for i in range(n)]
    np.testing.assert_allclose(regression.leave_one_out(), expected, rtol=1e-7)


@pytest.mark.parametrize("target", ["A", "E"])
def test_leave_target_out_is_a_refit(regression: KernelRegression, target: str):
    is_left_out = np.array([target in group for group in regression.effects.targets])
    rows, predicted = regression.leave_target_out(target)
    np.testing.assert_array_equal(rows, np.flatnonzero(is_left_out))
    np.testing.assert_allclose(predicted, refit_without(regression, is_left_out), rtol=1e-7)


def test_weights_are_the_coefficients_of_kernel_ridge(regression: KernelRegression):
    """Each training condition predicted from a one in its own row, and zeros."""
    effects, context = regression.effects, np.array([0, 1, 0, 1, 0])
    gram, cross = (
        regression.kernel(rows, here, effects.targets, effects.context)
        for rows, here in ((effects.targets, effects.context), (NEW, context))
    )
    n_cells = effects.n_cells
    noisy = gram + np.diag(regression.kernel.settings.noise * n_cells.mean() / n_cells)
    expected = np.linalg.solve(noisy, cross.T).T
    weights = regression.get_weights(NEW, context)
    np.testing.assert_allclose(weights, expected, rtol=1e-8, atol=1e-12)
    predicted = regression.predict(NEW, context)
    np.testing.assert_allclose(predicted, weights @ effects.delta, rtol=1e-12)


def with_indicators(regression: KernelRegression) -> KernelRegression:
    """Return the regression of one column for each condition: its predictions are weights."""
    effects = replace(regression.effects, delta=np.eye(len(regression.effects)))
    return KernelRegression(effects, regression.kernel)


def test_left_out_weights_are_those_of_refits(regression: KernelRegression):
    n, indicators = len(regression.effects), with_indicators(regression)
    expected = [refit_without(indicators, np.arange(n) == i)[0] for i in range(n)]
    weights = regression.get_left_out_weights()
    np.testing.assert_allclose(weights, expected, rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(np.diag(weights), np.zeros(n))
    left_out = regression.leave_one_out()
    np.testing.assert_allclose(weights @ regression.effects.delta, left_out, rtol=1e-12)


@pytest.mark.parametrize("target", ["A", "E"])
def test_target_left_out_weights_are_those_of_a_refit(regression: KernelRegression, target: str):
    is_out = np.array([target in group for group in regression.effects.targets])
    rows, weights = regression.get_target_left_out_weights(target)
    np.testing.assert_array_equal(rows, np.flatnonzero(is_out))
    expected = refit_without(with_indicators(regression), is_out)
    np.testing.assert_allclose(weights, expected, rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(weights[:, is_out], np.zeros((len(rows), len(rows))))


@pytest.mark.parametrize("target", ["A", "E"])
def test_what_is_left_out_is_predicted_without_the_error_of_its_controls(
    regression: KernelRegression, target: str
):
    """Effects of one context share an error, which is no part of what is predicted."""
    effects = replace(regression.effects, n_controls=np.full(2, 7))
    settings = replace(regression.kernel.settings, shares_controls=True)
    shared = KernelRegression(effects, replace(regression.kernel, settings=settings))
    is_out = np.array([target in group for group in effects.targets])
    _, predicted = shared.leave_target_out(target)
    np.testing.assert_allclose(predicted, refit_without(shared, is_out), rtol=1e-7)
    n = len(effects)
    one_out = [refit_without(shared, np.arange(n) == i)[0] for i in range(n)]
    np.testing.assert_allclose(shared.leave_one_out(), one_out, rtol=1e-7)
    assert not np.allclose(predicted, regression.leave_target_out(target)[1])


def test_an_effect_of_all_conditions_is_left_to_the_controls(rng: np.random.Generator):
    """Few control cells explain what all conditions share; many do not."""
    effects = make_effects(rng)
    effects = replace(effects, delta=np.ones_like(effects.delta))
    kernel = TargetKernel((), KernelSettings(noise=1.0, shares_controls=True))
    sizes = []
    for n_controls in (2, 50, 5000):
        few = replace(effects, n_controls=np.array([n_controls]))
        sizes.append(np.abs(KernelRegression(few, kernel).predict((("A",),), np.zeros(1))).mean())
    assert sizes[0] < 0.2 < 0.4 < sizes[2]
    assert sizes[0] < sizes[1] < sizes[2]


def test_no_condition_has_a_target_that_was_never_seen(regression: KernelRegression):
    rows, predicted = regression.leave_target_out("Z")
    assert rows.shape == (0,)
    assert predicted.shape == (0, 6)


def test_an_interaction_is_a_feature_of_each_combination(rng: np.random.Generator):
    """Ridge with one more indicator for each combination of targets."""
    settings = KernelSettings(noise=0.7, interaction=1.5)
    effects = make_effects(rng)
    combinations = [group for group in TARGETS if len(group) > 1]
    new = (*NEW, ("A", "B"), ("D", "E"))

    def get_design(targets) -> np.ndarray:
        own = np.array(
            [[group == combination for combination in combinations] for group in targets]
        )
        return np.hstack([make_design(targets, "ABCDEZ", settings), np.sqrt(1.5) * own])

    ridge = Ridge(alpha=0.7, fit_intercept=False).fit(get_design(TARGETS), effects.delta)
    regression = KernelRegression(effects, TargetKernel((), settings))
    predicted = regression.predict(new, np.zeros(len(new), dtype=int))
    np.testing.assert_allclose(predicted, ridge.predict(get_design(new)), rtol=1e-8)
