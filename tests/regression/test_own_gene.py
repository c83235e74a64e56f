"""The line of the own gene against least squares with one row for each prior."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from scbig.data import Effects
from scbig.regression._denoised import OwnGeneEffect, fit_own_gene

GENES = ("A", "B", "C", "D")
# Conditions of one measured gene come first; E is not measured.
TARGETS = (("A",), ("B",), ("C",), ("A",), ("E",), ("A", "B"), ("D", "E"))
CONTEXT = np.array([0, 0, 1, 1, 0, 0, 1])


@pytest.fixture
def effects(rng: np.random.Generator) -> Effects:
    delta = rng.normal(size=(len(TARGETS), len(GENES)))
    return Effects(
        targets=TARGETS,
        context=CONTEXT,
        delta=delta,
        n_cells=np.full(len(TARGETS), 30),
        control_mean=rng.gamma(2.0, 0.5, size=(2, len(GENES))),
        variance=np.ones_like(delta),
    )


def test_line_is_least_squares_with_a_row_for_each_prior(effects: Effects):
    columns = [GENES.index(target) for (target,) in TARGETS[:4]]
    before = effects.control_mean[CONTEXT[:4], columns]
    after = effects.delta[range(4), columns]
    design = np.vstack(
        [np.column_stack([np.ones(4), before]), np.diag(np.sqrt([0.5, 2.0]))],
    )
    expected, *_ = np.linalg.lstsq(design, np.append(after, [0, 0]), rcond=None)
    own = fit_own_gene(effects, GENES)
    np.testing.assert_allclose([own.intercept, own.slope], expected, rtol=1e-10)
    assert own.genes == GENES


def test_combinations_and_unmeasured_targets_do_not_count(effects: Effects):
    all_rows, singles = fit_own_gene(effects, GENES), fit_own_gene(effects.subset(range(4)), GENES)
    assert (all_rows.intercept, all_rows.slope) == (singles.intercept, singles.slope)


@pytest.mark.parametrize("rows", [[4, 6], [5], []])
def test_without_a_measured_single_the_effect_is_zero(effects: Effects, rows: list[int]):
    own = fit_own_gene(effects.subset(np.array(rows, dtype=int)), GENES)
    assert (own.intercept, own.slope) == (0, 0)
    predicted = own.predict(TARGETS, effects.get_control(CONTEXT))
    np.testing.assert_array_equal(predicted, np.zeros((len(TARGETS), len(GENES))))


@pytest.mark.parametrize(("intercept", "slope"), [(0.1, -0.8), (1.5, -0.4)])
def test_a_line_through_many_genes_is_found(
    rng: np.random.Generator, intercept: float, slope: float
):
    """Knock-down takes most of what is there; activation adds where little is there."""
    genes = [f"G{i}" for i in range(400)]
    before = rng.gamma(2.0, 0.5, size=400)
    delta = np.diag(intercept + slope * before + 0.1 * rng.normal(size=400))
    effects = Effects(
        tuple((gene,) for gene in genes),
        np.zeros(400, dtype=int),
        delta,
        np.full(400, 30),
        before[None],
        np.ones_like(delta),
    )
    own = fit_own_gene(effects, genes)
    assert own.intercept == pytest.approx(intercept, abs=0.03)
    assert own.slope == pytest.approx(slope, abs=0.03)


def test_prediction_is_the_line_at_the_expression_of_the_context():
    own = OwnGeneEffect(intercept=0.2, slope=-0.5, genes=GENES)
    control = np.array([[1.0, 2.0, 3.0, 0.0], [4.0, 1.0, 0.5, 2.0]])
    targets = [("A",), ("A",), ("B", "C"), ("D", "E"), ("E",), ()]
    predicted = own.predict(targets, control[[0, 1, 0, 1, 0, 1]])
    expected = [
        [0.2 - 0.5, 0, 0, 0],
        [0.2 - 2.0, 0, 0, 0],
        [0, 0.2 - 1.0, 0.2 - 1.5, 0],
        [0, 0, 0, 0.2 - 1.0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    np.testing.assert_allclose(predicted, expected, atol=1e-12)


@pytest.mark.parametrize("context", [2, -1])
def test_an_unknown_context_has_the_mean_expression(effects: Effects, context: int):
    own = OwnGeneEffect(intercept=0.2, slope=-0.5, genes=GENES)
    means = np.array([[1.0, 2.0, 3.0, 0.0], [4.0, 1.0, 0.5, 2.0]])
    control = replace(effects, control_mean=means).get_control(np.array([context, 0]))
    predicted = own.predict([("A",), ("C",)], control)
    np.testing.assert_allclose(predicted[:, [0, 2]], [[0.2 - 1.25, 0], [0, 0.2 - 1.5]], atol=1e-12)


@given(
    intercept=st.floats(-5, 5),
    slope=st.floats(-5, 5),
    before=st.lists(st.floats(0, 10), min_size=4, max_size=4),
)
def test_no_more_is_taken_than_is_there(intercept: float, slope: float, before: list[float]):
    own = OwnGeneEffect(intercept, slope, GENES)
    control = np.array([before])
    predicted = own.predict([GENES], control)[0]
    line = intercept + slope * control[0]
    assert (control[0] + predicted >= 0).all()
    np.testing.assert_array_equal(predicted, np.where(line < -control[0], -control[0], line))


def test_without_genes_nothing_is_predicted(effects: Effects):
    """Features that are no genes: zero effects of the shape of the features."""
    own = fit_own_gene(effects, ())
    predicted = own.predict(TARGETS, effects.get_control(CONTEXT))
    np.testing.assert_array_equal(predicted, np.zeros((len(TARGETS), len(GENES))))
