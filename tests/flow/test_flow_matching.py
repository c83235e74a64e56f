import math

import pytest
import torch

from scbig.flow import LinearPath, integrate, integrate_adaptive


def _ends(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, *shape, dtype=torch.float64, generator=generator))


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_velocity_is_the_slope_of_the_path(sigma: float) -> None:
    x0, x1 = _ends(4, 6, 3)
    t, step = torch.linspace(0, 0.9, 24, dtype=torch.float64).view(4, 6), 1e-4
    path = LinearPath(sigma)
    now, later = (
        path.sample(x0, x1, time, torch.Generator().manual_seed(7)) for time in (t, t + step)
    )
    torch.testing.assert_close((later.x_t - now.x_t) / step, now.u_t, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(now.u_t, x1 - x0)


def test_without_noise_the_ends_are_met_and_the_middle_is_the_mean() -> None:
    x0, x1 = _ends(5, 2)
    path = LinearPath()
    torch.testing.assert_close(path.sample(x0, x1, torch.zeros(5)).x_t, x0)
    torch.testing.assert_close(path.sample(x0, x1, torch.ones(5)).x_t, x1)
    torch.testing.assert_close(path.sample(x0, x1, torch.tensor(0.5)).x_t, (x0 + x1) / 2)


def test_noise_has_standard_deviation_sigma_and_follows_the_generator() -> None:
    x0 = torch.zeros(20_000, 2)
    path = LinearPath(0.5)
    first, again = (
        path.sample(x0, x0, torch.linspace(0, 1, 20_000), torch.Generator().manual_seed(1)).x_t
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert first.std().item() == pytest.approx(0.5, rel=0.02)
    assert first.mean().item() == pytest.approx(0.0, abs=0.01)


def test_negative_sigma_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma is -0\.1"):
        LinearPath(-0.1)


X0 = torch.tensor([[1.0, 0.0], [0.5, -2.0]], dtype=torch.float64)


def _decay(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return -2.0 * x


def _oscillate(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return 3.0 * torch.stack([x[..., 1], -x[..., 0]], dim=-1)


def _warm(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.cos(t) * x


def _turned(angle: float) -> torch.Tensor:
    turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return X0 @ torch.tensor(turn, dtype=torch.float64)


PROBLEMS = [
    pytest.param(_decay, X0 * math.exp(-2.0), id="decay"),
    pytest.param(_oscillate, _turned(3.0), id="oscillator"),
    pytest.param(_warm, X0 * math.exp(math.sin(1.0)), id="depends on time"),
]


@pytest.mark.parametrize(("velocity", "expected"), PROBLEMS)
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_order_of_convergence(velocity, expected, method, order) -> None:
    coarse, fine = (
        (integrate(velocity, X0, method=method, n_steps=n) - expected).abs().max()
        for n in (64, 128)
    )
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)
    assert fine < (0.1 if order == 1 else 1e-3)


@pytest.mark.parametrize(("velocity", "expected"), PROBLEMS)
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "adaptive_heun"])
def test_adaptive_meets_its_tolerance(velocity, expected, method) -> None:
    x1 = integrate_adaptive(velocity, X0, method=method, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(x1, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "adaptive_heun"])
def test_adaptive_stays_within_the_unit_of_time(method) -> None:
    times = []

    def slow(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        times.append(float(t))
        return torch.ones_like(x)

    torch.testing.assert_close(integrate_adaptive(slow, X0, method=method), X0 + 1.0)
    assert 0.0 <= min(times) <= max(times) <= 1.0


@pytest.mark.parametrize(("method", "n_evaluations"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
@pytest.mark.parametrize("n_steps", [1, 3, 49, 100])
def test_number_of_evaluations(method, n_evaluations, n_steps) -> None:
    times = []

    def constant(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        times.append(float(t))
        return torch.ones_like(x)

    x1 = integrate(constant, X0.float(), method=method, n_steps=n_steps)
    assert len(times) == n_steps * n_evaluations
    assert 0.0 <= min(times) <= max(times) <= 1.0
    assert x1.dtype == torch.float32
    torch.testing.assert_close(x1, X0.float() + 1.0)


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun"])
def test_gradients_reach_the_start_and_the_weights(method) -> None:
    weight = torch.tensor([[0.3, -0.7], [0.2, 0.1]], dtype=torch.float64, requires_grad=True)

    def carry(x0: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return integrate(lambda t, x: torch.tanh(x @ weight) + t, x0, method=method, n_steps=3)

    assert torch.autograd.gradcheck(carry, (X0.clone().requires_grad_(), weight))


def test_unknown_methods_are_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match="'rk4'; choose one of euler, midpoint, heun"):
        integrate(_decay, X0, method="rk4")
    with pytest.raises(ValueError, match="n_steps is 0"):
        integrate(_decay, X0, n_steps=0)
    with pytest.raises(ValueError, match="'tsit5'; choose one of dopri5"):
        integrate_adaptive(_decay, X0, method="tsit5")
