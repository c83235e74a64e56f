"""Two samples of the real conditions, made into a pair for each context."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.metrics._pair import Pair
from scbig.metrics._real import Real
from scbig.metrics._samples import Sample
from scbig.metrics._setting import Setting

ALL_TARGETS = "this condition perturbs every gene: none is left to compare"
_KEY, _CONTROL = "condition", "control"


def make_pairs(setting: Setting, real: Sample, predicted: Sample) -> Iterator[Pair]:
    """Make a pair for each context.

    Parameters
    ----------
    setting
        What is the same for all predictions.
    real, predicted
        The two samples of all conditions.

    Yields
    ------
    The pairs, in the order of the conditions.
    """
    for context, block in setting.real.get_blocks():
        mask = setting.real.target_mask[block]
        is_all = np.all(mask, axis=1)
        yield Pair(
            real=real.mean[block],
            predicted=predicted.mean[block],
            control=setting.real.control[context],
            target_mask=mask & ~is_all[:, None],
            reference=setting.reference.mean.get(context),
            weights=None if setting.weights is None else setting.weights[block],
            real_cells=real.points[block],
            predicted_cells=predicted.points[block],
            make_tests=partial(make_tests, setting.real, real, predicted, context, block),
            problems={
                "real": real.problems[block],
                "predicted": predicted.problems[block],
                "weights": setting.weight_problems[block],
                "target_mask": [ALL_TARGETS if everything else "" for everything in is_all],
            },
        )


def make_tests(
    real: Real, one: Sample, other: Sample, context: str, block: slice
) -> tuple[AnnData, AnnData, str, str]:
    """Make what tests on the cells of a context take.

    Parameters
    ----------
    real
        The real side, for its controls.
    one, other
        The real and the predicted sample.
    context
        The context.
    block
        Where its conditions stand.

    Returns
    -------
    Both sides with the same real controls, labelled by the number of the condition in the
    context; the column of labels, and the label of the controls. Conditions that one side lacks
    are left out of both.
    """
    problems = zip(one.problems[block], other.problems[block], strict=True)
    chosen = [i for i, texts in enumerate(problems) if not any(texts)]
    controls = real.side.expression.rows(real.side.groups[(), context])
    sides = [_stack(sample, block, chosen, controls, real.side.genes) for sample in (one, other)]
    return sides[0], sides[1], _KEY, _CONTROL


def _stack(
    sample: Sample, block: slice, chosen: list[int], controls: np.ndarray, genes: Sequence[str]
) -> AnnData:
    rows = [sample.rows[block][i] for i in chosen]
    sizes = [len(controls), *map(len, rows)]
    labels = np.repeat([_CONTROL, *map(str, chosen)], sizes)
    cells = sample.expression.rows(np.concatenate([np.empty(0, dtype=np.int64), *rows]))
    return AnnData(
        np.concatenate([controls, cells]),
        obs=pd.DataFrame({_KEY: labels}, index=[f"cell_{i}" for i in range(len(labels))]),
        var=pd.DataFrame(index=list(genes)),
    )
