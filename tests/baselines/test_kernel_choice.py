"""The evidence against SciPy's normal distribution, and what it chooses."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from scbig.baselines import KernelSettings, TargetKernel, choose_kernel
from scbig.baselines._evidence import compute_evidence
from scbig.data import Effects


def make_effects(targets, delta: np.ndarray) -> Effects:
    n = len(targets)
    return Effects(
        tuple(targets),
        np.zeros(n, dtype=int),
        delta,
        np.arange(n) + 20,
        np.ones((1, delta.shape[1])),
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


@pytest.mark.parametrize(("is_informed", "weight"), [(True, 3.0), (False, 0.0)])
def test_an_embedding_is_used_where_effects_follow_it(
    rng: np.random.Generator, is_informed: bool, weight: float
):
    names = [f"T{i}" for i in range(30)]
    vectors = rng.normal(size=(30, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    delta = vectors @ rng.normal(size=(4, 300)) if is_informed else rng.normal(size=(30, 300))
    effects = make_effects([(name,) for name in names], delta)
    chosen = choose_kernel(effects, (dict(zip(names, vectors, strict=True)),))
    assert chosen.settings.embedding == (weight,)
    assert (chosen.settings.interaction, chosen.settings.context) == (0.0, 0.0)


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
