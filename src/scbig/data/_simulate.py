"""A simulated CRISPR screen whose programs, effects and interactions are known."""

import logging
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse, special

from scbig._annotations import checked
from scbig._constants import UNS
from scbig.data._simulate_effects import (
    Circuit,
    TrueEffects,
    compute_effects,
    draw_circuit,
    draw_doubles,
    draw_singles,
    draw_triples,
)

logger = logging.getLogger(__name__)

_ACTIVITY = 0.55  # spread of a program's log activity over cells
_BATCH = 0.1  # spread of a gene's log rate over batches
_DEPTH = np.log(4000.0)  # median counts of a cell
_SHAPE = 3.0  # gamma shape: variance = mean + mean^2 / shape
_DROPOUT_MIDPOINT = np.log(0.4)  # expected count at which every second value is lost


@checked
def simulate_screen(
    n_cells: int = 6000,
    n_genes: int = 800,
    *,
    n_programs: int = 12,
    n_targets: int = 40,
    n_doubles: int = 40,
    n_triples: int = 0,
    n_batches: int = 2,
    control_share: float = 0.15,
    seed: int = 0,
) -> AnnData:
    """Simulate a combinatorial Perturb-seq screen with known ground truth.

    Genes belong to programs whose activity varies from cell to cell, also among control cells,
    so that programs can be found from co-expression. Knocking down a target shifts whole
    programs, alike for targets of one program, plus a few genes of its own and the target
    itself. Two targets of one program buffer each other, targets of partner programs are
    synergistic, all others add up until a program's response saturates. Counts are
    gamma-Poisson draws with unequal library sizes, batch effects and dropout.

    Parameters
    ----------
    n_cells
        Number of cells, controls among them.
    n_genes
        Number of genes, named ``GENE0001`` and so on.
    n_programs
        Number of gene programs; their sizes are unequal.
    n_targets
        Number of genes that are perturbed, each also alone.
    n_doubles
        Number of pairs of targets that are perturbed together.
    n_triples
        Number of triples of targets that are perturbed together. Their pairs interact as in
        doubles.
    n_batches
        Number of batches; every condition is spread over all of them.
    control_share
        Share of the cells that are controls, strictly between 0 and 1.
    seed
        Seed of all random draws: the same seed gives the same bits on the same machine.

    Returns
    -------
    AnnData
        Cells x genes: ``X`` is ``log1p`` of the counts normalised to 10,000 a cell and
        ``layers["counts"]`` the counts (both CSR, float32); ``obs`` has ``perturbation``
        (``control``, ``A``, ``A+B``, ``A+B+C``), ``batch`` and ``n_targets``;
        ``var["true_program"]`` is each gene's program. ``uns["truth"]`` holds data frames:
        ``effects`` (conditions x genes, natural-log fold change of the expected rate),
        ``interactions`` (combinations x genes, effect minus the sum of the single effects),
        ``kinds`` (the kind of each combination: ``additive``, ``buffering`` or ``synergistic``,
        or ``mixed`` for a triple that is both) and ``regulation`` (programs x programs, how a
        target of the row's program shifts the column's program on average; zero where it does
        not).

    Raises
    ------
    ValueError
        If the numbers do not fit together, for example more doubles than pairs of targets.

    Examples
    --------
    >>> adata = simulate_screen(n_cells=1000, n_genes=100, n_targets=8, n_doubles=6)
    >>> adata.shape
    (1000, 100)
    """
    _check_programs(n_genes, n_programs, n_targets)
    _check_conditions(n_targets, n_doubles, n_triples)
    _check_cells(n_cells, n_targets + n_doubles + n_triples, n_batches, control_share)
    # One stream a step: more cells or triples do not change the genes' programs and effects.
    streams = np.random.default_rng(seed).spawn(5)
    for_genes, for_effects, for_cells, for_counts, for_triples = streams
    circuit = draw_circuit(n_genes, n_programs, for_genes)
    singles = draw_singles(circuit, n_targets, for_effects)
    doubles, synergy = draw_doubles(circuit, singles, n_doubles, for_effects)
    triples = draw_triples(circuit, singles, synergy, n_triples, for_triples)
    effects = compute_effects(circuit, singles, doubles, triples)
    plan = draw_cell_plan(n_cells, len(effects.targets), n_batches, control_share, for_cells)
    counts = draw_counts(circuit, effects.effects, plan, for_counts)
    names = np.array([f"GENE{i + 1:04d}" for i in range(n_genes)])
    var = pd.DataFrame({"true_program": _get_program_labels(circuit.program)}, index=names)
    adata = make_log1p_cells(counts, _make_obs(effects, plan, names), var)
    adata.uns[UNS.TRUTH] = _make_truth(effects, circuit, names)
    logger.info("Simulated %d cells x %d genes, %d conditions", *adata.shape, len(effects.targets))
    return adata


