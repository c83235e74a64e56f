"""The marginal error of a batch is that of its worst problem."""

import pytest
import torch

from scbig.ot import entropic_plan


def test_one_bad_problem_is_not_averaged_away() -> None:
    rng = torch.Generator().manual_seed(0)
    # Rows that all cost the same are at their marginals at once.
    easy = torch.rand(1, 6, dtype=torch.float64, generator=rng).expand(3, 6, 6)
    hard = torch.rand(1, 6, 6, dtype=torch.float64, generator=rng)
    options = {"epsilon": 0.01, "n_iter": 3, "tol": 0.0}
    alone = [entropic_plan(cost, **options).marginal_error for cost in (easy[0], hard[0])]
    assert alone[0] < 1e-9 < 0.01 < alone[1]
    whole = entropic_plan(torch.cat([easy, hard]), **options)
    assert whole.marginal_error == pytest.approx(alone[1])
    # A tolerance between the mean of the errors and the largest of them is not kept.
    lenient = entropic_plan(torch.cat([easy, hard]), **options | {"tol": 0.5 * alone[1]})
    assert not lenient.is_converged
