import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from scbig.flow import Bridge, compute_bridge_loss, make_bridge_schedule

N_CELLS = 20_000
# Five standard errors: one false alarm in a million comparisons, and the seeds are fixed.
N_ERRORS = 5


def _seed(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=_seed(seed))


def _assert_moments(x: torch.Tensor, mean: float, std: float) -> None:
    """Compare mean and variance with theirs, within their standard errors."""
    assert abs(x.mean() - mean) <= N_ERRORS * std / math.sqrt(x.numel())
    assert abs(x.var() - std**2) <= N_ERRORS * std**2 * math.sqrt(2 / (x.numel() - 1))


@pytest.fixture
def bridge() -> Bridge:
    return Bridge(make_bridge_schedule(scale=2.0))


@pytest.mark.parametrize("step", [1, 30, 500, 900, 999])
def test_marginals_follow_the_formula(bridge, step) -> None:
    near = float(bridge.schedule.betas[:step].sum())
    far = float(bridge.schedule.betas[step:].sum())
    source, target = torch.full((N_CELLS, 1), 3.0), torch.full((N_CELLS, 1), -1.0)
    point = bridge.sample(source.double(), target.double(), torch.tensor(step), _seed(step))
    mean = (far * -1.0 + near * 3.0) / (near + far)
    _assert_moments(point.x_t, mean, math.sqrt(near * far / (near + far)))


