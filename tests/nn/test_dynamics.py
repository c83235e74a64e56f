import math

import numpy as np
import pytest
import torch
from torch import nn

from scbig.flow import integrate
from scbig.nn import MLP, BridgeNet, FourierTime, GeometricTime, VelocityNet


@pytest.fixture
def net() -> VelocityNet:
    return VelocityNet(3, 5, hidden=(16, 8), zero_last=False)


def test_the_parts_are_joined_in_order(net) -> None:
    t, z, condition = torch.rand(4), torch.randn(4, 3), torch.randn(4, 5)
    time, latent = net.time(t), net.latent(z)
    torch.testing.assert_close(
        net(t, z, condition), net.velocity(torch.cat([time, latent, condition], 1))
    )
    # The branch of the point ends in an activation, that of the time in a linear layer.
    linear = net.latent[0](z)
    torch.testing.assert_close(latent, linear * linear.sigmoid())
    features, (first, _, last) = net.time
    hidden = features(t) @ first.weight.T + first.bias
    hidden = hidden * hidden.sigmoid()
    torch.testing.assert_close(time, hidden @ last.weight.T + last.bias)


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


def test_dropout_follows_the_activations_of_point_and_join_and_spares_the_time() -> None:
    net = VelocityNet(3, 5, hidden=(16, 8), dropout=0.5, zero_last=False)

    def list_kinds(part: nn.Module) -> list[type]:
        kinds = [type(layer) for layer in part.modules()]
        return [kind for kind in kinds if kind not in (nn.Sequential, MLP)]

    hidden = [nn.Linear, nn.SiLU, nn.Dropout]
    assert list_kinds(net.latent) == 2 * hidden
    assert list_kinds(net.velocity) == [*(2 * hidden), nn.Linear]
    assert list_kinds(net.time) == [FourierTime, nn.Linear, nn.SiLU, nn.Linear]


def test_any_features_of_time_serve() -> None:
    net = VelocityNet(3, 5, hidden=(16,), zero_last=False, time=GeometricTime(6))
    t, z, condition = torch.rand(4), torch.randn(4, 3), torch.randn(4, 5)
    joined = [net.time[1](GeometricTime(6)(t)), net.latent(z), condition]
    torch.testing.assert_close(net(t, z, condition), net.velocity(torch.cat(joined, dim=1)))


def _make(**sizes: int) -> BridgeNet:
    torch.manual_seed(0)
    net = BridgeNet(3, 5, **({"width": 8, "n_blocks": 2} | sizes))
    for parameter in net.end.parameters():
        torch.nn.init.normal_(parameter)
    return net.eval()


def test_an_untrained_net_says_that_all_have_arrived() -> None:
    x = torch.randn(4, 3)
    found = BridgeNet(3, 5)(torch.tensor(0.5), x, x, torch.randn(5))
    assert torch.equal(found, torch.zeros(4, 3))


def test_a_scalar_time_and_one_condition_serve_all_points() -> None:
    net, x, source, condition = _make(), torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.randn(5)
    found = net(torch.tensor(0.3), x, source, condition)
    spread = net(torch.full((2, 4), 0.3), x, source, condition.expand(2, 4, 5))
    torch.testing.assert_close(found, spread)
    torch.testing.assert_close(
        found[1, 2], net(torch.tensor(0.3), x[1, 2], source[1, 2], condition)
    )


def test_time_source_and_condition_matter() -> None:
    net, x, source, condition = _make(), torch.randn(6, 3), torch.randn(6, 3), torch.randn(6, 5)
    t = torch.full((6,), 0.3)
    found = net(t, x, source, condition)
    for other in (
        net(t + 0.1, x, source, condition),
        net(t, x + 1, source, condition),
        net(t, x, source + 1, condition),
        net(t, x, source, condition + 1),
    ):
        assert (found - other).abs().max() > 1e-3


def test_a_block_with_closed_gates_passes_its_input() -> None:
    net = _make(n_blocks=1)
    for parameter in net.blocks[0].modulate.parameters():
        torch.nn.init.zeros_(parameter)
    x, source = torch.randn(6, 3), torch.randn(6, 3)
    start = net.start(torch.cat([x, source], dim=-1))
    found = net(torch.tensor(0.1), x, source, torch.randn(5))
    torch.testing.assert_close(found, net.end(net.norm(start)))


def test_gradients_reach_every_weight() -> None:
    net = _make()
    net(torch.rand(6), torch.randn(6, 3), torch.randn(6, 3), torch.randn(6, 5)).sum().backward()
    lacking = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert lacking == []


def test_mlp_is_its_layers_in_turn() -> None:
    mlp = MLP((3, 5, 4, 2))
    x = torch.randn(7, 3)
    first, second, last = (layer for layer in mlp if isinstance(layer, nn.Linear))
    hidden = x @ first.weight.T + first.bias
    hidden = hidden * hidden.sigmoid() @ second.weight.T + second.bias
    expected = hidden * hidden.sigmoid() @ last.weight.T + last.bias
    torch.testing.assert_close(mlp(x), expected)


def test_mlp_without_hidden_layers_is_linear() -> None:
    assert [type(layer) for layer in MLP((3, 2), dropout=0.5)] == [nn.Linear]


def test_activation_and_dropout_follow_each_hidden_layer() -> None:
    kinds = [type(layer) for layer in MLP((3, 5, 2), activation=nn.GELU, dropout=0.1)]
    assert kinds == [nn.Linear, nn.GELU, nn.Dropout, nn.Linear]


def test_zero_last_returns_zeros_and_still_learns() -> None:
    mlp = MLP((3, 5, 2), zero_last=True)
    y = mlp(torch.randn(4, 3))
    assert torch.equal(y, torch.zeros(4, 2))
    y.sum().backward()
    assert mlp[-1].weight.grad.abs().sum() > 0


def test_mlp_needs_two_widths() -> None:
    with pytest.raises(ValueError, match=r"widths is \(3,\)"):
        MLP((3,))


def test_features_are_sines_then_cosines() -> None:
    t = np.array([0.0, 0.3, 1.0])
    angle = np.outer(t, math.pi * np.array([1, 2, 3]))
    expected = np.hstack([np.sin(angle), np.cos(angle)])
    features = FourierTime(6)(torch.tensor(t, dtype=torch.float32))
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-6)


def test_shape_follows_the_times_and_the_ends_differ() -> None:
    features = FourierTime(8)
    assert features(torch.tensor(0.5)).shape == (8,)
    assert features(torch.rand(2, 3)).shape == (2, 3, 8)
    start, end = features(torch.tensor([0.0, 1.0]))
    assert (start - end).abs().max() == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("features", [FourierTime, GeometricTime])
def test_odd_dim_is_refused(features) -> None:
    with pytest.raises(ValueError, match="dim is 5"):
        features(5)


@pytest.mark.parametrize("n", [4, 16])
def test_geometric_features_are_cosines_then_sines_from_ten_thousand_down(n: int) -> None:
    t = np.array([0.0, 0.3, 1.0])
    angle = np.outer(1e4 * t, 1e4 ** -(np.arange(n // 2) / (n // 2)))
    expected = np.hstack([np.cos(angle), np.sin(angle)])
    features = GeometricTime(n)(torch.tensor(t, dtype=torch.float32))
    assert features.shape == (3, n)
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-3)
