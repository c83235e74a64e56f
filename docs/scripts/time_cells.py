"""Time how cells are made: simulated control cells become cells of many conditions.

python docs/scripts/time_cells.py [--conditions 100] [--cells 1000] [--genes 2000] [--filled 0.1]

Goes through `scbig.data.make_cells`, which every `predict` does, with expected changes that are
given: every gene changes a little, some by much, in conditions from weak to strong. Prints
seconds of the processor and by the clock, peak memory, and how near the means are. Set
OMP_NUM_THREADS=1 to measure one core.
"""

import argparse
import resource
import time

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.optimize import brentq

from scbig.cells import compute_log1p, fit_screen_model, normalise_counts
from scbig.data import ScreenSchema, Wanted, make_cells, make_query, match_genes

TARGET_SUM = 1e4


def main() -> None:
    """Make control cells and effects, and time the cells of all conditions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conditions", type=int, default=100)
    parser.add_argument("--cells", type=int, default=1000, help="of a condition")
    parser.add_argument("--controls", type=int, default=2000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--filled", type=float, default=0.1, help="share of entries with counts")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    controls = draw_controls(options, rng)
    effects = draw_effects(options, rng)
    run = prepare(controls, effects, options.cells)
    before = get_peak()
    clock, cpu = time.perf_counter(), time.process_time()
    made = run()
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    print(f"filled {controls.nnz / np.prod(controls.shape):.3f}")
    print(f"cpu_seconds {cpu:.2f}")
    print(f"clock_seconds {clock:.2f}")
    print(f"peak_gb {get_peak():.2f} (before: {before:.2f})")
    print(f"result_gb {(count_bytes(made.expression) + count_bytes(made.counts)) / 1e9:.2f}")
    print(f"mean_off {measure_error(made.expression, controls, effects, options.cells):.5f}")


def draw_controls(options: argparse.Namespace, rng: np.random.Generator) -> sparse.csr_matrix:
    """Draw negative binomial counts, of which the wanted share is positive."""
    level, theta = rng.normal(0, 1.5, options.genes), rng.uniform(0.5, 3, options.genes)
    size = rng.lognormal(-0.05, 0.3, (options.controls, 1))

    def measure(shift: float) -> float:
        return float(np.mean(1 - (1 + np.exp(level + shift) / theta) ** -theta)) - options.filled

    mean = np.exp(level + brentq(measure, -12, 6))
    parts = np.array_split(size, -(-options.controls // 500))
    return sparse.vstack(
        [sparse.csr_matrix(rng.poisson(rng.gamma(theta, s * mean / theta))) for s in parts],
        format="csr",
    )


def draw_effects(options: argparse.Namespace, rng: np.random.Generator) -> np.ndarray:
    """Draw log ratios: a twentieth of the genes change much, in conditions of any strength."""
    shape = (options.conditions, options.genes)
    strength = np.linspace(0.1, 1.5, options.conditions)[:, None]
    return rng.normal(0, 0.05, shape) + strength * rng.normal(0, 1, shape) * (
        rng.random(shape) < 0.05
    )


def get_change(controls: sparse.csr_matrix, effects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean expression of the control cells, and how it is to change in each condition."""
    found = normalise_counts(controls, TARGET_SUM)
    values = compute_log1p(found.counts, found.depth, TARGET_SUM)
    mean = np.asarray(values.mean(axis=0, dtype=np.float64)).ravel()
    # The ratio of what is there before the logarithm, of cells that sum to one number.
    ratio = np.exp(effects)
    ratio /= (np.expm1(mean) * ratio).sum(axis=1, keepdims=True) / np.expm1(mean).sum()
    return mean, np.log1p(np.expm1(mean) * ratio) - mean


def prepare(controls: sparse.csr_matrix, effects: np.ndarray, n_cells: int):
    """Build the query, and return what makes its cells."""
    mean, change = get_change(controls, effects)
    names = [f"G{i:04d}" for i in range(len(mean))]
    labels = [f"C{i:03d}" for i in range(len(effects))]
    found = normalise_counts(controls, TARGET_SUM)
    cells = AnnData(
        compute_log1p(found.counts, found.depth, TARGET_SUM),
        obs=pd.DataFrame(
            {"perturbation": pd.Categorical(["control"] * len(found.depth), ["control", *labels])}
        ),
        var=pd.DataFrame(index=names),
    )
    cells.obs_names = [f"c{i}" for i in range(cells.n_obs)]
    schema = ScreenSchema("perturbation", "control")
    rng = np.random.default_rng(0)
    query = make_query(cells, schema, labels, contexts=["all"], n_cells=n_cells, rng=rng)
    groups = [(targets, 0, np.arange(0)) for targets, *_ in query.groups()]
    model = fit_screen_model(
        lambda rows: (cells.X[rows], None), groups, [np.arange(cells.n_obs)], rng
    )
    order = [labels.index(targets[0]) for targets, *_ in query.groups()]
    wanted = Wanted(
        [targets for targets, *_ in query.groups()],
        lambda x, group: change[order[group]],
        np.tile(mean, (len(labels), 1)),
        True,
        mean,
        0,
    )
    match = match_genes(cells.var_names, names)
    return lambda: make_cells(query, match, model, wanted)


def measure_error(
    values: sparse.csr_matrix, controls: sparse.csr_matrix, effects: np.ndarray, n_cells: int
) -> float:
    """Root mean square of what the means of the conditions are off."""
    mean, change = get_change(controls, effects)
    made = values[-len(effects) * n_cells :]
    squares = [
        np.mean((made[i * n_cells : (i + 1) * n_cells].mean(axis=0).A1 - mean - change[i]) ** 2)
        for i in range(len(effects))
    ]
    return float(np.sqrt(np.mean(squares)))


def count_bytes(matrix: sparse.csr_matrix) -> int:
    """Memory of a sparse matrix."""
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes


def get_peak() -> float:
    """Peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
