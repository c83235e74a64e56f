"""Where a screen keeps its labels: recognised from the usual conventions, or named by the user."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from anndata import AnnData

from scbig.data._labels import (
    CONTROL_LABELS,
    PERTURBATION_KEYS,
    find_separator,
    is_control_token,
    parse_perturbation,
)


@dataclass(frozen=True)
class ScreenSchema:
    """The columns and conventions of one screen.

    Attributes
    ----------
    perturbation_key
        Column of ``obs`` with the perturbation labels.
    control
        Label of the control cells.
    separator
        What stands between the targets of a combined label; ``None`` when there are none.
    context_keys
        Columns of ``obs`` within which controls are matched to perturbed cells.
    layer
        Layer with log1p-normalised expression; ``None`` for ``X``.
    gene_key
        Column of ``var`` with the gene names; ``None`` for ``var_names``.
    """

    perturbation_key: str
    control: str
    separator: str | None = None
    context_keys: tuple[str, ...] = ()
    layer: str | None = None
    gene_key: str | None = None

    def parse(self, label: str) -> tuple[str, ...]:
        """Read one label as the sorted tuple of its targets (empty for controls)."""
        return parse_perturbation(label, control=self.control, separator=self.separator)

    def join(self, targets: Sequence[str]) -> str:
        """Write targets as a label of this screen."""
        return (self.separator or "+").join(targets) if targets else self.control

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain values, ready for JSON."""
        return asdict(self) | {"context_keys": list(self.context_keys)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScreenSchema":
        """Rebuild a schema from :meth:`to_dict`."""
        return cls(**(values | {"context_keys": tuple(values["context_keys"])}))


def infer_schema(
    adata: AnnData,
    *,
    layer: str | None = None,
    perturbation_key: str | None = None,
    control: str | None = None,
    context_keys: Sequence[str] = (),
    separator: str | None = None,
    gene_key: str | None = None,
) -> ScreenSchema:
    """Recognise the conventions of a screen; whatever is given is taken as it is.

    Parameters
    ----------
    adata
        Annotated data of one screen.
    layer, perturbation_key, control, context_keys, separator, gene_key
        See :class:`ScreenSchema`. An empty ``separator`` says that no label is a combination.

    Returns
    -------
    The schema of the screen.

    Raises
    ------
    ValueError
        When a named column or label is absent, or when two readings are possible; the message
        lists the candidates.
    """
    context_keys = (context_keys,) if isinstance(context_keys, str) else tuple(context_keys)
    for key in context_keys:
        _check_column(adata.obs, key, "obs", "context_keys")
    if gene_key is not None:
        _check_column(adata.var, gene_key, "var", "gene_key")
    if layer is not None and layer not in adata.layers:
        raise ValueError(f"There is no layer {layer!r}. Layers found: {list(adata.layers)}.")
    key = perturbation_key or _find_perturbation_key(adata.obs, control)
    _check_column(adata.obs, key, "obs", "perturbation_key")
    labels = adata.obs[key].dropna().astype(str).unique().tolist()
    control = _find_control(labels, key) if control is None else control
    if control not in labels:
        raise ValueError(
            f"No cell of obs[{key!r}] has the control label {control!r}. "
            f"Labels found: {_shorten(labels)}. Name it: setup_anndata(adata, control=...)."
        )
    if separator is None:
        names = adata.var_names if gene_key is None else adata.var[gene_key].astype(str)
        separator = find_separator(labels, control=control, gene_names=set(names))
    return ScreenSchema(key, control, separator or None, context_keys, layer, gene_key)


def _check_column(frame: pd.DataFrame, key: str, where: str, argument: str) -> None:
    if key not in frame:
        raise ValueError(
            f"{argument}={key!r} is not a column of {where}. Columns found: {list(frame)}."
        )


def _find_perturbation_key(obs: pd.DataFrame, control: str | None) -> str:
    """Return the one conventional column that has control cells."""
    present = [key for key in PERTURBATION_KEYS if key in obs]
    with_control = [key for key in present if _has_control(obs[key], control)]
    if len(with_control) == 1:
        return with_control[0]
    if len(with_control) > 1:
        raise ValueError(
            f"More than one column of obs could hold the perturbations: {with_control}. "
            f"Name it: setup_anndata(adata, perturbation_key={with_control[0]!r})."
        )
    if present and control is None:
        raise ValueError(
            f"No control cells in obs column(s) {present}: none of the labels "
            f"{list(CONTROL_LABELS)} is there. Labels found: "
            f"{_shorten(obs[present[0]].astype(str).unique().tolist())}. "
            f"Name it: setup_anndata(adata, control=...)."
        )
    raise ValueError(
        f"No column of obs is recognised as the perturbation. Columns found: {list(obs)}. "
        "Name it: setup_anndata(adata, perturbation_key=...)."
    )


def _has_control(column: pd.Series, control: str | None) -> bool:
    labels = column.dropna().astype(str).unique()
    if control is not None:
        return control in labels
    return any(is_control_token(label) for label in labels)


def _find_control(labels: Sequence[str], key: str) -> str:
    found = [label for label in labels if is_control_token(label)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"More than one label of obs[{key!r}] could be the control: {sorted(found)}. "
            f"Name it: setup_anndata(adata, control={sorted(found)[0]!r})."
        )
    raise ValueError(
        f"No control cells in obs[{key!r}]: none of the labels {list(CONTROL_LABELS)} is there. "
        f"Labels found: {_shorten(labels)}. Name it: setup_anndata(adata, control=...)."
    )


def _shorten(labels: Sequence[str], n_shown: int = 8) -> str:
    shown = ", ".join(map(repr, labels[:n_shown]))
    return shown if len(labels) <= n_shown else f"{shown} and {len(labels) - n_shown} more"
