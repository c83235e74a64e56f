from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from scbig.model.dualstream import DualStreamConfig
from scbig.model.dualstream._module import DualStreamModule
from scbig.model.dualstream._networks import StreamCondition
from scbig.nn import compute_block_influence

Make = Callable[..., DualStreamModule]


@pytest.fixture
def cells() -> torch.Tensor:
    return torch.rand(3, 7, generator=torch.Generator().manual_seed(2))


# --- tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "n_genes", "expected"),
    [({}, 100, 1), ({}, 129, 2), ({}, 2000, 16), ({"genes_per_token": 1}, 16_000, 1)],
)
def test_genes_of_a_token(settings: dict, n_genes: int, expected: int) -> None:
    assert DualStreamConfig(**settings).get_token_size(n_genes) == expected


# --- perturbations ----------------------------------------------------------------------------


def test_messages_are_those_of_the_formula(make_module: Make, condition: StreamCondition) -> None:
    module = make_module()
    net, token = module.perturbation, module.patches.token
    message = net(condition, token)
    for b in range(3):
        targets = [j for j in range(3) if condition.mask[b, j]]
        own = {
            j: net.own[condition.target[b, j]] if condition.target[b, j] >= 0 else 0
            for j in targets
        }
        said = {j: net.project(condition.embedding[b, j]) + own[j] for j in targets}
        for i in range(4):
            expected = torch.zeros(8)
            for j in targets:
                expected += (1 + net.place[i] @ condition.embedding[b, j]) / 2 * said[j]
                gene = condition.gene[b, j]
                if gene >= 0 and token[gene] == i:
                    expected += net.here
            for j, k in combinations(targets, 2):
                expected += net.pair(said[j] * said[k])
            if condition.context[b] >= 0:
                expected += net.context[condition.context[b]]
            torch.testing.assert_close(message[b, i], expected)


def test_the_order_of_targets_and_padding_do_not_matter(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor
) -> None:
    module = make_module()
    effect = module.forward_cells(cells, condition).effect
    turned = [
        part.flip(1) if name in ("gene", "target", "embedding", "mask") else part
        for name, part in condition._asdict().items()
    ]
    torch.testing.assert_close(
        module.forward_cells(cells, StreamCondition(*turned)).effect, effect
    )
    pair = condition.select(torch.tensor([1]))
    short = [
        part[:, :2] if name in ("gene", "target", "embedding", "mask") else part
        for name, part in pair._asdict().items()
    ]
    alone = module.forward_cells(cells[1:2], StreamCondition(*short)).effect
    torch.testing.assert_close(alone, effect[1:2])


def test_pairs_have_a_term_that_singles_lack(
    make_module: Make, condition: StreamCondition
) -> None:
    module = make_module()
    token = module.patches.token
    before = module.perturbation(condition, token)
    module.perturbation.pair[-1].bias.data += 1.0
    change = module.perturbation(condition, token) - before
    n_pairs = torch.tensor([0.0, 1, 3]).view(3, 1, 1).expand_as(change)
    torch.testing.assert_close(change, n_pairs)


def test_a_forgotten_target_has_no_vector_of_its_own(condition: StreamCondition) -> None:
    groups = [("a",), ("b", "c"), ("a", "c", "d")]
    forgotten = condition.forget(groups, ["a", "c", "d"])
    assert forgotten.target.tolist() == [[-1, -1, -1], [0, -1, -1], [1, -1, -1]]
    assert condition.target[0, 0] == 1


def test_extension_keeps_the_vectors_and_adds_none(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor
) -> None:
    module = make_module()
    net, names = module.perturbation, list(module.state_dict())
    own, context = net.own.detach().clone(), net.context.detach().clone()
    effect = module.forward_cells(cells, condition).effect
    net.extend(6, 3)
    assert list(module.state_dict()) == names
    assert {"perturbation.own", "perturbation.context"} <= dict(module.named_parameters()).keys()
    assert (net.own.shape, net.context.shape) == ((6, 8), (3, 8))
    assert torch.equal(net.own[:4], own)
    assert torch.equal(net.context[:2], context)
    assert not net.own[4:].any()
    assert not net.context[2:].any()
    assert torch.equal(module.forward_cells(cells, condition).effect, effect)
    new = condition._replace(target=condition.target.where(condition.target >= 0, 5))
    new = new._replace(context=new.context.where(new.context >= 0, 2))
    torch.testing.assert_close(module.forward_cells(cells, new).effect, effect)


# --- the whole --------------------------------------------------------------------------------


def test_an_untrained_module_predicts_its_anchor(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor, small: DualStreamConfig
) -> None:
    anchored = make_module(is_fresh=True)
    torch.testing.assert_close(anchored.forward_cells(cells, condition).effect, condition.effect)
    free = make_module(replace(small, use_anchor=False), is_fresh=True)
    assert not free.forward_cells(cells, condition).effect.any()
    changed = anchored.predict_cells(cells, condition, anchored.mean)
    assert (changed >= 0).all()
    assert not torch.equal(changed, cells)


