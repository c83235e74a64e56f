"""Time all metrics but the DE ones on random cells, and print what they took.

python docs/scripts/evaluation_speed.py [--conditions 200] [--cells 10000] [--sparse]
"""

import argparse
import resource
import time

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig.metrics import choose_metrics, evaluate


def main() -> None:
    """Make two screens and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conditions", type=int, default=200)
    parser.add_argument("--cells", type=int, default=10_000, help="real, and as many predicted")
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--sparse", action="store_true", help="store expression as CSR")
    options = parser.parse_args()
    real, predicted = (make_cells(seed, options) for seed in (0, 1))
    start = time.perf_counter()
    scores = evaluate(
        real,
        predicted,
        perturbation_key="perturbation",
        control="control",
        reference=real.X[:1] if not options.sparse else real.X[:1].toarray(),
        metrics=[name for name, m in choose_metrics(None).items() if m.level != "tests"],
    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"scored {(scores['status'] == 'ok').sum()} of {len(scores)}")
    print(f"seconds {seconds:.1f}")
    print(f"peak_gb {peak:.2f}")


def make_cells(seed: int, options: argparse.Namespace) -> AnnData:
    """Draw cells of every condition around effects that are the same for each seed."""
    rng = np.random.default_rng(seed)
    labels = np.arange(options.cells) % (options.conditions + 1)
    effects = np.random.default_rng(2).normal(0, 0.3, (options.conditions + 1, options.genes))
    rate = np.random.default_rng(3).gamma(0.3, 1.0, options.genes) * np.exp(effects)
    x = np.empty((options.cells, options.genes), dtype=np.float32)
    for i, label in enumerate(labels):
        x[i] = np.log1p(rng.poisson(rate[label]))
    names = np.array(["control", *(f"G{i}" for i in range(options.conditions))])
    return AnnData(
        sparse.csr_matrix(x) if options.sparse else x,
        obs=pd.DataFrame({"perturbation": names[labels]}, index=[f"c{i}" for i in range(len(x))]),
        var=pd.DataFrame(index=[f"G{i}" for i in range(options.genes)]),
    )


if __name__ == "__main__":
    main()
