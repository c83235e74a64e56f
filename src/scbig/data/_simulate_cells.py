"""Cells of a simulated screen: conditions, batches, and counts."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from scbig.data._simulate_effects import Circuit

_ACTIVITY = 0.55  # spread of a program's log activity over cells
_BATCH = 0.1  # spread of a gene's log rate over batches
_DEPTH = np.log(4000.0)  # median counts of a cell
_SHAPE = 3.0  # gamma shape: variance = mean + mean^2 / shape
_DROPOUT_MIDPOINT = np.log(0.4)  # expected count at which every second value is lost


@dataclass(frozen=True)
class CellPlan:
    """Condition and batch of each cell.

    Parameters
    ----------
    condition
        Index of the condition, ``(N,)``; -1 for control cells.
    batch
        Index of the batch, ``(N,)``.
    n_batches
        Number of batches.
    """

    condition: np.ndarray
    batch: np.ndarray
    n_batches: int


def draw_cell_plan(
    n_cells: int, n_conditions: int, n_batches: int, control_share: float, rng: np.random.Generator
) -> CellPlan:
    """Deal cells out to conditions of unequal size, each spread over all batches."""
    n_control = round(n_cells * control_share)
    n_even = max(n_batches, (n_cells - n_control) // (2 * n_conditions))
    n_rest = n_cells - n_control - n_even * n_conditions
    sizes = n_even + rng.multinomial(n_rest, rng.dirichlet(np.full(n_conditions, 5.0)))
    condition = np.repeat(np.arange(-1, n_conditions), [n_control, *sizes])
    order = rng.permutation(n_cells)
    # Dealt in turn over the sorted conditions, a condition's batches differ by one cell at most.
    batch = np.arange(n_cells) % n_batches
    return CellPlan(condition=condition[order], batch=batch[order], n_batches=n_batches)


def draw_counts(
    circuit: Circuit, effects: np.ndarray, plan: CellPlan, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Draw counts of all cells.

    Parameters
    ----------
    circuit
        Genes and programs.
    effects
        Log fold changes of each condition, ``(C, G)``.
    plan
        Condition and batch of each cell.
    rng
        Source of randomness.

    Returns
    -------
    scipy.sparse.csr_matrix
        Whole numbers as float32, ``(N, G)``.
    """
    rate = _draw_rates(circuit, effects, plan, rng)
    lost = special.expit(1.5 * (_DROPOUT_MIDPOINT - np.log(rate)))
    counts = rng.poisson(rng.gamma(_SHAPE, rate / _SHAPE))
    counts[rng.random(rate.shape) < lost] = 0
    return sparse.csr_matrix(counts, dtype=np.float32)


def _draw_rates(
    circuit: Circuit, effects: np.ndarray, plan: CellPlan, rng: np.random.Generator
) -> np.ndarray:
    """Draw expected counts, ``(N, G)``."""
    n_cells, n_genes = len(plan.condition), len(circuit.program)
    activity = rng.normal(0.0, _ACTIVITY, (n_cells, len(circuit.partner)))
    by_batch = rng.normal(0.0, _BATCH, (plan.n_batches, n_genes))
    by_condition = np.vstack([effects, np.zeros(n_genes)])  # -1, the controls, is the last row
    log_rate = activity[:, circuit.program] * circuit.loading
    log_rate += circuit.base + by_batch[plan.batch] + by_condition[plan.condition]
    depth = (
        rng.normal(_DEPTH, 0.35, (n_cells, 1))
        + rng.normal(0.0, 0.2, plan.n_batches)[plan.batch, None]
    )
    # A perturbed cell is sequenced as deeply as any other: effects move shares, not totals.
    return special.softmax(log_rate, axis=1) * np.exp(depth)
