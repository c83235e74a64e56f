import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import distance
from torch.distributions import Normal, kl_divergence

from scbig.metrics import energy_distance
from scbig.nn import (
    autofocus_loss,
    direction_loss,
    divergence_loss,
    energy_loss,
    gaussian_loss,
)


@pytest.fixture
def values() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 6), torch.randn(5, 6)


def test_gaussian_loss_is_the_likelihood_of_scipy(values: tuple[torch.Tensor, ...]) -> None:
    error, log_sigma = values[0], values[1][0]
    density = stats.norm.logpdf(error.numpy(), scale=log_sigma.exp().numpy())
    expected = -density.mean() - 0.5 * np.log(2 * np.pi)
    assert gaussian_loss(error, log_sigma).item() == pytest.approx(expected, rel=1e-5)


def test_divergence_is_that_of_torch(values: tuple[torch.Tensor, ...]) -> None:
    mean, log_variance = values
    posterior = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(divergence_loss(mean, log_variance), expected)


def test_autofocus_is_a_power_of_the_error() -> None:
    error = torch.tensor([[1.0, -2.0], [0.0, 0.5]])
    assert autofocus_loss(error, 2).item() == pytest.approx((1 + 16 + 0.0625) / 4)
    assert autofocus_loss(error, 0).item() == pytest.approx(error.square().mean().item())


def test_direction_looks_at_strongly_changed_genes_alone() -> None:
    noise = torch.tensor([0.1, 0.1, 0.2])
    real = torch.tensor([[1.0, -0.5, 0.5]])  # 10, 5 and 2.5 standard errors
    right = direction_loss(torch.tensor([[1.0, -1.0, 9.0]]), real, noise)
    wrong = direction_loss(torch.tensor([[-1.0, -1.0, 9.0]]), real, noise)
    assert right.item() == pytest.approx(np.log1p(np.exp(-10)), rel=1e-2)
    assert wrong.item() == pytest.approx((np.log1p(np.exp(10)) + np.log1p(np.exp(-10))) / 2)
    assert direction_loss(real, 0 * real, noise).item() == 0


def test_losses_have_gradients_at_zero_error() -> None:
    error = torch.zeros(2, 3, requires_grad=True)
    log_sigma = torch.zeros(3, requires_grad=True)
    (gaussian_loss(error, log_sigma) + autofocus_loss(error, 2.0)).backward()
    assert not error.grad.any()
    torch.testing.assert_close(log_sigma.grad, torch.full((3,), 1 / 3))


def test_energy_is_that_of_scipy_but_for_the_real_cells() -> None:
    rng = np.random.default_rng(0)
    predicted, real = rng.normal(size=(2, 7, 3)), 2 * rng.normal(size=(2, 9, 3)) + 5
    loss = energy_loss(torch.from_numpy(predicted), torch.from_numpy(real)).item()
    real, predicted = (part - part.mean(1, keepdims=True) for part in (real, predicted))
    whole = np.mean([energy_distance(*pair) for pair in zip(real, predicted, strict=True)])
    within = np.mean([distance.pdist(cloud).mean() for cloud in real])
    assert loss == pytest.approx(whole + within, rel=1e-6)


def test_energy_has_a_gradient_where_cells_are_alike() -> None:
    """It is 0 for two points of one place, and finite."""
    x = torch.zeros(1, 4, 2, requires_grad=True)
    energy_loss(x, torch.ones(1, 4, 2)).backward()
    assert not x.grad.any()
