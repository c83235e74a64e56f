"""How a screen of loci writes its labels: the column of loci, and guides in whose names + is."""

from collections.abc import Sequence

from anndata import AnnData

from scbig._annotations import checked
from scbig.data._conventions import infer_schema
from scbig.labels import (
    LOCUS_KEY,
    Guides,
    ScreenSchema,
)
from scbig.priors import parse_guide


def infer_locus_schema(
    adata: AnnData,
    *,
    layer: str | None = None,
    perturbation_key: str | None = None,
    control: str | Sequence[str] | None = None,
    context_keys: Sequence[str] = (),
    separator: str | None = None,
    gene_key: str | None = None,
    guide_to_gene: Guides | None = None,
) -> ScreenSchema:
    """Recognise the conventions of a screen of loci.

    As :func:`infer_schema`, with ``"locus"`` first among the columns, and without a separator
    where labels are guides, in whose names ``+`` is a strand.

    Parameters
    ----------
    adata
        Annotated data of one screen.
    layer, perturbation_key, control, context_keys, separator, gene_key, guide_to_gene
        See :func:`infer_schema`.

    Returns
    -------
    The schema of the screen.

    Raises
    ------
    ValueError
        As :func:`infer_schema` does.
    """
    key, separator = find_locus_labels(
        adata, perturbation_key=perturbation_key, separator=separator
    )
    return infer_schema(
        adata,
        layer=layer,
        perturbation_key=key,
        control=control,
        context_keys=context_keys,
        separator=separator,
        gene_key=gene_key,
        guide_to_gene=guide_to_gene,
    )


@checked
def find_locus_labels(
    adata: AnnData,
    *,
    locus_key: str | None = None,
    perturbation_key: str | None = None,
    separator: str | None = None,
) -> tuple[str | None, str | None]:
    """Find the column of loci, and what stands between the loci of a label.

    Parameters
    ----------
    adata
        Annotated data of one screen.
    locus_key, perturbation_key
        The column under either name, where it is known.
    separator
        The separator, where it is known.

    Returns
    -------
    Both as :func:`infer_schema` takes them: ``None`` leaves them to the usual conventions, and the
    separator is empty where labels are guides, in whose names ``+`` is a strand.

    Raises
    ------
    ValueError
        When two columns are named.
    """
    if locus_key is not None and locus_key not in adata.obs:
        raise ValueError(
            f"locus_key={locus_key!r} is not a column of obs. Columns found: {list(adata.obs)}."
        )
    if locus_key is not None and perturbation_key not in (None, locus_key):
        raise ValueError(
            f"locus_key={locus_key!r} and perturbation_key={perturbation_key!r} name two columns "
            "for the same thing. Give one of them."
        )
    key = locus_key or perturbation_key
    if key is None and LOCUS_KEY in adata.obs:
        key = LOCUS_KEY
    if separator is None and key is not None and key in adata.obs:
        labels = adata.obs[key].dropna().astype(str).unique()
        separator = "" if any(_is_guide(label) for label in labels) else None
    return key, separator


def _is_guide(label: str) -> bool:
    try:
        parse_guide(label)
    except ValueError:
        return False
    return True
