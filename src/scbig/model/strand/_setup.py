"""How a screen of loci is read: its column, its separator, and what of it is held out."""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from scbig.data import ScreenSchema, Targets, infer_schema
from scbig.model.strand._loci import LocusTable
from scbig.priors import parse_guide
from scbig.splits import choose_validation

LOCUS_KEY = "locus"


def infer_locus_schema(
    adata: AnnData,
    *,
    layer: str | None = None,
    perturbation_key: str | None = None,
    control: str | None = None,
    context_keys: Sequence[str] = (),
    separator: str | None = None,
    gene_key: str | None = None,
) -> ScreenSchema:
    """Recognise the conventions of a screen of loci.

    As :func:`scbig.data.infer_schema`, with ``"locus"`` first among the columns, and without a
    separator where labels are guides, in whose names ``+`` is a strand.
    """
    key = choose_key(adata, None, perturbation_key)
    return infer_schema(
        adata,
        layer=layer,
        perturbation_key=key,
        control=control,
        context_keys=context_keys,
        separator=choose_separator(adata, key, separator),
        gene_key=gene_key,
    )


def choose_key(adata: AnnData, locus_key: str | None, perturbation_key: str | None) -> str | None:
    """Return the column with the loci; ``None`` leaves it to the usual conventions.

    Raises
    ------
    ValueError
        When two columns are named.
    """
    if locus_key is not None and perturbation_key not in (None, locus_key):
        raise ValueError(
            f"locus_key={locus_key!r} and perturbation_key={perturbation_key!r} name two columns "
            "for the same thing. Give one of them."
        )
    named = locus_key or perturbation_key
    return LOCUS_KEY if named is None and LOCUS_KEY in adata.obs else named


def choose_separator(adata: AnnData, key: str | None, separator: str | None) -> str | None:
    """Return the separator; an empty one where labels are guides, in which ``+`` is a strand."""
    if separator is not None or key is None or key not in adata.obs:
        return separator
    labels = adata.obs[key].dropna().astype(str).unique()
    return "" if any(_is_guide(label) for label in labels) else None


def _is_guide(label: str) -> bool:
    try:
        parse_guide(label)
    except ValueError:
        return False
    return True


def choose_validation_loci(
    table: LocusTable, window: int, conditions: Sequence[Targets], rng: np.random.Generator
) -> list[Targets]:
    """Hold out about a tenth of the groups of loci, with every condition that has one of them.

    Loci of one gene, or with overlapping windows, are one group (:meth:`scbig.priors.Loci.group`):
    a sister promoter in training would make a held-out locus too easy.

    Parameters
    ----------
    table
        Knows the loci.
    window
        Width of a window, in bases.
    conditions
        Distinct target sets, without the control.
    rng
        Source of the choice.

    Returns
    -------
    The chosen conditions; none when there are fewer than 10 groups to choose from.
    """
    group = table.loci.group(window)
    groups_of = {
        targets: set(group[table.find(targets, is_strict=False)].tolist())
        for targets in conditions
    }
    present = sorted({number for groups in groups_of.values() for number in groups})
    names: list[Targets] = [(str(number),) for number in present]
    chosen = {int(name) for (name,) in choose_validation(names, rng)}
    held = [targets for targets in conditions if groups_of[targets] & chosen]
    # Where all loci lie side by side, their group is the whole screen.
    return held if len(held) < len(conditions) else []
