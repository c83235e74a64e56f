"""The simulated screen of the demo, and what of it is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.cli._demo_split import HeldOut, choose_held_out
from scbig.data import (
    Expression,
    ScreenSchema,
    compute_group_means,
    get_matrix,
    infer_schema,
    make_screen,
    simulate_screen,
)


@dataclass(frozen=True)
class DemoScreen:
    """A screen in two parts.

    Attributes
    ----------
    whole, train
        All cells, and those that are trained on.
    schema
        How labels are read.
    held_out
        The conditions that only ``whole`` has.
    """

    whole: AnnData
    train: AnnData
    schema: ScreenSchema
    held_out: HeldOut

    @property
    def labels(self) -> list[str]:
        """Labels of the held-out conditions."""
        return [self.schema.join(targets) for targets in self.held_out.kinds]

    @property
    def control(self) -> np.ndarray:
        """Mean expression of the control cells, shape ``(n_genes,)``."""
        return compute_means(self.whole, [self.schema.control], self.schema).to_numpy()[0]


def make_demo_screen(n_cells: int, n_genes: int, seed: int) -> DemoScreen:
    """Simulate a screen and hold conditions out.

    Parameters
    ----------
    n_cells, n_genes
        Size of the screen.
    seed
        Seed of the screen and of the choice.

    Returns
    -------
    The screen.
    """
    whole = simulate_screen(n_cells, n_genes, seed=seed)
    schema = infer_schema(whole)
    screen = make_screen(whole.obs, schema)
    conditions = [targets for targets in screen.conditions if targets]
    held_out = choose_held_out(conditions, np.random.default_rng(seed))
    is_held = np.array([targets in held_out.kinds for targets in screen.conditions])
    return DemoScreen(whole, whole[~is_held[screen.condition]].copy(), schema, held_out)


def compute_means(
    adata: AnnData, labels: Sequence[str], schema: ScreenSchema, layer: str | None = None
) -> pd.DataFrame:
    """Average the cells of each label; returns labels x genes."""
    own = adata.obs[schema.perturbation_key].to_numpy()
    rows = [np.flatnonzero(own == label) for label in labels]
    means = compute_group_means(Expression(get_matrix(adata, layer)), rows)
    return pd.DataFrame(means, index=list(labels), columns=adata.var_names)