def test_every_gene_hears_of_every_other(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor
) -> None:
    module = make_module()
    inside = cells.clone().requires_grad_()
    effect = module.forward_cells(inside, condition).effect
    for gene in range(7):
        (gradient,) = torch.autograd.grad(effect[0, gene], inside, retain_graph=True)
        assert (gradient[0] != 0).all()
        assert not gradient[1:].any()


@pytest.mark.parametrize("use_statistics", [True, False])
def test_all_weights_are_trained(
    make_module: Make,
    condition: StreamCondition,
    cells: torch.Tensor,
    small: DualStreamConfig,
    use_statistics: bool,
) -> None:
    module = make_module(replace(small, use_statistics=use_statistics))
    noise = torch.ones(3, 3) if use_statistics else None
    output = module.forward_cells(cells, condition, noise)
    assert (output.posterior is not None) == use_statistics
    loss = output.effect.square().mean() + output.reconstruction + module.log_sigma.sum()
    (loss + module.forward_shapes(cells, condition).square().mean()).backward()
    lacking = [name for name, weight in module.named_parameters() if weight.grad is None]
    assert not lacking


def test_shapes_start_at_nothing_and_leave_the_streams_alone(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor
) -> None:
    assert not make_module(is_fresh=True).forward_shapes(cells, condition).any()
    module = make_module()
    deviation = module.forward_shapes(cells, condition)
    deviation.square().sum().backward()
    trained = {name for name, w in module.named_parameters() if w.grad is not None}
    assert trained == {name for name, _ in module.named_parameters() if name.startswith("shape.")}
    # Cells that are alike but for one gene differ, and so do conditions.
    other = cells.clone()
    other[:, 0] += 1
    assert not torch.allclose(module.forward_shapes(other, condition), deviation)
    turned = condition.select(torch.tensor([1, 2, 0]))
    assert not torch.allclose(module.forward_shapes(cells, turned), deviation)


def test_noise_moves_the_effect_through_the_posterior(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor
) -> None:
    module = make_module()
    plain = module.forward_cells(cells, condition)
    still = module.forward_cells(cells, condition, torch.zeros(3, 3))
    moved = module.forward_cells(cells, condition, torch.ones(3, 3))
    torch.testing.assert_close(still.effect, plain.effect)
    assert not torch.allclose(moved.effect, plain.effect)
    z = plain.posterior.sample(torch.ones(3, 3))
    torch.testing.assert_close(
        z, plain.posterior.mean + torch.sqrt(torch.exp(plain.posterior.log_variance))
    )


def test_the_reconstruction_is_that_of_the_verbs_of_scvi(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor
) -> None:
    module = make_module()
    _, generative, loss = module({"X": cells})
    standard = (generative["x"] - cells) / module.std
    # The filled-up place of the last token counts as zero in the one, and not in the other.
    padded = module.forward_cells(cells, condition).reconstruction * 8
    extra = module.cell(module.statistical(module.inference(cells)["z"]))[:, -1, -1]
    error = padded - extra.square().mean()
    torch.testing.assert_close(error / 7, standard.square().mean())
    assert loss.loss > 0.5 * standard.square().mean()


def test_a_module_without_statistics_has_no_latent(
    make_module: Make, cells: torch.Tensor, small: DualStreamConfig
) -> None:
    module = make_module(replace(small, use_statistics=False))
    with pytest.raises(ValueError, match=r"no statistical stream.*use_statistics=True"):
        module.inference(cells)


def test_taking_a_token_out_is_taking_out_what_it_says(
    make_module: Make, condition: StreamCondition, cells: torch.Tensor
) -> None:
    """By hand: zero channels and message of the token, and drop the target that it holds."""
    module = make_module()
    one = condition.select(torch.tensor([1]))  # genes 0 and 5, in tokens 1 and 2
    effect = module.forward_without(cells[:1], one, torch.tensor([0, 2]))
    for row, (token, dropped) in enumerate([(0, None), (2, 1)]):
        mask = one.mask.clone()
        if dropped is not None:
            mask[0, dropped] = False
        channels, message = module.get_biological_input(cells[:1], one._replace(mask=mask))
        channels[:, token], message[:, token] = 0, 0
        expected = module._finish(cells[:1], one, channels, message).effect
        torch.testing.assert_close(effect[row], expected[0])


def test_the_influence_of_blocks_is_their_mean(make_module: Make, small: DualStreamConfig) -> None:
    blocks = make_module(replace(small, n_blocks=2)).biological.blocks
    tokens = torch.randn(1, 4, 8)
    first, second = blocks
    with torch.no_grad():
        expected = (first.compute_influence(tokens) + second.compute_influence(first(tokens))) / 2
        torch.testing.assert_close(compute_block_influence(blocks, tokens), expected)