def _check_programs(n_genes: int, n_programs: int, n_targets: int) -> None:
    if n_programs < 2 or n_genes < 5 * n_programs:
        raise ValueError(
            f"n_genes={n_genes} with n_programs={n_programs}: at least 2 programs and 5 genes a "
            f"program are needed, for example n_genes={5 * max(n_programs, 2)}."
        )
    if not 1 <= n_targets <= n_genes // 2:
        raise ValueError(
            f"n_targets={n_targets} must be between 1 and half of the genes, {n_genes // 2}."
        )


def _check_conditions(n_targets: int, n_doubles: int, n_triples: int) -> None:
    for name, n, size, what in (
        ("n_doubles", n_doubles, 2, "pairs"),
        ("n_triples", n_triples, 3, "triples"),
    ):
        n_all = comb(n_targets, size)
        if not 0 <= n <= n_all:
            raise ValueError(
                f"{name}={n} must be between 0 and {n_all}, "
                f"the number of {what} of {n_targets} targets."
            )


def _check_cells(n_cells: int, n_conditions: int, n_batches: int, control_share: float) -> None:
    if n_batches < 1:
        raise ValueError(f"n_batches={n_batches} must be at least 1.")
    if not 0 < control_share < 1:
        raise ValueError(f"control_share={control_share} must lie strictly between 0 and 1.")
    n_control = round(n_cells * control_share)
    if n_control < n_batches or n_cells - n_control < 2 * n_batches * n_conditions:
        raise ValueError(
            f"n_cells={n_cells} leaves {n_control} control cells and {n_cells - n_control} cells "
            f"for {n_conditions} conditions in {n_batches} batches: every batch needs a "
            f"control cell and every condition {2 * n_batches} cells on average. Raise n_cells."
        )


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
    """Draw counts ``(N, G)``, whole numbers as float32, given log fold changes ``(C, G)``."""
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


def make_log1p_cells(counts: sparse.csr_matrix, obs: pd.DataFrame, var: pd.DataFrame) -> AnnData:
    """Put counts in a layer, and log1p of their share of 10,000 in ``X``."""
    adata = AnnData(counts, obs=obs, var=var, layers={"counts": counts.copy()})
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def _get_program_labels(program: np.ndarray) -> pd.Categorical:
    return pd.Categorical([f"program_{k + 1:02d}" for k in program])


def _make_labels(effects: TrueEffects, names: np.ndarray) -> list[str]:
    return ["+".join(names[list(targets)]) for targets in effects.targets]


def _make_obs(effects: TrueEffects, plan: CellPlan, names: np.ndarray) -> pd.DataFrame:
    # Controls carry the condition -1, which picks the last entry here.
    labels = np.array([*_make_labels(effects, names), "control"])
    n_targets = np.array([*map(len, effects.targets), 0])
    return pd.DataFrame(
        {
            "perturbation": pd.Categorical(labels[plan.condition]),
            "batch": pd.Categorical([f"batch_{b + 1}" for b in plan.batch]),
            "n_targets": n_targets[plan.condition],
        },
        index=[f"cell_{i}" for i in range(len(plan.condition))],
    )


def _make_truth(
    effects: TrueEffects, circuit: Circuit, names: np.ndarray
) -> dict[str, pd.DataFrame]:
    labels = _make_labels(effects, names)
    combined = labels[len(labels) - len(effects.kinds) :]
    programs = _get_program_labels(np.arange(len(circuit.partner))).astype(str)
    return {
        "effects": pd.DataFrame(effects.effects, index=labels, columns=names),
        "interactions": pd.DataFrame(effects.interactions, index=combined, columns=names),
        "kinds": pd.DataFrame({"kind": list(effects.kinds)}, index=combined, dtype=object),
        "regulation": pd.DataFrame(circuit.regulation, index=programs, columns=programs),
    }
