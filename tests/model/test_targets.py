"""What can be asked of a model is listed, and other names are answered by the nearest."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import infer_schema
from scbig.model import EffectRegression
from scbig.splits import Split, assign_split


def simulate_lines() -> AnnData:
    """Two lines with the same conditions; C never alone, and three of eight genes perturbed."""
    labels = np.repeat(["control", "A", "B", "A+B", "B+C"], 8)
    obs = pd.DataFrame({"perturbation": [*labels, *labels], "line": np.repeat(["x", "y"], 40)})
    obs.index = [f"cell{i}" for i in range(80)]
    names = ["A", "B", "C", *(f"G{i}" for i in range(5))]
    x = np.random.default_rng(3).gamma(2.0, 0.5, (80, 8)).astype(np.float32)
    return AnnData(x, obs=obs, var=pd.DataFrame(index=names))


def test_what_can_be_asked_is_listed_and_unknown_names_are_answered():
    screen = simulate_lines()
    EffectRegression.setup_anndata(screen, context_keys=["line"])
    model = EffectRegression(screen)
    with pytest.raises(RuntimeError, match="has not been trained"):
        model.get_targets()
    model.train()
    found = model.get_targets()
    assert found["known"].to_dict() == {
        **{"A": "alone", "B": "alone", "C": "combination"},
        **{f"G{i}": "embedding" for i in range(5)},
    }
    assert found.loc["A", "n_conditions"] == 2
    assert found["is_gene"].all()
    # All that is listed can be asked for.
    assert model.predict_effects(list(found.index)).n_obs == 2 * len(found)
    asks = model.get_confidence, model.predict_effects, lambda w: model.predict(perturbations=w)
    for ask in asks:
        message = r"known of .*\['g1'\].* Did you mean 'G1'\? "
        with pytest.raises(ValueError, match=message) as error:
            ask(["g1"])
        for way_out in ("get_targets()", "gene_key='...'", "aliases=", "missing_embedding='mean'"):
            assert way_out in str(error.value)
    with pytest.raises(ValueError, match=r"These are Ensembl ids, and the known ones symbols\. "):
        model.predict(perturbations=["ENSG00000105610"])


@pytest.mark.parametrize("label", ["a+B", "A+b"])
def test_conditions_to_hold_out_are_answered_too(label):
    screen = simulate_lines()
    EffectRegression.setup_anndata(screen, context_keys=["line"])
    with pytest.raises(ValueError, match=r"no perturbed cells: .* Did you mean 'A\+B'\? Choose"):
        EffectRegression(screen).train(validation=[label])
    split = Split("mine", "custom", 0, (("A", "b"),), ())
    with pytest.raises(ValueError, match=r"no cells: A\+b .* Did you mean 'A\+B'\? Check"):
        assign_split(screen, split, infer_schema(screen))
