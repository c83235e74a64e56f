import numpy as np
import pytest
import torch

from scbig.nn._linear_scan import linear_scan


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
