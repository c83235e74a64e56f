import math

import numpy as np
import pytest
import torch

from scbig.flow import BridgeSchedule, make_bridge_schedule


def _compute_betas(n_grid: int, beta_max: float) -> np.ndarray:
    """The formula of the source in NumPy, for an even number of steps."""
    ramp = np.linspace(math.sqrt(1e-4), math.sqrt(beta_max / n_grid), n_grid) ** 2
    half = ramp[: n_grid // 2]
    return np.concatenate([half, half[::-1]])


@pytest.mark.parametrize("beta_max", [0.3, 1.0])
def test_betas_follow_the_source(beta_max) -> None:
    schedule = make_bridge_schedule(beta_max=beta_max)
    np.testing.assert_allclose(schedule.betas, _compute_betas(1000, beta_max), rtol=1e-12)


def test_tables_are_sums_over_the_two_sides_of_a_step() -> None:
    betas = torch.tensor([1.0, 2.0, 4.0])
    schedule = BridgeSchedule(betas)
    assert schedule.n_grid == 3
    assert schedule.from_target.tolist() == [0, 1, 3, 7]
    assert schedule.from_source.tolist() == [7, 6, 4, 0]
    expected = [math.sqrt(s * (7 - s) / 7) for s in (0, 1, 3, 7)]
    np.testing.assert_allclose(schedule.std, expected)
    np.testing.assert_allclose(schedule.sigma, np.sqrt([0, 1, 3, 7]))
    np.testing.assert_allclose(schedule.share, np.array([0, 1, 3, 7]) / 7)


def test_ends_are_exact() -> None:
    schedule = make_bridge_schedule()
    assert schedule.share[0] == schedule.std[0] == schedule.std[-1] == 0
    assert schedule.share[-1] == 1


@pytest.mark.parametrize("n_grid", [99, 100, 1000])
def test_noise_depends_on_the_scale_and_hardly_on_the_grid(n_grid) -> None:
    assert make_bridge_schedule(n_grid).std.max() == pytest.approx(0.187, abs=2e-3)
    scaled = make_bridge_schedule(n_grid, scale=5.0)
    torch.testing.assert_close(scaled.std, 5 * make_bridge_schedule(n_grid).std)


@pytest.mark.parametrize("n_grid", [2, 7, 10])
def test_the_schedule_is_its_own_mirror_image(n_grid) -> None:
    schedule = make_bridge_schedule(n_grid)
    torch.testing.assert_close(schedule.betas.flip(0), schedule.betas, rtol=0, atol=0)
    torch.testing.assert_close(schedule.std.flip(0), schedule.std)
    assert int(schedule.betas.argmax()) in {(n_grid - 1) // 2, n_grid // 2}


@pytest.mark.parametrize("n_steps", range(1, 13))
def test_grid_falls_evenly_from_source_to_target(n_steps) -> None:
    grid = make_bridge_schedule(12).get_grid(n_steps)
    gaps = -np.diff(grid)
    assert (len(grid), grid[0], grid[-1]) == (n_steps + 1, 12, 0)
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("n_steps", [0, 13])
def test_grids_beyond_the_schedule_are_refused(n_steps) -> None:
    with pytest.raises(ValueError, match=f"n_steps is {n_steps}; pass 1 to 12"):
        make_bridge_schedule(12).get_grid(n_steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_grid": 1}, "n_grid is 1; pass 2 or more"),
        ({"beta_max": 0.0}, r"beta_max is 0\.0; pass a positive"),
        ({"scale": -1.0}, r"scale is -1\.0; pass a positive"),
    ],
)
def test_impossible_schedules_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_bridge_schedule(**arguments)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_betas_must_be_positive_numbers(bad) -> None:
    with pytest.raises(ValueError, match="not positive and finite"):
        BridgeSchedule(torch.tensor([1.0, bad]))


@pytest.mark.parametrize("shape", [(), (0,), (2, 2)])
def test_betas_are_one_row(shape) -> None:
    with pytest.raises(ValueError, match=r"betas has shape .*; pass \(N,\)"):
        BridgeSchedule(torch.ones(shape))
