import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scbig.nn import ssd_kernel, ssd_scan

Inputs = tuple[torch.Tensor, ...]
N_STATES = 3


def make_inputs(
    length: int, *, n_batch: int = 2, n_heads: int = 2, dtype: torch.dtype = torch.float64
) -> Inputs:
    x = torch.randn(n_batch, length, n_heads, 4, dtype=dtype)
    dt = 0.5 * torch.rand(n_batch, length, n_heads, dtype=dtype)
    rate = -3 * torch.rand(n_heads, dtype=dtype) - 0.1
    b, c = torch.randn(2, n_batch, length, N_STATES, dtype=dtype)
    return x, dt, rate, b, c


def scan_step_by_step(x: torch.Tensor, *others: torch.Tensor) -> np.ndarray:
    x, dt, rate, b, c = (tensor.detach().numpy() for tensor in (x, *others))
    y = np.zeros_like(x)
    for i, head in np.ndindex(x.shape[0], x.shape[2]):
        state = np.zeros((x.shape[3], b.shape[2]))
        for t in range(x.shape[1]):
            state *= np.exp(rate[head] * dt[i, t, head])
            state += dt[i, t, head] * np.outer(x[i, t, head], b[i, t])
            y[i, t, head] = state @ c[i, t]
    return y


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 64, 70])
@pytest.mark.parametrize("n_chunk", [1, 3, 8, 100])
def test_ssd_is_the_recurrence_at_any_length(length: int, n_chunk: int):
    inputs = make_inputs(length)
    y = ssd_scan(*inputs, n_chunk=n_chunk)
    np.testing.assert_allclose(y, scan_step_by_step(*inputs), rtol=1e-10, atol=1e-12)


def test_ssd_carries_states_over_more_than_one_level_of_chunks():
    inputs = make_inputs(1_500, n_batch=1, n_heads=1)  # 1,500 chunks of one, cut by 32 twice
    y = ssd_scan(*inputs, n_chunk=1)
    np.testing.assert_allclose(y, scan_step_by_step(*inputs), rtol=1e-9, atol=1e-11)


def test_ssd_in_single_precision_is_close_to_the_recurrence_in_double():
    inputs = make_inputs(500, dtype=torch.float32)
    y = ssd_scan(*inputs)
    assert y.dtype == torch.float32
    expected = scan_step_by_step(*(tensor.double() for tensor in inputs))
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_ssd_of_nothing_is_nothing(shape: tuple[int, int]):
    n_batch, length = shape
    y = ssd_scan(*make_inputs(length, n_batch=n_batch))
    assert y.shape == (n_batch, length, 2, 4)


@pytest.mark.parametrize(("length", "n_chunk"), [(5, 2), (6, 3), (9, 1)])
def test_ssd_has_the_right_gradient(length: int, n_chunk: int):
    inputs = tuple(tensor.requires_grad_() for tensor in make_inputs(length))
    assert torch.autograd.gradcheck(lambda *args: ssd_scan(*args, n_chunk=n_chunk), inputs)


def test_ssd_gradient_survives_decays_that_overflow_when_reversed():
    x, dt, rate, b, c = make_inputs(50, dtype=torch.float32)
    inputs = [tensor.requires_grad_() for tensor in (x, 1e3 * (1 + dt), rate, b, c)]
    y = ssd_scan(*inputs)
    y.sum().backward()
    # Nothing outlives a step, so only the own input is read.
    own = inputs[1].unsqueeze(-1) * x * (b * c).sum(-1)[..., None, None]
    torch.testing.assert_close(y, own, rtol=1e-4, atol=1e-2)
    assert all(tensor.grad.isfinite().all() for tensor in inputs)


def test_ssd_in_single_precision_keeps_short_steps_between_long_ones():
    x, dt, rate, b, c = make_inputs(64, dtype=torch.float32)
    dt = torch.where(torch.arange(64).unsqueeze(-1) % 8 == 0, 1e3, 0.01 * dt)
    y = ssd_scan(x, dt, rate, b, c)
    expected = scan_step_by_step(*(tensor.double() for tensor in (x, dt, rate, b, c)))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_ssd_widens_half_precision(dtype: torch.dtype):
    inputs = [tensor.to(dtype) for tensor in make_inputs(100)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ssd_scan(*inputs)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, ssd_scan(*(tensor.float() for tensor in inputs)))


def test_ssd_kernel_is_the_scan_as_a_matrix():
    x, dt, rate, b, c = make_inputs(11)
    kernel = ssd_kernel(dt, rate, b, c)
    assert kernel.shape == (2, 2, 11, 11)
    assert torch.equal(kernel, kernel.tril())
    y = torch.einsum("bhts,bshp->bthp", kernel, x)
    torch.testing.assert_close(y, ssd_scan(x, dt, rate, b, c, n_chunk=4))


def test_ssd_kernel_of_some_sources_is_those_columns():
    _, *selected = make_inputs(11)
    sources = torch.tensor([7, 0, 7])
    torch.testing.assert_close(
        ssd_kernel(*selected, sources), ssd_kernel(*selected)[..., sources], rtol=0, atol=0
    )


def test_ssd_refuses_an_empty_chunk():
    with pytest.raises(ValueError, match="n_chunk is 0; pass a chunk of 1"):
        ssd_scan(*make_inputs(4), n_chunk=0)


def test_ssd_costs_products_linear_in_the_length():
    flops = [count_flops(length) for length in (1_024, 2_048, 4_096)]
    assert flops[0] > 0
    assert flops[1] / flops[0] == pytest.approx(2.0, rel=0.02)
    assert flops[2] / flops[1] == pytest.approx(2.0, rel=0.02)


def count_flops(length: int) -> int:
    inputs = [tensor.requires_grad_() for tensor in make_inputs(length, n_batch=1)]
    with FlopCounterMode(display=False) as counter:
        ssd_scan(*inputs).sum().backward()
    return counter.get_total_flops()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_ssd_gives_the_same_on_cuda():
    inputs = make_inputs(70)
    torch.testing.assert_close(
        ssd_scan(*(tensor.cuda() for tensor in inputs)).cpu(), ssd_scan(*inputs)
    )
