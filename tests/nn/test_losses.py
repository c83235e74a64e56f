import math

import numpy as np
import pytest
import torch
from torch import nn

from scbig.nn import AlignmentLoss, MambaBlock, compute_info_nce, split_weight_decay


def _compute_info_nce(left: np.ndarray, right: np.ndarray, temperature: float) -> float:
    """Row by row in NumPy, from the definition."""
    n, total = len(left), 0.0
    for near, far in ((left, right), (right, left)):
        for k in range(n):
            cosines = [
                near[k] @ far[j] / np.linalg.norm(near[k]) / np.linalg.norm(far[j])
                for j in range(n)
            ]
            odds = np.exp(np.array(cosines) / temperature)
            total -= math.log(odds[k] / odds.sum())
    return total / (2 * n)


@pytest.fixture
def alignment() -> AlignmentLoss:
    return AlignmentLoss(4, 6, dim=5).double()


def _draw(n_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n_rows, 4).double(), torch.randn(n_rows, 6).double()


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_info_nce_agrees_with_numpy(n, temperature) -> None:
    left, right = torch.randn(2, n, 5, dtype=torch.float64)
    expected = _compute_info_nce(left.numpy(), right.numpy(), temperature)
    assert compute_info_nce(left, right, temperature).item() == pytest.approx(expected, abs=1e-12)


def test_info_nce_of_known_cases() -> None:
    same, apart = torch.ones(4, 3), torch.eye(4)
    assert compute_info_nce(same, same, 0.1).item() == pytest.approx(math.log(4))
    expected = math.log(1 + 3 * math.exp(-10))
    assert compute_info_nce(apart, 7 * apart, 0.1).item() == pytest.approx(expected, rel=1e-3)
    assert compute_info_nce(same[:1], apart[:1, :3], 0.1).item() == 0


def test_info_nce_has_no_side_and_no_order() -> None:
    left, right = torch.randn(2, 7, 5)
    expected, order = compute_info_nce(left, right, 0.1), torch.randperm(7)
    torch.testing.assert_close(compute_info_nce(right, left, 0.1), expected)
    torch.testing.assert_close(compute_info_nce(left[order], right[order], 0.1), expected)


def test_loss_compares_the_projections_of_the_means(alignment) -> None:
    condition, effect = _draw(6)
    label = torch.tensor([30, 7, 30, 12, 7, 30])
    rows = [[1, 4], [3], [0, 2, 5]]
    means = [[x[r].mean(0) for r in rows] for x in (condition, effect)]
    left = alignment.project_condition(torch.stack(means[0])).detach().numpy()
    right = alignment.project_effect(torch.stack(means[1])).detach().numpy()
    expected = _compute_info_nce(left, right, 0.07)
    assert alignment(condition, effect, label).item() == pytest.approx(expected, rel=1e-6)


def test_repeats_change_nothing(alignment) -> None:
    condition, effect = _draw(5)
    label = torch.arange(5)
    again = torch.tensor([0, 1, 2, 3, 4, 2, 2, 0])
    torch.testing.assert_close(
        alignment(condition[again], effect[again], label[again]),
        alignment(condition, effect, label),
    )


def test_order_and_names_of_the_labels_do_not_matter(alignment) -> None:
    condition, effect = _draw(6)
    label, order = torch.tensor([0, 1, 2, 2, 1, 3]), torch.randperm(6)
    expected = alignment(condition, effect, label)
    renamed = torch.tensor([50, -3, 8, 0])[label]
    torch.testing.assert_close(alignment(condition, effect, renamed), expected)
    torch.testing.assert_close(alignment(condition[order], effect[order], label[order]), expected)


def test_one_perturbation_has_nothing_to_differ_from(alignment) -> None:
    condition, effect = _draw(3)
    loss = alignment(condition, effect, torch.zeros(3, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.abs().max() < 1e-12 for p in alignment.parameters())


def test_gradients_reach_both_sides_and_the_temperature(alignment) -> None:
    condition, effect = (x.requires_grad_() for x in _draw(4))
    alignment(condition, effect, torch.tensor([0, 1, 2, 1])).backward()
    for leaf in (condition, effect, *alignment.parameters()):
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().sum() > 0


def test_no_effect_at_all_leaves_gradients_finite(alignment) -> None:
    condition, _ = _draw(4)
    effect = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    alignment(condition, effect, torch.arange(4)).backward()
    assert effect.grad.abs().max() < 1e3


@pytest.mark.parametrize("temperature", [0.02, 0.07, 1.0])
def test_temperature_starts_where_it_is_told(temperature) -> None:
    loss = AlignmentLoss(4, 6, temperature=temperature)
    assert loss.temperature.item() == pytest.approx(temperature)


def test_temperature_stays_above_its_bound_and_still_learns(alignment) -> None:
    with torch.no_grad():
        alignment.log_excess.fill_(-15.0)
    loss = alignment(*_draw(4), torch.arange(4))
    loss.backward()
    assert 0.01 < alignment.temperature.item() < 0.0101
    assert alignment.log_excess.grad.abs() > 0


def test_training_finds_the_pairs() -> None:
    alignment, condition = AlignmentLoss(4, 6, dim=8), torch.randn(12, 4)
    effect = torch.tanh(condition @ torch.randn(4, 6))
    optimiser = torch.optim.Adam(alignment.parameters(), lr=0.03)
    before = alignment(condition, effect, torch.arange(12)).item()
    for _ in range(60):
        optimiser.zero_grad()
        loss = alignment(condition, effect, torch.arange(12))
        loss.backward()
        optimiser.step()
    assert before > 1.5
    assert loss.item() < 0.2


def test_a_temperature_at_the_bound_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature is 0\.01; pass a number above 0\.01"):
        AlignmentLoss(4, 6, temperature=0.01)


def test_rates_and_skips_of_every_mixer_are_spared():
    module = nn.Sequential(MambaBlock(4), nn.Linear(4, 4), MambaBlock(4, kind="s6"))
    decayed, spared = split_weight_decay(module, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    names = {name_of[id(parameter)] for parameter in spared["params"]}
    assert names == {
        f"{block}.mixers.{i}.{name}"
        for block in (0, 2)
        for i in (0, 1)
        for name in ("log_rate", "skip")
    }
    together = [*decayed["params"], *spared["params"]]
    assert len(together) == len({id(p) for p in together}) == len(name_of)


def test_an_optimiser_takes_the_groups():
    module = MambaBlock(4, is_bidirectional=False)
    before = module.mixers[0].log_rate.detach().clone()
    optimiser = torch.optim.AdamW(split_weight_decay(module, 1.0), lr=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight = module.mixers[0].project_out.weight.detach().clone()
    optimiser.step()
    assert torch.equal(module.mixers[0].log_rate, before)
    torch.testing.assert_close(module.mixers[0].project_out.weight, 0.9 * weight)


def test_the_temperature_of_an_alignment_is_spared():
    module = nn.Sequential(nn.Linear(4, 4), AlignmentLoss(4, 4))
    decayed, spared = split_weight_decay(module, 0.1)
    assert [id(p) for p in spared["params"]] == [id(module[1].log_excess)]
    assert len(decayed["params"]) == 6


def test_frozen_parts_and_a_part_that_is_left_out_are_in_no_group():
    module = nn.Sequential(nn.Linear(4, 4), MambaBlock(4), nn.Linear(4, 4))
    module[0].requires_grad_(False)
    decayed, spared = split_weight_decay(module, 0.1, without=module[1])
    assert [id(p) for p in decayed["params"]] == [id(p) for p in module[2].parameters()]
    assert spared["params"] == []
