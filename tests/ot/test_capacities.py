import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from scbig.ot import balanced_capacities, round_to_capacities


def _round_by_hand(plan: np.ndarray, capacities: np.ndarray, cost: np.ndarray) -> list[int]:
    """Every entry in turn: falling mass, rising cost, then position."""
    entries = [(-plan[g, k], cost[g, k], g, k) for g, k in np.ndindex(plan.shape)]
    labels, room = [-1] * len(plan), list(capacities)
    for _, _, g, k in sorted(entries):
        if labels[g] < 0 and room[k] > 0:
            labels[g] = k
            room[k] -= 1
    return labels


def test_balanced_capacities_give_the_remainder_to_the_largest() -> None:
    assert balanced_capacities(11, [1, 5, 3, 2]).tolist() == [2, 3, 3, 3]
    assert balanced_capacities(9, [1, 5, 3, 2]).tolist() == [2, 3, 2, 2]
    assert balanced_capacities(5, [2, 2, 2]).tolist() == [2, 2, 1]
    assert balanced_capacities(2, [1, 1, 9]).tolist() == [1, 0, 1]


@given(st.integers(0, 500), st.lists(st.integers(0, 100), min_size=1, max_size=40))
def test_balanced_capacities_add_up(n_items: int, sizes: list[int]) -> None:
    capacities = balanced_capacities(n_items, sizes)
    assert capacities.sum() == n_items
    assert np.ptp(capacities) <= 1


def test_balanced_capacities_need_a_cluster() -> None:
    with pytest.raises(ValueError, match="Cannot place 3 items"):
        balanced_capacities(3, [])


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 25),
    st.integers(1, 6),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_rounding_takes_every_entry_in_turn(
    n_items: int, n_clusters: int, n_values: int, is_balanced: bool, seed: int
) -> None:
    # Few distinct values: most choices are ties.
    rng = np.random.default_rng(seed)
    plan, cost = rng.integers(0, n_values, (2, n_items, n_clusters)).astype(float)
    if is_balanced:
        capacities = balanced_capacities(n_items, np.ones(n_clusters))
    else:
        capacities = rng.multinomial(n_items, rng.dirichlet(np.ones(n_clusters)))
    labels = round_to_capacities(plan, capacities, cost)
    assert labels.tolist() == _round_by_hand(plan, capacities, cost)
    assert np.bincount(labels, minlength=n_clusters).tolist() == capacities.tolist()


def test_cost_breaks_ties() -> None:
    plan = np.full((2, 2), 0.25)
    cost = np.array([[2.0, 3.0], [1.0, 3.0]])
    assert round_to_capacities(plan, [1, 1], cost).tolist() == [1, 0]


def test_rounding_at_the_size_of_a_transcriptome_is_exact() -> None:
    plan, cost = np.random.default_rng(0).random((2, 20_000, 32)) ** 4
    capacities = balanced_capacities(20_000, np.arange(32))
    labels = round_to_capacities(plan, capacities, cost)
    assert np.bincount(labels).tolist() == capacities.tolist()
    # No exchange of an item for a better entry is open: the mark of taking entries in turn.
    mass = plan[np.arange(20_000), labels]
    worst = np.array([mass[labels == k].min() for k in range(32)])
    assert not ((plan > mass[:, None]) & (plan > worst)).any()


def test_rounding_of_nothing() -> None:
    assert round_to_capacities(np.empty((0, 3)), [0, 0, 0], np.empty((0, 3))).shape == (0,)


def test_rounding_refuses_what_cannot_fit() -> None:
    plan = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"add up to 4 .* 3 items; use balanced_capacities"):
        round_to_capacities(plan, [2, 2], plan)
    with pytest.raises(ValueError, match=r"add up to 3 \(smallest -1\)"):
        round_to_capacities(plan, [4, -1], plan)
    with pytest.raises(ValueError, match=r"cost \(2, 2\)"):
        round_to_capacities(plan, [2, 1], plan[:2])
    with pytest.raises(ValueError, match="NaN"):
        round_to_capacities(plan * np.nan, [2, 1], plan)
