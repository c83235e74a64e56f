import pytest
import torch

from scbig.nn._precision import in_full_precision


@in_full_precision
def multiply(
    x: torch.Tensor, factor: torch.Tensor | None = None, *, power: int = 1
) -> torch.Tensor:
    """Multiply."""
    return torch.linalg.matrix_power(x if factor is None else x @ factor, power)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_widened_and_autocast_kept_out(
    dtype: torch.dtype, expected: torch.dtype
):
    x = torch.tensor([[1.0, 1 / 3], [0.0, 1.0]], dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = multiply(x, x, power=2)
    assert y.dtype == expected
    torch.testing.assert_close(y, torch.linalg.matrix_power(x.to(expected), 4))


def test_what_is_no_tensor_passes():
    assert torch.equal(multiply(torch.eye(2), None), torch.eye(2))


def test_the_name_stays():
    assert (multiply.__name__, multiply.__doc__) == ("multiply", "Multiply.")