@pytest.mark.parametrize("use_noise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_are_met_bit_by_bit(use_noise, dtype) -> None:
    bridge = Bridge(use_noise=use_noise)
    source, target = _draw(2, 8, 3).to(dtype)
    at_source, at_target = (
        bridge.sample(source, target, torch.full((8,), step)).x_t for step in (1000, 0)
    )
    assert torch.equal(at_source, source)
    assert torch.equal(at_target, target)


@pytest.mark.parametrize("use_noise", [False, True])
def test_the_residual_leads_back_to_the_target(bridge, use_noise) -> None:
    bridge = Bridge(bridge.schedule, use_noise)
    source, target = _draw(2, 40, 3)
    step = bridge.draw_steps((40,), _seed(1))
    point = bridge.sample(source, target, step, _seed(2))
    sigma = bridge.schedule.betas.cumsum(0).sqrt()[step - 1].unsqueeze(-1)
    torch.testing.assert_close(point.sigma, sigma)
    torch.testing.assert_close(point.residual, (point.x_t - target) / sigma)
    torch.testing.assert_close(bridge.estimate_target(point.x_t, point.residual, step), target)


def test_the_residual_keeps_its_digits_at_the_first_step(bridge) -> None:
    bridge, step = Bridge(bridge.schedule, use_noise=False), torch.tensor(1)
    # Numbers that float32 holds exactly, so that all rounding is the bridge's.
    source, target = (100 + _draw(2, 40, 3)).float()
    exact = bridge.sample(source.double(), target.double(), step).residual
    point = bridge.sample(source, target, step)
    assert (point.residual - exact).abs().max() < 1e-7
    assert ((point.x_t - target) / point.sigma - exact).abs().max() > 1e-5


def test_without_noise_the_bridge_is_its_mean(bridge) -> None:
    source, target = _draw(2, 8, 3)
    middle = Bridge(bridge.schedule, use_noise=False).sample(source, target, torch.tensor(500))
    torch.testing.assert_close(middle.x_t, (source + target) / 2)


def test_scaling_the_points_and_the_schedule_leaves_the_training_target() -> None:
    source, target = _draw(2, 8, 3)
    one, seven = (
        Bridge(make_bridge_schedule(scale=c)).sample(
            c * source, c * target, torch.tensor(400), _seed(1)
        )
        for c in (1.0, 7.0)
    )
    torch.testing.assert_close(seven.x_t, 7 * one.x_t)
    torch.testing.assert_close(seven.residual, one.residual)


def test_training_steps_are_even_and_without_step_zero() -> None:
    steps = Bridge(make_bridge_schedule(4)).draw_steps((200, 50), _seed(0))
    counts = torch.bincount(steps.flatten(), minlength=5)
    assert steps.shape == (200, 50)
    assert counts[0] == 0
    assert len(counts) == 5
    assert (counts[1:] - 2500).abs().max() <= N_ERRORS * math.sqrt(10_000 * 0.25 * 0.75)


def test_times_are_shares_of_the_grid(bridge) -> None:
    like = torch.zeros(1)
    times = bridge.get_time(torch.tensor([0, 250, 1000]), like)
    torch.testing.assert_close(times, torch.tensor([0.0, 0.25, 1.0]))
    assert bridge.get_time(500, like) == 0.5


def _know(target: torch.Tensor, bridge: Bridge) -> Callable:
    """Make the network that sees the true target."""

    def network(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        step = round(float(t) * bridge.schedule.n_grid)
        return (x - target) / bridge.schedule.sigma[step]

    return network


@pytest.mark.parametrize("via", [(), (700,), (990, 600, 410)])
def test_moving_in_steps_has_the_marginals_of_the_bridge(bridge, via) -> None:
    x, generator = torch.full((N_CELLS, 1), 3.0, dtype=torch.float64), _seed(len(via))
    target, grid = torch.full_like(x, -1.0), [1000, *via, 400]
    for steps in pairwise(grid):
        x = bridge.move(x, target, steps, generator)
    near, far = float(bridge.schedule.from_target[400]), float(bridge.schedule.from_source[400])
    mean = (far * -1.0 + near * 3.0) / (near + far)
    _assert_moments(x, mean, math.sqrt(near * far / (near + far)))


@pytest.mark.parametrize("use_noise", [False, True])
@pytest.mark.parametrize("n_steps", [1, 3, 20])
def test_a_network_that_knows_the_target_reaches_it(bridge, use_noise, n_steps) -> None:
    bridge = Bridge(bridge.schedule, use_noise)
    source, target = _draw(2, 8, 3)
    reached = bridge.carry(_know(target, bridge), source, n_steps=n_steps, generator=_seed(1))
    torch.testing.assert_close(reached, target)


@pytest.mark.parametrize("use_noise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_step_returns_the_estimate_at_the_source(use_noise, dtype) -> None:
    bridge, times = Bridge(use_noise=use_noise), []
    source, weight = _draw(8, 3).to(dtype), _draw(3, 3, seed=1).to(dtype)

    def network(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        times.append(float(t))
        return torch.tanh(x @ weight)

    carried = bridge.carry(network, source, n_steps=1)
    estimate = bridge.estimate_target(source, torch.tanh(source @ weight), 1000)
    assert times == [1.0]
    assert torch.equal(carried, estimate)
    sigma = float(bridge.schedule.betas.sum().sqrt())
    torch.testing.assert_close(carried, source - sigma * torch.tanh(source @ weight))


def test_a_network_of_zeros_has_no_effect() -> None:
    source = _draw(8, 3)
    carried = Bridge(use_noise=False).carry(lambda t, x: torch.zeros_like(x), source)
    torch.testing.assert_close(carried, source, rtol=0, atol=0)


# A Gaussian case: target = SHIFT + SLOPE * source + SPREAD * noise. The network is the exact
# conditional mean, so the answer is known whatever the number of steps.
SHIFT, SLOPE, SPREAD = 1.5, 0.6, 0.8


def _make_gaussian_network(bridge: Bridge, source: torch.Tensor) -> Callable:
    expected, table = SHIFT + SLOPE * source, bridge.schedule

    def network(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        step = round(float(t) * table.n_grid)
        share, std = float(table.share[step]), float(table.std[step])
        seen = x - (1 - share) * expected - share * source
        gain = SPREAD**2 * (1 - share) / (SPREAD**2 * (1 - share) ** 2 + std**2 + 1e-300)
        return (x - expected - gain * seen) / table.sigma[step]

    return network


@pytest.mark.parametrize("n_steps", [1, 5, 50])
def test_both_samplers_have_the_mean_of_the_gaussian_case(bridge, n_steps) -> None:
    source = _draw(N_CELLS, 1)
    network = _make_gaussian_network(bridge, source)
    noisy, still = (
        Bridge(bridge.schedule, use_noise).carry(
            network, source, n_steps=n_steps, generator=_seed(3)
        )
        for use_noise in (True, False)
    )
    expected = SHIFT + SLOPE * source
    torch.testing.assert_close(still, expected)
    deviation = noisy - still
    error = deviation.std() / math.sqrt(N_CELLS)
    assert abs(deviation.mean()) <= N_ERRORS * error + 1e-12
    # Not of the mean alone: the deviation has nothing to do with the source either.
    assert abs((deviation * source).mean()) <= N_ERRORS * error + 1e-12


def test_in_fine_steps_noise_gives_the_spread_of_the_gaussian_case(bridge) -> None:
    source = _draw(N_CELLS, 1)
    network = _make_gaussian_network(bridge, source)
    carried = bridge.carry(network, source, n_steps=1000, generator=_seed(3))
    deviation = carried - SHIFT - SLOPE * source
    assert deviation.std().item() == pytest.approx(SPREAD, rel=0.03)


def test_a_single_step_has_no_spread_and_more_steps_have_more(bridge) -> None:
    source = torch.zeros(2000, 1, dtype=torch.float64)
    network = _make_gaussian_network(bridge, source)
    spreads = [
        float(bridge.carry(network, source, n_steps=n, generator=_seed(3)).std())
        for n in (1, 5, 50)
    ]
    assert spreads[0] == pytest.approx(0, abs=1e-12)
    assert spreads == sorted(spreads)


def test_noise_follows_the_generator(bridge) -> None:
    source, network = _draw(8, 3), lambda t, x: torch.zeros_like(x)
    first, again, other = (
        bridge.carry(network, source, generator=_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().min() > 0


@pytest.mark.parametrize("use_noise", [False, True])
def test_gradients_reach_the_source_and_the_weights(bridge, use_noise) -> None:
    bridge = Bridge(bridge.schedule, use_noise)
    source, weight = _draw(2, 3).requires_grad_(), _draw(3, 3, seed=1).requires_grad_()

    def carry(source: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return bridge.carry(
            lambda t, x: torch.tanh(x @ weight) + t, source, n_steps=3, generator=_seed(1)
        )

    assert torch.autograd.gradcheck(carry, (source, weight))


def test_loss_is_the_squared_error_in_either_unit(bridge) -> None:
    source, target = _draw(2, 40, 3)
    step = bridge.draw_steps((40,), _seed(1))
    point = bridge.sample(source, target, step, _seed(2))
    predicted = _draw(40, 3, seed=4)
    plain = ((predicted - point.residual) ** 2).sum() / 120
    torch.testing.assert_close(compute_bridge_loss(predicted, point), plain)
    estimate = bridge.estimate_target(point.x_t, predicted, step)
    torch.testing.assert_close(
        compute_bridge_loss(predicted, point, weight="target"), ((estimate - target) ** 2).mean()
    )


def test_a_linear_network_learns_the_gaussian_case(bridge) -> None:
    """Least squares on the training target finds the conditional mean."""
    source = _draw(N_CELLS, 1)
    target = SHIFT + SLOPE * source + SPREAD * _draw(N_CELLS, 1, seed=1)
    point = bridge.sample(source, target, torch.tensor(400), _seed(2))
    features = torch.cat([point.x_t, source, torch.ones_like(source)], dim=1)
    learned = features @ torch.linalg.lstsq(features, point.residual).solution
    exact = _make_gaussian_network(bridge, source)(torch.tensor(0.4), point.x_t)
    error = point.residual.std() * math.sqrt(3 / N_CELLS)
    assert (learned - exact).square().mean().sqrt() <= 3 * error


def test_unknown_weights_are_answered_with_the_known(bridge) -> None:
    point = bridge.sample(_draw(2, 1), _draw(2, 1), torch.tensor(3))
    with pytest.raises(ValueError, match="'snr'; choose one of residual, target"):
        compute_bridge_loss(point.residual, point, weight="snr")


@pytest.mark.parametrize("steps", [(3, 3), (3, 4), (1001, 3), (3, -1)])
def test_moves_that_do_not_fall_are_refused(bridge, steps) -> None:
    x = _draw(2, 1)
    with pytest.raises(ValueError, match=r"pass two falling numbers from 1000 to 0"):
        bridge.move(x, x, steps)
