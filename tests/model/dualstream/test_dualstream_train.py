import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from scbig.model.base import Fold, score_effects

from scbig.baselines import NearestCondition
from scbig.data import compute_effects, make_screen, simulate_screen
from scbig.model import DualStreamConfig, DualStreamMamba
from scbig.model.dualstream._groups import make_groups

Fit = Callable[..., DualStreamMamba]


def _get_weights(model: DualStreamMamba) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def test_a_tenth_of_the_conditions_is_held_out_and_learned_at_the_end(
    fit_small: Fit, screen: AnnData
) -> None:
    refitted = fit_small(screen)
    assert len(refitted._fitted.effects) == 20
    assert refitted.comparison_.n_conditions == 2
    assert refitted.history_["networks_validation_score"].shape == (4, 1)
    kept = fit_small(screen, train={"use_refit": False})
    assert len(kept._fitted.effects) == 18
    for name, value in _get_weights(kept).items():
        assert torch.equal(value, refitted.module.state_dict()[name]), name


def test_another_seed_gives_other_weights_and_the_users_state_stays(
    fit_small: Fit, screen: AnnData
) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first, second = (fit_small(screen, seed=seed) for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(
        first.module.biological.project.weight, second.module.biological.project.weight
    )


def test_networks_that_do_not_help_are_left_out(
    fit_small: Fit, screen: AnnData, small: DualStreamConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        model = fit_small(screen, config=replace(small, learning_rate=0.0))
    assert not model.uses_networks
    assert "left out: no gain beyond chance" in caplog.text
    targets = model._fitted.effects.targets[:3]
    effect = model._fitted.predict(targets, np.zeros(3, dtype=int))
    out = model.get_predicted_expression(perturbations=["+".join(t) for t in targets], n_cells=40)
    cells = out.reshape(4, 40, -1)
    rise = effect > 0
    shift = (cells[1:] - cells[0]).mean(1)
    np.testing.assert_allclose(shift[rise], effect[rise], atol=1e-5)


def test_without_an_anchor_the_networks_predict(
    fit_small: Fit, screen: AnnData, small: DualStreamConfig
) -> None:
    model = fit_small(screen, config=replace(small, use_anchor=False), train={"max_steps": 0})
    assert model.uses_networks
    assert model.comparison_.score == 0  # nothing was learned, and no change scores nothing
    trained = fit_small(
        screen, config=replace(small, use_anchor=False, n_steps=40, learning_rate=0.02)
    )
    assert trained.comparison_.score > 0.1


def test_with_nothing_held_out_the_regression_predicts_alone(
    fit_small: Fit, screen: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        model = fit_small(screen, train={"validation": []})
    assert "the regression predicts alone" in caplog.text
    assert not model.uses_networks
    assert model.comparison_ is None
    assert model.history_ == {}
    insisted = fit_small(screen, train={"validation": [], "max_steps": 2})
    assert insisted.uses_networks
    assert insisted._n_steps == 2


def test_training_goes_on_from_the_present_weights(fit_small: Fit, screen: AnnData) -> None:
    model = fit_small(screen)
    before = _get_weights(model)["biological.project.weight"]
    model.train(max_steps=2, accelerator="cpu", use_progress_bar=False)
    after = model.module.biological.project.weight
    assert 0 < (after - before).abs().max() < 0.1
    assert model._n_steps == 6
    assert len(model.history_["networks_validation_score"]) == 6


def test_a_context_that_is_new_is_refused(fit_small: Fit, screen: AnnData, tmp_path: Path) -> None:
    setup = {"context_keys": "batch"}
    fit_small(screen[screen.obs["batch"] == "batch_1"].copy(), setup).save(tmp_path / "m")
    loaded = DualStreamMamba.load(tmp_path / "m", screen)
    with pytest.raises(ValueError, match=r"contexts \['batch_1'\].*\['batch_2'\] too"):
        loaded.train()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["GENE9999"], "1 validation condition"),
        (["control"], r"no perturbed cells: \['control'\]"),
    ],
)
def test_conditions_that_cannot_be_held_out(
    fit_small: Fit, screen: AnnData, given: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_small(screen, train={"validation": given})


def test_groups_are_anchored_as_if_unseen(dual: DualStreamMamba, targets: list[str]) -> None:
    blueprint, anchor = dual._blueprint, dual._fitted
    expression, rng = dual._read(dual.adata), np.random.default_rng(0)
    fold = Fold(expression, make_screen(dual.adata.obs, dual._schema, dual._contexts), frozenset())
    both = make_groups(blueprint, fold, anchor, [], rng)
    n = len(anchor.effects)
    assert len(both.perturbed) == 2 * n
    np.testing.assert_allclose(
        both.condition.effect[:n], anchor.leave_one_out().astype(np.float32), atol=1e-6
    )
    is_forgotten = (both.condition.target[n:] < 0) & both.condition.mask[n:]
    assert (is_forgotten.sum(1) == 1).all()
    seen = make_groups(blueprint, fold, anchor, [(targets[0],)], rng)
    assert len(seen.perturbed) == n
    assert ((seen.condition.target >= 0) == seen.condition.mask).all()
    effects = compute_effects(expression, fold.screen)
    means = [expression.rows(rows).mean(0) for rows in seen.perturbed]
    control = seen.control_mean.numpy()
    np.testing.assert_allclose(means - control, effects.delta, atol=1e-5)


def test_no_change_scores_zero(dual: DualStreamMamba) -> None:
    effects = dual._fitted.effects
    scores = score_effects(np.vstack([0 * effects.delta[:1], effects.delta[1:]]), effects)
    assert scores[0] == 0
    np.testing.assert_allclose(scores[1:], 1, atol=1e-5)


@pytest.mark.slow
def test_networks_learn_interactions_that_sums_miss() -> None:
    """On simulated pairs and triples the default beats sums and its own regression."""
    adata = simulate_screen(
        6000, 120, n_programs=6, n_targets=16, n_doubles=60, n_triples=60, seed=1
    )
    DualStreamMamba.setup_anndata(adata)
    model = DualStreamMamba(adata, config=DualStreamConfig(max_tokens=40, n_steps=300))
    model.train(accelerator="cpu", use_progress_bar=False)
    assert model.uses_networks
    assert model.comparison_.margin > 0.02
    assert model.comparison_.floors[NearestCondition.default_key] < model.comparison_.score
