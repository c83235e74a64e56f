"""Regression of principal components, put together from its parts by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from scbig.data import Effects
from scbig.regression import KernelRegression, KernelSettings, TargetKernel
from scbig.regression._gaussian_process import ComponentRegression

NAMES = [f"T{i}" for i in range(9)]
TARGETS = (*((name,) for name in NAMES), ("T0", "T1"), ("T2", "T3", "T4"), ("T0", "T8"))
NEW = (("T0",), ("T1", "T5"), ("T3", "T4"), ("Z",), ("T0", "Z"))
HERE = np.array([0, 1, 0, 1, 2])
KERNEL = TargetKernel((), KernelSettings(noise=0.5, interaction=1.0, context=0.3))
KERNELS = [KERNEL.with_noise(noise, 1.0) for noise in (0.05, 0.5, 5.0)]


def make_effects(rng: np.random.Generator, delta: np.ndarray) -> Effects:
    n = len(TARGETS)
    return Effects(
        targets=TARGETS,
        context=np.arange(n) % 2,
        delta=delta,
        n_cells=rng.integers(20, 90, n),
        control_mean=np.ones((2, delta.shape[1])),
        variance=np.ones_like(delta),
    )


@pytest.fixture
def effects(rng: np.random.Generator) -> Effects:
    return make_effects(rng, rng.normal(size=(len(TARGETS), 30)))


@pytest.fixture
def scale(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.5, 2.0, size=30)


@pytest.mark.parametrize("n_genes", [30, 5])
def test_with_one_kernel_it_is_regression_gene_by_gene(rng: np.random.Generator, n_genes: int):
    """One linear map for all components is one for all genes, whatever their scale."""
    effects = make_effects(rng, rng.normal(size=(len(TARGETS), n_genes)))
    plain = KernelRegression(effects, KERNEL)
    found = ComponentRegression(effects, [KERNEL], rng.uniform(0.5, 2.0, n_genes))
    np.testing.assert_allclose(found.predict(NEW, HERE), plain.predict(NEW, HERE), rtol=1e-8)
    np.testing.assert_allclose(found.leave_one_out(), plain.leave_one_out(), rtol=1e-8)
    for target in ("T0", "T2", "T5"):
        _, expected = plain.leave_target_out(target)
        np.testing.assert_allclose(found.leave_target_out(target), expected, rtol=1e-8)


def compute_log_density(effects: Effects, kernel: TargetKernel, score: np.ndarray) -> float:
    covariance = kernel(effects.targets, effects.context, effects.targets, effects.context)
    covariance = covariance + np.diag(
        kernel.settings.noise * effects.n_cells.mean() / effects.n_cells
    )
    size = score @ np.linalg.solve(covariance, score) / len(score)
    return float(multivariate_normal(np.zeros(len(score)), size * covariance).logpdf(score))


def predict_by_hand(effects: Effects, scale: np.ndarray, kernels: Sequence[TargetKernel]):
    """Regress each component by itself under its likeliest kernel; return also the kernels."""
    # Components from the covariance of conditions; the order and the signs do not matter.
    white = effects.delta / scale
    _, axes = np.linalg.eigh(white @ white.T)
    predicted, chosen = np.zeros((len(NEW), len(scale))), []
    for axis in axes.T:
        density = [compute_log_density(effects, kernel, axis) for kernel in kernels]
        chosen.append(int(np.argmax(density)))
        part = replace(effects, delta=axis[:, None])
        column = KernelRegression(part, kernels[chosen[-1]]).predict(NEW, HERE)
        predicted += column * (axis @ white * scale)
    return predicted, chosen


def test_each_component_takes_its_likeliest_kernel(rng: np.random.Generator, scale: np.ndarray):
    """A strong component that adds up, beside noise."""
    single = dict(zip(NAMES, 5 * rng.normal(size=9), strict=True))
    score = np.array([sum(single[target] for target in group) for group in TARGETS])
    delta = score[:, None] * rng.normal(size=30) + rng.normal(size=(len(TARGETS), 30))
    effects = make_effects(rng, delta)
    expected, chosen = predict_by_hand(effects, scale, KERNELS)
    assert len(set(chosen)) > 1
    found = ComponentRegression(effects, KERNELS, scale).predict(NEW, HERE)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_a_target_of_one_condition_is_left_out_with_it(effects: Effects, scale: np.ndarray):
    regression = ComponentRegression(effects, KERNELS, scale)
    left_out = regression.leave_one_out()
    assert left_out.shape == (len(effects), 30)
    for target, row in (("T5", 5), ("T6", 6)):
        predicted = regression.leave_target_out(target)
        np.testing.assert_allclose(predicted, left_out[[row]], rtol=1e-8, atol=1e-12)


def test_leaving_out_is_a_refit_with_the_same_components(effects: Effects, scale: np.ndarray):
    """Under a single kernel the components do not matter, so that any refit will do."""
    regression = ComponentRegression(effects, [KERNEL], scale)
    is_out = np.array(["T0" in group for group in TARGETS])
    rest = effects.subset(~is_out)
    # The noise is relative to the average number of cells, which changes with the subset.
    noise = KERNEL.settings.noise * effects.n_cells.mean() / rest.n_cells.mean()
    refit = KernelRegression(rest, KERNEL.with_noise(noise, 1.0))
    gone = effects.subset(is_out)
    np.testing.assert_allclose(
        regression.leave_target_out("T0"), refit.predict(gone.targets, gone.context), rtol=1e-7
    )


def test_only_the_first_components_of_a_large_screen_count(
    monkeypatch: pytest.MonkeyPatch, effects: Effects, scale: np.ndarray
):
    monkeypatch.setattr("scbig.regression._gaussian_process.MAX_COMPONENTS", 2)
    found = ComponentRegression(effects, [KERNEL], scale).predict(NEW, HERE)
    white = effects.delta / scale
    _, vectors = np.linalg.eigh(white.T @ white)
    rest = replace(effects, delta=white @ vectors[:, -2:] @ vectors[:, -2:].T * scale)
    expected = KernelRegression(rest, KERNEL).predict(NEW, HERE)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_effects_of_low_rank_are_no_trouble(rng: np.random.Generator):
    effects = make_effects(rng, np.outer(rng.normal(size=len(TARGETS)), rng.normal(size=30)))
    found = ComponentRegression(effects, [KERNEL], np.ones(30)).predict(NEW, HERE)
    expected = KernelRegression(effects, KERNEL).predict(NEW, HERE)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    nothing = ComponentRegression(replace(effects, delta=np.zeros((12, 30))), KERNELS, np.ones(30))
    np.testing.assert_array_equal(nothing.predict(NEW, HERE), np.zeros((len(NEW), 30)))
