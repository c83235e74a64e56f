"""A small screen, and predictors that know nothing of scbig but its protocol."""

from collections.abc import Sequence
from os import PathLike
from typing import Self

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scbig
from scbig.benchmark import BenchmarkSettings
from scbig.splits import Split, make_split

QUICK = BenchmarkSettings(metrics=("pearson_delta", "mse"), n_cells=60, n_resamples=50)


class Shift:
    """Adds one number to all genes of the control cells."""

    default_key = "shift"
    amount = 0.5
    trained_on: list[tuple[str, ...]] = []  # noqa: RUF012 - a record for the tests

    def __init__(self, adata: AnnData) -> None:
        self.adata = adata

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        perturbation_key: str | None = None,
        control: str | None = None,
        context_keys: Sequence[str] = (),
        separator: str | None = None,
        gene_key: str | None = None,
        is_log1p: bool = False,
    ) -> None:
        adata.uns["keys"] = {"perturbation": perturbation_key, "control": control}

    def train(
        self, *, validation: Sequence[str | Sequence[str]] | None = None, use_refit: bool = True
    ) -> None:
        labels = self.adata.obs[self.adata.uns["keys"]["perturbation"]]
        self.trained_on.append(tuple(sorted(labels.astype(str).unique())))

    def predict(
        self,
        adata: AnnData | None = None,
        *,
        perturbations: Sequence[str | Sequence[str]] | None = None,
        key_added: str | None = None,
        n_cells: int | None = None,
        seed: int | None = None,
    ) -> AnnData:
        key = self.adata.uns["keys"]["perturbation"]
        rows = np.random.default_rng(seed).choice(adata.n_obs, n_cells)
        blocks = [
            AnnData(
                adata.X[rows],
                obs=pd.DataFrame({key: label}, index=[f"{label}_{i}" for i in range(n_cells)]),
                var=adata.var,
            )
            for label in perturbations
        ]
        out = ad.concat(blocks)
        out.layers[key_added] = out.X.toarray() + self.amount
        return out

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, dir_path: str | PathLike[str], adata: AnnData | None = None) -> Self:
        raise NotImplementedError


class HiddenError(Exception):
    """An error of another package, of no kind that scbig knows."""


class Failing(Shift):
    """Raises while it trains."""

    default_key = "failing"

    def train(
        self, *, validation: Sequence[str | Sequence[str]] | None = None, use_refit: bool = True
    ) -> None:
        raise HiddenError("no luck\n  today")


@pytest.fixture
def shift_class() -> type[Shift]:
    Shift.trained_on.clear()
    return Shift


@pytest.fixture
def failing_class() -> type[Failing]:
    return Failing


@pytest.fixture(scope="session")
def settings() -> BenchmarkSettings:
    return QUICK


@pytest.fixture(scope="session")
def screen() -> AnnData:
    return scbig.data.simulate_screen(
        500, 40, n_programs=3, n_targets=10, n_doubles=8, n_batches=2, seed=0
    )


@pytest.fixture(scope="session")
def unseen(screen: AnnData) -> Split:
    return make_split(screen, "unseen", seed=0)


@pytest.fixture(scope="session")
def additive(screen: AnnData) -> Split:
    return make_split(screen, "additive", seed=1)


@pytest.fixture(scope="session")
def scores() -> pd.DataFrame:
    """Scores of two splits by a formula: two floors, a model and the ceiling."""
    conditions = {"A": "unseen_single", "B": "unseen_single", "A+B": "seen0", "A+C": "seen1"}
    levels = {"low": 0.1, "high": 0.4, "model": 0.5, "ceiling": 0.9}
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": "unseen",
            "split": split,
            "seed": 0,
            "kind": kind,
            "predictor": predictor,
            "perturbation": label,
            "context": context,
            "metric": metric,
            "value": (level if metric == "pearson_delta" else 1 - level) + rng.normal(0, 0.02),
            "status": "ok",
            "seconds": 2.0,
            "peak_memory_mb": 100.0,
        }
        for split in ("first", "second")
        for label, kind in conditions.items()
        for context in ("x", "y")
        for metric in ("pearson_delta", "mse")
        for predictor, level in levels.items()
    ]
    return pd.DataFrame(rows)
