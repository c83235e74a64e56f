"""A screen with a split, taken apart: what is scored, and what may be learned from."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data import ScreenSchema, get_matrix, make_screen, take_log_base
from scbig.splits import ROLES

TRAINED = ("train", "val")
TEST = "test"


@dataclass(frozen=True)
class SplitScreen:
    """The parts of a screen, with nothing in them but expression and labels.

    Attributes
    ----------
    schema
        Where the parts keep their labels; their expression is in ``X``.
    real
        Test cells, and all controls, or those that are held out where some are.
    training
        Training and validation cells, and all controls that are not held out.
    controls
        Controls of training in the contexts in which something is tested.
    test, validation
        Labels of the conditions.
    test_rows
        Rows of the whole screen that hold cells of test conditions.
    is_seen
        Whether other cells of every tested condition are trained on, in the same context.
    """

    schema: ScreenSchema
    real: AnnData
    training: AnnData
    controls: AnnData
    test: tuple[str, ...]
    validation: tuple[str, ...]
    test_rows: np.ndarray
    is_seen: bool


def take_apart(adata: AnnData, schema: ScreenSchema, split_key: str) -> SplitScreen:
    """Take a screen apart by the column of ``obs`` with the part of each cell.

    Controls are told by their label; those among them that are marked as test are held out, if
    every tested context has others. The measured expression is copied once, other layers are left
    out.
    """
    parts = _read_parts(adata, split_key)
    screen = make_screen(adata.obs, schema)
    is_test = (parts == TEST) & ~screen.is_control
    is_trained = np.isin(parts, TRAINED) & ~screen.is_control
    _check_parts(adata.obs[split_key], {TEST: is_test, "/".join(TRAINED): is_trained}, split_key)
    is_there = np.isin(screen.context, screen.context[is_test])
    held, kept = (screen.is_control & mask for mask in (parts == TEST, parts != TEST))
    tested = set(screen.context[is_test])
    if not all(tested <= set(screen.context[controls]) for controls in (held, kept)):
        held = kept = screen.is_control
    labels = schema.unify_labels(adata.obs[schema.perturbation_key]).to_numpy()
    code = screen.condition * len(screen.contexts) + screen.context
    is_val = is_trained & (parts == "val")
    return SplitScreen(
        schema=replace(schema, layer=None),
        real=take_cells(adata, np.flatnonzero(is_test | held), schema),
        training=take_cells(adata, np.flatnonzero(is_trained | kept), schema),
        controls=take_cells(adata, np.flatnonzero(kept & is_there), schema),
        test=tuple(sorted(set(labels[is_test]))),
        validation=tuple(sorted(set(labels[is_val]))),
        test_rows=np.flatnonzero(is_test),
        is_seen=set(code[is_test]) <= set(code[is_trained]),
    )


def take_cells(
    adata: AnnData, rows: np.ndarray, schema: ScreenSchema, *, layer: str | None = None
) -> AnnData:
    """Copy expression and labels of some cells, rows in increasing order, and nothing else.

    ``layer`` is another one to take as ``X``; by default that of the schema.
    """
    keys = [schema.perturbation_key, *schema.context_keys]
    # Strings carry no categories that the chosen cells do not have.
    obs = adata.obs[keys].iloc[rows].astype(str)
    obs[schema.perturbation_key] = schema.unify_labels(obs[schema.perturbation_key])
    var = adata.var[[] if schema.gene_key is None else [schema.gene_key]]
    matrix = get_matrix(adata, schema.layer if layer is None else layer)
    return AnnData(matrix[rows], obs=obs, var=var.copy(), uns=take_log_base(adata))


def _read_parts(adata: AnnData, split_key: str) -> np.ndarray:
    if split_key not in adata.obs:
        raise ValueError(
            f"obs has no column {split_key!r} that says what was trained on and what is tested "
            f"(split_key). Columns found: {list(adata.obs)}. Make it before training: "
            "scbig.pp.split(adata, 'unseen')"
        )
    parts = adata.obs[split_key].astype(object).to_numpy()
    if unknown := sorted({str(part) for part in parts} - set(ROLES)):
        raise ValueError(
            f"obs[{split_key!r}] has values that are no part of a split: {unknown[:5]}. Known are "
            f"{list(ROLES)}; what is to play no part is 'unused'."
        )
    return parts


def _check_parts(column: pd.Series, masks: dict[str, np.ndarray], split_key: str) -> None:
    for name, mask in masks.items():
        if not mask.any():
            raise ValueError(
                f"No perturbed cell has {name!r} in obs[{split_key!r}]. Values found: "
                f"{sorted(map(str, column.unique()))}. scbig.pp.split(adata, 'unseen') writes "
                "'train', 'val', 'test' and 'control'."
            )
