import pytest
import torch

from scbig.flow import integrate
from scbig.nn import VelocityNet


@pytest.fixture
def net() -> VelocityNet:
    return VelocityNet(3, 5, hidden=(16, 8), zero_last=False)


def test_the_parts_are_joined_in_order(net) -> None:
    t, z, condition = torch.rand(4), torch.randn(4, 3), torch.randn(4, 5)
    time, latent = net.time(t), net.latent(z)
    joined = torch.cat([time * time.sigmoid(), latent * latent.sigmoid(), condition], dim=1)
    torch.testing.assert_close(net(t, z, condition), net.velocity(joined))


def test_time_and_condition_broadcast(net) -> None:
    z, condition = torch.randn(2, 4, 3), torch.randn(2, 1, 5)
    expected = torch.stack(
        [net(torch.full((4,), 0.3), z[i], condition[i].expand(4, -1)) for i in range(2)]
    )
    torch.testing.assert_close(net(torch.tensor(0.3), z, condition), expected)
    torch.testing.assert_close(net(torch.full((2, 4), 0.3), z, condition), expected)


def test_it_starts_at_rest_so_that_the_flow_is_the_identity() -> None:
    net, z = VelocityNet(3, 5, hidden=(16,)), torch.randn(4, 3)
    condition = torch.randn(4, 5)
    moved = integrate(lambda t, x: net(t, x, condition), z, n_steps=4)
    assert torch.equal(moved, z)


def test_gradients_reach_every_parameter_through_the_flow(net) -> None:
    condition = torch.randn(4, 5, requires_grad=True)
    integrate(lambda t, x: net(t, x, condition), torch.randn(4, 3), n_steps=3).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert condition.grad.abs().sum() > 0


def test_a_hidden_layer_is_needed() -> None:
    with pytest.raises(ValueError, match="hidden is empty"):
        VelocityNet(3, 5, hidden=())


def test_dropout_acts_in_training_only() -> None:
    net = VelocityNet(3, 5, hidden=(16,), dropout=0.5, zero_last=False)
    args = torch.rand(4), torch.randn(4, 3), torch.randn(4, 5)
    assert not torch.equal(net(*args), net(*args))
    net.eval()
    assert torch.equal(net(*args), net(*args))
