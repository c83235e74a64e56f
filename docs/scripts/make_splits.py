"""Write the split files of the benchmark page, seeds 0 to 4.

    python docs/scripts/make_splits.py DATA_FOLDER [--out docs/benchmarks/splits]

The same data give the same files, byte for byte.
"""

import argparse
from collections.abc import Collection
from pathlib import Path

import anndata as ad

from scbig.data import infer_schema
from scbig.splits import make_split, write_splits

OUT = Path(__file__).parents[1] / "benchmarks" / "splits"
SEEDS = range(5)


def main() -> None:
    """Write every file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the screens")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the files")
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    papalexi = read(data / "papalexi2021.h5ad")
    schraivogel = read(data / "schraivogel2020.h5ad")
    # Promoters are named after their genes, which are measured; enhancer elements are not genes.
    promoters = sorted(set(schraivogel.obs["perturbation"]) & set(schraivogel.var_names))
    write(out / "papalexi_unseen.json", papalexi, "unseen")
    write(out / "papalexi_replicate.json", papalexi, "replicate", context_key="bio_rep")
    # Three of ten promoters, as ranks among two would say little.
    write(out / "schraivogel_unseen.json", schraivogel, "unseen", candidates=promoters, share=0.3)
    write(out / "norman_mini_additive.json", read(data / "norman2019_mini.h5ad"), "additive")
    mcfaline = read(data / "mcfaline2024_mini.h5ad")
    write(out / "mcfaline_context.json", mcfaline, "context", context_key="cell_line")


def read(path: Path) -> ad.AnnData:
    """Open a screen; only its labels are needed."""
    return ad.read_h5ad(path, backed="r")


def write(
    path: Path,
    adata: ad.AnnData,
    task: str,
    *,
    context_key: str | None = None,
    candidates: Collection[str] | None = None,
    share: float | None = None,
) -> None:
    """Make the splits of one screen and task, and say what they hold out."""
    schema = infer_schema(adata, context_keys=() if context_key is None else (context_key,))
    splits = [
        make_split(adata, task, seed=seed, schema=schema, candidates=candidates, share=share)
        for seed in SEEDS
    ]
    write_splits(path, splits)
    print(path.name, *splits, sep="\n  ")


if __name__ == "__main__":
    main()
