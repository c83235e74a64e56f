from dataclasses import replace

import numpy as np
import pytest
import torch

from scbig.model import SCBIGConfig
from scbig.model.scbig._condition import FlowCondition
from scbig.model.scbig._module import FlowSizes, SCBIGModule
from scbig.nn import add_change

N_GENES, N_LATENT = 12, 6


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 1])


@pytest.fixture
def module(config: SCBIGConfig, labels: torch.Tensor) -> SCBIGModule:
    torch.manual_seed(1)
    return _make(config, labels)


def _make(config: SCBIGConfig, labels: torch.Tensor) -> SCBIGModule:
    sizes = FlowSizes(n_targets=4, n_contexts=2, n_embedding=5)
    return SCBIGModule(labels, torch.randn(3, 5), torch.rand(N_GENES), sizes, config).eval()


def _condition(n: int = 2, n_targets: int = 3) -> FlowCondition:
    return FlowCondition(
        target=torch.randint(4, (n, n_targets)),
        is_seen=torch.ones(n, n_targets, dtype=torch.bool),
        embedding=torch.randn(n, n_targets, 5),
        mask=torch.ones(n, n_targets, dtype=torch.bool),
        context=torch.zeros(n, dtype=torch.int64),
        anchor=torch.randn(n, N_LATENT),
    )


def _train_a_little(module: SCBIGModule) -> None:
    """Give every vector that starts at zero a value."""
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.3)


def test_a_fall_of_expression_reaches_the_mean_and_leaves_zeros(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.gamma(0.3, size=(50, 4)) * (rng.random((50, 4)) < 0.4))
    mean = x.mean(0)
    change = torch.tensor([-0.5, -1.0, -3.0, 0.25], dtype=x.dtype) * mean
    changed = add_change(x, change, mean)
    expected = torch.stack([0.5 * mean[0], 0 * mean[1], 0 * mean[2], 1.25 * mean[3]])
    torch.testing.assert_close(changed.mean(0), expected)
    assert (changed >= 0).all()
    assert (changed[:, :3][x[:, :3] == 0] == 0).all()


def test_velocity_is_the_anchor_before_training(module: SCBIGModule) -> None:
    condition = _condition()
    vector = module.condition(condition)
    velocity = module.get_velocity(
        torch.rand(2), torch.randn(2, N_LATENT), vector, condition.anchor
    )
    torch.testing.assert_close(velocity, condition.anchor, rtol=0, atol=0)


def test_residual_decoding_before_training_is_control_plus_anchor(module: SCBIGModule) -> None:
    x, effect = torch.rand(2, 7, N_GENES), torch.rand(2, N_GENES)
    z = module.encode(x.flatten(0, 1)).unflatten(0, (2, 7))
    predicted = module.predict_cells(x, z, _condition(), effect, x.mean(1))
    torch.testing.assert_close(predicted, x + effect.unsqueeze(1), rtol=0, atol=1e-5)


def test_no_expected_change_returns_the_control_cells(module: SCBIGModule) -> None:
    x, nothing = torch.rand(2, 7, N_GENES), torch.zeros(2, N_GENES)
    condition = _condition()._replace(anchor=torch.zeros(2, N_LATENT))
    predicted = module.predict_cells(
        x, module.encode(x.flatten(0, 1)).unflatten(0, (2, 7)), condition, nothing, x.mean(1)
    )
    torch.testing.assert_close(predicted, x, rtol=0, atol=0)


@pytest.mark.parametrize("decoding", ["residual", "direct"])
def test_the_expected_gene_effect_plays_no_part_without_anchor(
    config: SCBIGConfig, labels: torch.Tensor, decoding: str
) -> None:
    module = _make(replace(config, use_anchor=False, decoding=decoding), labels)
    x, z, condition = torch.rand(2, 7, N_GENES), torch.randn(2, 7, N_LATENT), _condition()
    with_effect = module.predict_cells(x, z, condition, torch.ones(2, N_GENES), x.mean(1))
    without = module.predict_cells(x, z, condition, torch.zeros(2, N_GENES), x.mean(1))
    torch.testing.assert_close(with_effect, without, rtol=0, atol=0)


def test_direct_decoding_is_the_decoded_end_of_the_flow(
    config: SCBIGConfig, labels: torch.Tensor
) -> None:
    module = _make(replace(config, use_anchor=False, decoding="direct"), labels)
    z, condition = torch.randn(2, 7, N_LATENT), _condition()
    end = module.transport(z, condition)
    expected = torch.stack([module.decode(cells) for cells in end]).clamp(min=0)
    unused = torch.full((2, N_GENES), float("nan"))
    predicted = module.predict_cells(torch.rand(2, 7, N_GENES), z, condition, unused, unused)
    torch.testing.assert_close(predicted, expected)


