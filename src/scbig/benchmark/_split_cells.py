"""The cells of one split: what is learned from, what is scored, where predictions start."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data import (
    ScreenSchema,
    Targets,
    get_context_names,
    get_gene_names,
    get_matrix,
    make_screen,
)
from scbig.splits import Split, get_roles

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitLabels:
    """Parts of a split by cell and by condition.

    Attributes
    ----------
    role
        ``"train"``, ``"val"``, ``"test"``, ``"control"`` or ``"unused"`` by cell.
    test
        Labels and context names of the tested groups of cells.
    kinds
        Kind of question that each tested condition asks.
    val
        Labels of the validation conditions.
    """

    role: np.ndarray
    test: pd.DataFrame
    kinds: dict[Targets, str]
    val: tuple[str, ...]


@dataclass(frozen=True)
class SplitCells:
    """Cells of one split, the expression in ``X`` throughout.

    Attributes
    ----------
    train
        Training, validation and all control cells.
    real
        Test cells, and the control cells of their contexts.
    schema
        Where both keep their labels.
    """

    train: AnnData
    real: AnnData
    schema: ScreenSchema

    def copy_train(self) -> AnnData:
        """Copy the annotation of the training cells, so that no predictor meets another's."""
        return AnnData(self.train.X, obs=self.train.obs.copy(), var=self.train.var.copy())

    def get_controls(self) -> AnnData:
        """Return the control cells of the tested contexts."""
        labels = self.real.obs[self.schema.perturbation_key].astype(str)
        return self.real[(labels == self.schema.control).to_numpy()].copy()


def read_split(obs: pd.DataFrame, split: Split, schema: ScreenSchema) -> SplitLabels:
    """Sort the cells of a screen into the parts of a split.

    Parameters
    ----------
    obs
        Cell annotations of the screen.
    split
        The split.
    schema
        Where the screen keeps its labels.

    Returns
    -------
    The parts.

    Raises
    ------
    ValueError
        When the split has other contexts than the screen was read with, or no test cells.
    """
    if split.context_keys and split.context_keys != schema.context_keys:
        raise ValueError(
            f"Split {split.name!r} was made within the contexts {list(split.context_keys)}, and "
            f"the screen is read with {list(schema.context_keys) or 'none'}. Give the same: "
            f"context_keys={list(split.context_keys)}"
        )
    role = get_roles(obs, split, schema)
    if "test" not in role:
        raise ValueError(f"Split {split.name!r} tests nothing. Name conditions under 'test'.")
    test = _get_groups(obs[role == "test"], schema)
    trained = make_screen(obs[np.isin(role, ["train", "val"])], schema).targets
    kinds = {targets: split.get_kind(targets, trained) for targets in set(test["targets"])}
    test = test.drop(columns="targets").reset_index(drop=True)
    return SplitLabels(role, test, kinds, tuple(schema.join(targets) for targets in split.val))


def _get_groups(obs: pd.DataFrame, schema: ScreenSchema) -> pd.DataFrame:
    """List the perturbations and contexts of some cells, each pair of targets by one label."""
    groups = pd.DataFrame(
        {
            "perturbation": obs[schema.perturbation_key].astype(str),
            "context": get_context_names(obs, schema.context_keys),
        }
    ).drop_duplicates()
    groups["targets"] = [schema.parse(label) for label in groups["perturbation"]]
    label = groups.groupby("targets", sort=False)["perturbation"].transform("first")
    return groups.assign(perturbation=label).drop_duplicates(["targets", "context"])


def take_cells(adata: AnnData, labels: SplitLabels, schema: ScreenSchema) -> SplitCells:
    """Copy the cells of a split out of a screen.

    What predictors could learn the test conditions from stays behind: other layers, ``uns`` and
    all that goes with cells other than ``obs``.

    Parameters
    ----------
    adata
        The screen.
    labels
        Parts of the split.
    schema
        Where the screen keeps its labels.

    Returns
    -------
    The cells.
    """
    contexts = get_context_names(adata.obs, schema.context_keys)
    is_tested = contexts.isin(labels.test["context"]).to_numpy()
    is_control = labels.role == "control"
    is_trained = np.isin(labels.role, ["train", "val"]) | is_control
    is_real = (labels.role == "test") | (is_control & is_tested)
    logger.debug("%d cells to learn from, %d to score.", is_trained.sum(), is_real.sum())
    train, real = (_take(adata, rows, schema) for rows in (is_trained, is_real))
    return SplitCells(train, real, replace(schema, layer=None, gene_key=None))


def _take(adata: AnnData, is_taken: np.ndarray, schema: ScreenSchema) -> AnnData:
    var = adata.var.copy()
    var.index = pd.Index(map(str, get_gene_names(adata, schema.gene_key)))
    obs = adata.obs[is_taken].copy()
    for name in obs.select_dtypes("category"):
        # Their categories would name the conditions that are held out.
        obs[name] = obs[name].cat.remove_unused_categories()
    return AnnData(get_matrix(adata, schema.layer)[is_taken], obs=obs, var=var)
