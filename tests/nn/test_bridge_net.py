import torch

from scbig.nn import BridgeNet


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