def test_set_latent_scale_standardises_and_leaves_the_decoded_cells(module: SCBIGModule) -> None:
    x = torch.rand(200, N_GENES)
    before = module.decode(module.encode(x))
    for _ in range(2):  # once more, as when the autoencoder is trained again
        z = module.encode(x).detach().numpy()
        module.set_latent_scale(z.mean(axis=0), z.std(axis=0))
        z = module.encode(x).detach().numpy()
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-4)
    torch.testing.assert_close(module.decode(module.encode(x)), before, rtol=0, atol=1e-4)


def test_encode_takes_the_gene_mean_off_and_decode_adds_it(module: SCBIGModule) -> None:
    x, z = torch.rand(3, N_GENES), torch.randn(3, N_LATENT)
    mean = torch.rand(N_GENES)
    encoded, decoded = module.encoder(x - mean), module.decoder(z) + mean
    module.set_gene_mean(mean.numpy())
    torch.testing.assert_close(module.encode(x), encoded)
    torch.testing.assert_close(module.decode(z), decoded)


def test_condition_vector_depends_on_neither_order_nor_padding(module: SCBIGModule) -> None:
    _train_a_little(module)
    condition = _condition()
    vector = module.condition(condition)
    order = torch.tensor([2, 0, 1])
    turned = {
        name: getattr(condition, name)[:, order]
        for name in ("target", "is_seen", "embedding", "mask")
    }
    torch.testing.assert_close(module.condition(condition._replace(**turned)), vector)
    padded = condition._replace(
        target=torch.cat([condition.target, torch.ones(2, 2, dtype=torch.int64)], dim=1),
        is_seen=torch.cat([condition.is_seen, torch.ones(2, 2, dtype=torch.bool)], dim=1),
        embedding=torch.cat([condition.embedding, torch.full((2, 2, 5), 9.0)], dim=1),
        mask=torch.cat([condition.mask, torch.zeros(2, 2, dtype=torch.bool)], dim=1),
    )
    torch.testing.assert_close(module.condition(padded), vector)


def test_a_zero_embedding_is_a_target_and_not_padding(module: SCBIGModule) -> None:
    _train_a_little(module)
    one = _condition(1, 1)
    two = one._replace(
        target=torch.cat([one.target, one.target], dim=1),
        is_seen=torch.tensor([[True, False]]),
        embedding=torch.cat([one.embedding, torch.zeros(1, 1, 5)], dim=1),
        mask=torch.ones(1, 2, dtype=torch.bool),
    )
    assert not torch.allclose(module.condition(one), module.condition(two), atol=1e-4)


def test_unseen_targets_and_contexts_have_no_vector_of_their_own(module: SCBIGModule) -> None:
    _train_a_little(module)
    condition = _condition()._replace(is_seen=torch.zeros(2, 3, dtype=torch.bool))
    other = condition._replace(target=(condition.target + 1) % 4)
    torch.testing.assert_close(module.condition(condition), module.condition(other))
    unknown = module.condition(condition._replace(context=torch.tensor([-1, -1])))
    known = module.condition(condition)
    expected = module.condition.context.weight[0].expand(2, -1)
    torch.testing.assert_close(known - unknown, expected)


def test_extend_keeps_vectors_and_the_random_state(module: SCBIGModule) -> None:
    _train_a_little(module)
    condition, own = _condition(), module.condition.own.weight.detach().clone()
    vector, state = module.condition(condition), torch.get_rng_state()
    module.condition.extend(6, 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(module.condition(condition), vector)
    torch.testing.assert_close(module.condition.own.weight[:4], own)
    assert not module.condition.own.weight[4:].any()
    assert module.condition.context.weight.shape == (3, 8)
    assert module.condition.own.weight.requires_grad


def test_both_solvers_agree(config: SCBIGConfig, labels: torch.Tensor) -> None:
    heun = _make(replace(config, n_solver_steps=40), labels)
    _train_a_little(heun)
    adaptive = _make(replace(config, solver="dopri5"), labels)
    adaptive.load_state_dict(heun.state_dict())
    z, condition = torch.randn(2, 5, N_LATENT), _condition()
    torch.testing.assert_close(
        heun.transport(z, condition), adaptive.transport(z, condition), rtol=0, atol=1e-2
    )
