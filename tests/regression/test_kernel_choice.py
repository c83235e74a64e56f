"""The evidence against SciPy's normal distribution, and what it chooses."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from scbig.data import Effects
from scbig.regression import KernelSettings, TargetKernel, choose_kernel
from scbig.regression._gaussian_process import compute_column_evidence, compute_evidence


def make_effects(targets, delta: np.ndarray) -> Effects:
    n = len(targets)
    return Effects(
        tuple(targets),
        np.zeros(n, dtype=int),
        delta,
        np.arange(n) + 20,
        np.ones((1, delta.shape[1])),
        np.ones_like(delta),
    )


def compute_likelihood(effects: Effects, kernel: TargetKernel) -> float:
    """Mean log density over genes, at the common scale that makes it largest."""
    covariance = kernel(effects.targets, effects.context, effects.targets, effects.context)
    noise = kernel.settings.noise * effects.n_cells.mean() / effects.n_cells
    covariance = covariance + np.diag(noise)
    solved = np.linalg.solve(covariance, effects.delta)
    scale = (effects.delta * solved).sum(axis=0).mean() / len(effects)
    density = multivariate_normal(np.zeros(len(effects)), scale * covariance)
    return float(density.logpdf(effects.delta.T).mean())


def test_evidence_is_the_normal_likelihood_up_to_a_constant(rng: np.random.Generator):
    targets = [("A",), ("B",), ("C",), ("A", "B"), ("B", "C"), ("A", "C")]
    effects = make_effects(targets, rng.normal(size=(6, 40)))
    scatter = effects.delta @ effects.delta.T / 40
    table = {"A": np.array([1.0, 0.0]), "B": np.array([0.6, 0.8])}
    kernels = [
        TargetKernel((table,), settings)
        for settings in (
            KernelSettings(noise=0.1, embedding=(1.0,)),
            KernelSettings(noise=2.0, embedding=(0.0,)),
            KernelSettings(noise=0.5, embedding=(3.0,), interaction=1.0),
        )
    ]
    found = np.array([compute_evidence(effects, kernel, scatter) for kernel in kernels])
    expected = np.array([compute_likelihood(effects, kernel) for kernel in kernels])
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-9, atol=1e-12)


def get_maximal_density(covariance: np.ndarray, values: np.ndarray) -> float:
    """Log density at the scale that makes it largest, found by search."""

    def get_loss(log_scale: float) -> float:
        density = multivariate_normal(np.zeros(len(values)), np.exp(log_scale) * covariance)
        return -float(density.logpdf(values))

    return -minimize_scalar(get_loss, bracket=(-2, 2), tol=1e-10).fun


def test_evidence_of_a_column_is_its_likelihood_at_its_own_scale(rng: np.random.Generator):
    targets = [("A",), ("B",), ("C",), ("A", "B"), ("B", "C")]
    effects = make_effects(targets, np.full((5, 1), np.nan))
    values = rng.normal(size=(5, 4)) * [0.01, 1.0, 3.0, 100.0]
    for settings in (
        KernelSettings(noise=0.1),
        KernelSettings(noise=2.0, interaction=1.0),
        KernelSettings(noise=0.5, mean=0.0),
    ):
        kernel = TargetKernel((), settings)
        covariance = kernel(targets, effects.context, targets, effects.context)
        covariance = covariance + np.diag(
            settings.noise * effects.n_cells.mean() / effects.n_cells
        )
        expected = [get_maximal_density(covariance, column) for column in values.T]
        constant = -0.5 * 5 * (np.log(2 * np.pi) + 1)
        found = compute_column_evidence(effects, kernel, values)
        np.testing.assert_allclose(found + constant, expected, rtol=1e-8)


def test_both_evidences_of_one_column_agree(rng: np.random.Generator):
    effects = make_effects([("A",), ("B",), ("A", "B")], rng.normal(size=(3, 1)))
    kernel = TargetKernel((), KernelSettings(noise=0.3, interaction=0.5))
    (found,) = compute_column_evidence(effects, kernel, effects.delta)
    assert found == pytest.approx(
        compute_evidence(effects, kernel, effects.delta @ effects.delta.T), rel=1e-12
    )


def test_evidence_of_an_empty_column_is_finite():
    effects = make_effects([("A",), ("B",)], np.zeros((2, 1)))
    found = compute_column_evidence(effects, TargetKernel((), KernelSettings()), np.zeros((2, 3)))
    assert np.isfinite(found).all()


def test_noise_and_interactions_are_changed_alone(rng: np.random.Generator):
    settings = KernelSettings(0.5, 0.4, 3.0, 0.0, (2.0,), 0.3, 3)
    kernel = TargetKernel(({"A": np.array([0.6, 0.8])},), settings)
    changed = kernel.with_noise(7.0, 1.5)
    assert changed.settings == KernelSettings(7.0, 0.4, 3.0, 1.5, (2.0,), 0.3, 3)
    assert changed.embeddings is kernel.embeddings
    assert kernel.settings is settings
    targets, context = [("A",), ("A", "B"), ("B", "C")], np.zeros(3, dtype=int)
    difference = changed(targets, context, targets, context) - kernel(
        targets, context, targets, context
    )
    np.testing.assert_allclose(difference, np.diag([0, 1.5, 1.5]), atol=1e-12)


@pytest.mark.parametrize("sharpness", [1, 2, 8])
def test_sharpness_is_the_power_of_the_cosine(rng: np.random.Generator, sharpness: int):
    vectors = rng.normal(size=(3, 2))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = dict(zip("ABC", vectors, strict=True))
    settings = KernelSettings(mean=0.5, identity=0.0, embedding=(2.0,), sharpness=sharpness)
    context = np.zeros(3, dtype=int)
    found = TargetKernel((table,), settings)(
        [("A",), ("A", "B"), ("Z",)], context, [("B",), ("C",), ("A",)], context
    )

    def similarity(a: str, b: str) -> float:
        return 0.5 + 2 * float(table[a] @ table[b]) ** sharpness

    expected = [
        [similarity("A", "B"), similarity("A", "C"), similarity("A", "A")],
        [similarity("A", b) + similarity("B", b) for b in "BCA"],
        [0.5, 0.5, 0.5],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize(("is_informed", "weight"), [(True, 1.0), (False, 0.0)])
def test_an_embedding_is_used_where_effects_follow_it(
    rng: np.random.Generator, is_informed: bool, weight: float
):
    """Targets in ten families of three; effects follow the families, or other families."""
    names = [f"T{i}" for i in range(30)]
    family = np.arange(30) % 10
    vectors = np.eye(10)[family] + 0.1 * rng.normal(size=(30, 10))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shared = rng.normal(size=(10, 300))[family if is_informed else np.arange(30) // 3]
    delta = shared + 0.3 * rng.normal(size=(30, 300))
    effects = make_effects([(name,) for name in names], delta)
    chosen = choose_kernel(effects, (dict(zip(names, vectors, strict=True)),))
    assert chosen.settings.embedding == (weight,)
    assert (chosen.settings.interaction, chosen.settings.context) == (0.0, 0.0)


@pytest.mark.parametrize("sharpness", [1, 7])
def test_how_close_relatives_must_be_is_chosen(rng: np.random.Generator, sharpness: int):
    """Effects are drawn from the kernel itself, of one sharpness or the other."""
    names = [f"T{i}" for i in range(40)]
    vectors = rng.normal(size=(40, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    covariance = 3 * (vectors @ vectors.T) ** sharpness + 0.2 * np.eye(40)
    delta = np.linalg.cholesky(covariance) @ rng.normal(size=(40, 500))
    effects = make_effects([(name,) for name in names], delta)
    chosen = choose_kernel(effects, (dict(zip(names, vectors, strict=True)),))
    assert chosen.settings.sharpness == sharpness


@pytest.mark.parametrize(("is_shared", "share"), [(True, 0.1), (False, 0.8)])
def test_contexts_may_share_the_targets_and_not_the_mean(
    rng: np.random.Generator, is_shared: bool, share: float
):
    """Ten targets that do the same in three contexts, beside a mean that may differ."""
    context = np.repeat([0, 1, 2], 10)
    mean = 2 * rng.normal(size=(3, 500))[[0, 0, 0] if is_shared else [0, 1, 2]]
    particular = np.tile(rng.normal(size=(10, 500)), (3, 1))
    delta = mean[context] + particular + 0.3 * rng.normal(size=(30, 500))
    effects = make_effects([(f"T{i}",) for i in range(10)] * 3, delta)
    effects = replace(effects, context=context, control_mean=np.ones((3, 500)))
    settings = choose_kernel(effects, ()).settings
    assert (settings.context, settings.mean_context) == (0.1, share)


@pytest.mark.parametrize("size", [0.0, 1.4])
def test_interactions_are_told_from_noise(rng: np.random.Generator, size: float):
    """Doubles that are not the sum of their targets, beside singles measured precisely."""
    names = [f"T{i}" for i in range(16)]
    singles = {name: rng.normal(size=300) for name in names}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 : i + 4]]
    sums = [singles[a] + singles[b] + size * rng.normal(size=300) for a, b in pairs]
    delta = np.array([*singles.values(), *sums])
    delta += 0.1 * rng.normal(size=delta.shape)
    effects = make_effects([*((name,) for name in names), *pairs], delta)
    assert (choose_kernel(effects, ()).settings.interaction > 0) == (size > 0)


@pytest.mark.parametrize(("share", "found"), [(1.0, {1.0}), (0.7, {0.7, 0.8})])
def test_what_combinations_have_of_their_targets_is_chosen(
    rng: np.random.Generator, share: float, found: set[float]
):
    """Doubles that have a share of the sum of their targets, beside what any target does."""
    names = [f"T{i}" for i in range(16)]
    singles = {name: rng.normal(size=300) for name in names}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 : i + 4]]
    sums = [share * (singles[a] + singles[b]) for a, b in pairs]
    delta = np.array([*singles.values(), *sums])
    delta += 0.3 * rng.normal(size=delta.shape)
    effects = make_effects([*((name,) for name in names), *pairs], delta)
    assert choose_kernel(effects, ()).settings.combination in found
    # Without combinations there is nothing to choose it by.
    assert choose_kernel(effects.subset(slice(0, 16)), ()).settings.combination == 1.0
