import numpy as np
import ot
import pytest
import torch

from scbig.model.scbig._stages import correlation_loss, pathway_loss


def _average(labels: np.ndarray) -> np.ndarray:
    return np.stack([(labels == k) / np.sum(labels == k) for k in range(labels.max() + 1)])


def _correlate(activity: np.ndarray) -> np.ndarray:
    """Correlation as the paper defines it: floored deviation, clipped standard scores."""
    std = np.maximum(activity.std(axis=0), 1e-6)
    scores = np.clip((activity - activity.mean(axis=0)) / std, -10, 10)
    return scores.T @ scores / len(activity)


def test_correlation_loss_is_the_distance_of_correlation_matrices(
    rng: np.random.Generator,
) -> None:
    programs = _average(np.array([0, 0, 1, 1, 1, 2, 2]))
    predicted, real = rng.gamma(1.0, size=(20, 7)), rng.gamma(1.0, size=(33, 7))
    difference = np.corrcoef((predicted @ programs.T).T) - np.corrcoef((real @ programs.T).T)
    expected = np.linalg.norm(difference) / 3
    found = correlation_loss(*map(torch.from_numpy, (predicted, real, programs)))
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_correlation_loss_floors_deviations_and_clips_outliers(rng: np.random.Generator) -> None:
    predicted, real = rng.gamma(1.0, size=(300, 4)), rng.gamma(1.0, size=(300, 4))
    predicted[:, 0] = 1.0  # no variance: its correlations are zero, its own too
    predicted[:, 1] += rng.normal(scale=1e-9, size=300)
    predicted[:, 2] = 0
    predicted[7, 2] = 5.0  # a standard score of 17
    programs = np.eye(4)
    expected = np.linalg.norm(_correlate(predicted) - _correlate(real)) / 4
    found = correlation_loss(*map(torch.from_numpy, (predicted, real, programs)))
    assert found.item() == pytest.approx(expected, rel=1e-9)
    assert _correlate(predicted)[2, 2] == pytest.approx(1 / 3, abs=0.01)


def test_correlation_loss_has_finite_gradients_where_nothing_varies() -> None:
    predicted = torch.zeros(5, 4, requires_grad=True)
    programs = torch.eye(4)
    correlation_loss(predicted, torch.rand(5, 4), programs).backward()
    assert torch.isfinite(predicted.grad).all()


def test_losses_take_batches(rng: np.random.Generator) -> None:
    predicted, real = torch.rand(3, 10, 6), torch.rand(3, 8, 6)
    programs = torch.from_numpy(_average(np.array([0, 0, 1, 1, 2, 2]))).float()
    for loss in (correlation_loss, pathway_loss):
        together = loss(predicted, real, programs)
        alone = [loss(x, y, programs) for x, y in zip(predicted, real, strict=True)]
        torch.testing.assert_close(together, torch.stack(alone))


def test_pathway_loss_is_the_entropic_cost_of_pot(rng: np.random.Generator) -> None:
    pathways = _average(np.array([0, 0, 1, 1, 1, 2, 2]))
    predicted, real = rng.gamma(1.0, size=(12, 7)), rng.gamma(1.0, size=(15, 7))
    # POT scales columns before rows, we rows before columns: hence its cost is transposed.
    cost = ot.dist(real @ pathways.T, predicted @ pathways.T)
    plan = ot.bregman.sinkhorn_log(
        np.full(15, 1 / 15), np.full(12, 1 / 12), cost, 0.1, numItermax=50, stopThr=0, warn=False
    )
    found = pathway_loss(*map(torch.from_numpy, (predicted, real, pathways)))
    assert found.item() == pytest.approx(np.sum(plan * cost) / 3, rel=1e-9)
