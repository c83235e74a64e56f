import pytest
import torch

from scbig.flow import LinearPath


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
