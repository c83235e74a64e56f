"""Where a screen keeps its labels: recognised from the usual conventions, or named by the user."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from anndata import AnnData

from scbig.data._labels import (
    CONTROL_LABELS,
    DEFAULT_SEPARATOR,
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
        What stands between the targets of a combined label; ``None`` when no label is one.
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
        """Read one label.

        Parameters
        ----------
        label
            Label as the screen writes it.

        Returns
        -------
        Its targets, sorted; empty for controls.
        """
        return parse_perturbation(label, control=self.control, separator=self.separator)

    def join(self, targets: Sequence[str]) -> str:
        """Write targets as a label of this screen.

        Parameters
        ----------
        targets
            Names of the targets; none for control cells.

        Returns
        -------
        The label, which :meth:`parse` reads.

        Raises
        ------
        ValueError
            When there are several targets but the screen has no separator.
        """
        if len(targets) > 1 and self.separator is None:
            raise ValueError(
                f"{list(targets)} cannot be combined: this screen was set up without a separator. "
                f"Name one at setup: separator={DEFAULT_SEPARATOR!r}"
            )
        return (self.separator or "").join(targets) if targets else self.control

    def describe(self) -> str:
        """Say what was taken for what, for the log."""
        return (
            f"Took obs[{self.perturbation_key!r}] as perturbations (control {self.control!r}, "
            f"separator {self.separator!r}, contexts {list(self.context_keys) or 'none'})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain values, ready for JSON."""
        return asdict(self) | {"context_keys": list(self.context_keys)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScreenSchema":
        """Rebuild a schema.

        Parameters
        ----------
        values
            What :meth:`to_dict` returned.

        Returns
        -------
        The schema.
        """
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
        See :class:`ScreenSchema`. An empty ``separator`` says that no label is a combination; a
        screen that has none is given ``"+"``, so that combinations can be predicted.

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
        # anndata 0.13 lists X among the layers, under None.
        found = [name for name in adata.layers if name is not None]
        raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
    key = perturbation_key or _find_perturbation_key(adata.obs, control)
    _check_column(adata.obs, key, "obs", "perturbation_key")
    labels = _get_labels(adata.obs[key])
    control = _find_control(labels, key) if control is None else control
    if control not in labels:
        raise ValueError(_describe_absent(f"obs[{key!r}]", labels, control))
    if separator is None:
        names = adata.var_names if gene_key is None else adata.var[gene_key].astype(str)
        separator = find_separator(labels, control=control, gene_names=set(names))
        if separator is None and not any(DEFAULT_SEPARATOR in label for label in labels):
            separator = DEFAULT_SEPARATOR
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
            f"Name it: perturbation_key={with_control[0]!r}"
        )
    if present:
        labels = _get_labels(obs[present[0]])
        raise ValueError(_describe_absent(f"obs column(s) {present}", labels, control))
    raise ValueError(
        f"No column of obs is recognised as the perturbation. Columns found: {list(obs)}. "
        "Name it: perturbation_key='...'"
    )


def _has_control(column: pd.Series, control: str | None) -> bool:
    labels = _get_labels(column)
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
            f"Name it: control={sorted(found)[0]!r}"
        )
    raise ValueError(_describe_absent(f"obs[{key!r}]", labels, None))


def _get_labels(column: pd.Series) -> list[str]:
    return column.dropna().astype(str).unique().tolist()


def _describe_absent(where: str, labels: Sequence[str], control: str | None) -> str:
    """Say that there are no control cells, and how to name them."""
    wanted = f"any of {list(CONTROL_LABELS)}" if control is None else repr(control)
    likely = next((label for label in labels if is_control_token(label)), "...")
    return (
        f"No control cells in {where}: no cell has the control label {wanted}. "
        f"Labels found: {_shorten(labels)}. Name it: control={likely!r}"
    )


def _shorten(labels: Sequence[str], n_shown: int = 8) -> str:
    shown = ", ".join(map(repr, labels[:n_shown]))
    return shown if len(labels) <= n_shown else f"{shown} and {len(labels) - n_shown} more"
