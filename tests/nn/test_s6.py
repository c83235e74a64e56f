import numpy as np
import pytest
import torch

from scbig.nn import s6_kernel, s6_scan
from scbig.nn._s6 import linear_scan

Inputs = tuple[torch.Tensor, ...]
N_CHANNELS, N_STATES = 4, 3


def make_inputs(length: int, *, n_batch: int = 2, dtype: torch.dtype = torch.float64) -> Inputs:
    x = torch.randn(n_batch, length, N_CHANNELS, dtype=dtype)
    dt = 0.5 * torch.rand(n_batch, length, N_CHANNELS, dtype=dtype)
    rate = -3 * torch.rand(N_CHANNELS, N_STATES, dtype=dtype) - 0.1
    b, c = torch.randn(2, n_batch, length, N_STATES, dtype=dtype)
    return x, dt, rate, b, c


def scan_step_by_step(x: torch.Tensor, *others: torch.Tensor) -> np.ndarray:
    x, dt, rate, b, c = (tensor.detach().numpy() for tensor in (x, *others))
    y = np.zeros_like(x)
    for i in range(x.shape[0]):
        state = np.zeros(rate.shape)
        for t in range(x.shape[1]):
            state *= np.exp(dt[i, t, :, None] * rate)
            state += (dt[i, t] * x[i, t])[:, None] * b[i, t]
            y[i, t] = state @ c[i, t]
    return y


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 70])
@pytest.mark.parametrize("n_chunk", [1, 3, 8, 100])
def test_s6_is_the_recurrence_at_any_length(length: int, n_chunk: int):
    inputs = make_inputs(length)
    y = s6_scan(*inputs, n_chunk=n_chunk)
    np.testing.assert_allclose(y, scan_step_by_step(*inputs), rtol=1e-10, atol=1e-12)


def test_s6_in_single_precision_is_close_to_the_recurrence_in_double():
    inputs = make_inputs(500, dtype=torch.float32)
    y = s6_scan(*inputs)
    assert y.dtype == torch.float32
    expected = scan_step_by_step(*(tensor.double() for tensor in inputs))
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_s6_of_nothing_is_nothing(shape: tuple[int, int]):
    n_batch, length = shape
    assert s6_scan(*make_inputs(length, n_batch=n_batch)).shape == (*shape, N_CHANNELS)


@pytest.mark.parametrize(("length", "n_chunk"), [(4, 2), (5, 3), (3, 8)])
def test_s6_has_the_right_gradient(length: int, n_chunk: int):
    inputs = tuple(tensor.requires_grad_() for tensor in make_inputs(length))
    assert torch.autograd.gradcheck(lambda *args: s6_scan(*args, n_chunk=n_chunk), inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_s6_widens_half_precision(dtype: torch.dtype):
    inputs = [tensor.to(dtype) for tensor in make_inputs(100)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = s6_scan(*inputs)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, s6_scan(*(tensor.float() for tensor in inputs)))


def test_s6_remembers_only_the_inputs_for_the_gradient():
    inputs = [tensor.requires_grad_() for tensor in make_inputs(4_000, n_batch=1)]
    n_saved = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal n_saved
        n_saved += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        s6_scan(*inputs, n_chunk=100)
    # Of the states only those at the borders of chunks are kept.
    n_starts = (1 + 4_000 // 100) * N_CHANNELS * N_STATES
    assert n_saved == sum(tensor.numel() for tensor in inputs) + n_starts


def test_s6_kernel_is_the_scan_as_a_matrix():
    x, dt, rate, b, c = make_inputs(11)
    kernel = s6_kernel(dt, rate, b, c)
    assert kernel.shape == (2, N_CHANNELS, 11, 11)
    assert torch.equal(kernel, kernel.tril())
    y = torch.einsum("bets,bse->bte", kernel, x)
    torch.testing.assert_close(y, s6_scan(x, dt, rate, b, c, n_chunk=4))


def test_s6_kernel_of_some_sources_is_those_columns():
    _, *selected = make_inputs(11)
    sources = torch.tensor([7, 0, 7])
    torch.testing.assert_close(
        s6_kernel(*selected, sources), s6_kernel(*selected)[..., sources], rtol=0, atol=0
    )


def test_s6_kernel_survives_times_that_overflow_when_reversed():
    _, dt, rate, b, c = make_inputs(11, dtype=torch.float32)
    kernel = s6_kernel(1e4 * dt, rate, b, c)
    own = 1e4 * (dt * (b * c).sum(-1, keepdim=True)).transpose(1, 2)
    torch.testing.assert_close(kernel, torch.diag_embed(own), rtol=1e-4, atol=1e-4)


def test_s6_refuses_an_empty_chunk():
    with pytest.raises(ValueError, match="n_chunk is 0; pass a chunk of 1"):
        s6_scan(*make_inputs(4), n_chunk=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_s6_gives_the_same_on_cuda():
    inputs = make_inputs(70)
    y = s6_scan(*(tensor.cuda() for tensor in inputs)).cpu()
    torch.testing.assert_close(y, s6_scan(*inputs))


@pytest.fixture(params=[1, 2, 6])
def inputs(request: pytest.FixtureRequest) -> tuple[torch.Tensor, ...]:
    shape = (request.param, 2, 3)
    decay, x = torch.rand(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    start = torch.randn(shape[1:], dtype=torch.float64)
    return tuple(tensor.requires_grad_() for tensor in (decay, x, start))


def test_linear_scan_is_the_recurrence(inputs: tuple[torch.Tensor, ...]):
    states = linear_scan(*inputs).detach().numpy()
    decay, x, state = (tensor.detach().numpy() for tensor in inputs)
    for t in range(len(x)):
        state = decay[t] * state + x[t]
        np.testing.assert_allclose(states[t], state, rtol=1e-14)


def test_linear_scan_has_the_right_first_and_second_gradients(inputs: tuple[torch.Tensor, ...]):
    assert torch.autograd.gradcheck(linear_scan, inputs)
    assert torch.autograd.gradgradcheck(linear_scan, inputs)


def test_linear_scan_leaves_its_inputs_alone(inputs: tuple[torch.Tensor, ...]):
    before = [tensor.detach().clone() for tensor in inputs]
    linear_scan(*inputs)
    assert all(torch.equal(old, new) for old, new in zip(before, inputs, strict=True))


def test_linear_scan_is_one_node_however_long():
    states = linear_scan(torch.rand(50, 2), torch.rand(50, 2, requires_grad=True), torch.zeros(2))
    [parent] = [node for node, _ in states.grad_fn.next_functions if node is not None]
    assert parent.name() == "torch::autograd::AccumulateGrad"
