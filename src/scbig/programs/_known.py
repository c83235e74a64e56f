"""Programs from a grouping of genes that is already known."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scbig.priors import AlignedGraph
from scbig.programs._coherence import compute_coherence
from scbig.programs._make import describe_coverage
from scbig.programs._record import GenePrograms

UNASSIGNED_NAME = "unassigned"


def make_known_programs(
    var_names: Sequence[str],
    groups: Mapping[str, str] | pd.Series,
    *,
    graph: AlignedGraph | None = None,
    source: str = "groups",
) -> GenePrograms:
    """Take a grouping as it is; genes that it leaves out form the program "unassigned".

    Parameters
    ----------
    var_names
        Unique gene names.
    groups
        Program name of each gene, by gene name; missing values count as left out.
    graph
        Interaction graph aligned with ``var_names``, for the coherence report.
    source
        What the grouping is called in the record.

    Returns
    -------
    The programs, named and sorted as in the grouping (a categorical keeps its order).

    Raises
    ------
    ValueError
        If gene names repeat in the grouping, or none of them is in ``var_names``.
    """
    series = groups if isinstance(groups, pd.Series) else pd.Series(dict(groups), dtype=object)
    if not series.index.is_unique:
        repeated = series.index[series.index.duplicated()].unique()[:3].tolist()
        raise ValueError(f"The grouping names genes more than once: {repeated}. Keep one each.")
    found = series.reindex(pd.Index(var_names))
    if found.isna().all():
        raise ValueError(
            f"None of the {len(series)} genes of the grouping is in var_names, which start with "
            f"{list(var_names[:3])}; the grouping starts with {series.index[:3].tolist()}."
        )
    names = _sort_program_names(found)
    codes = {name: code for code, name in enumerate(names)}
    filled = found.astype(object).where(found.notna(), UNASSIGNED_NAME).astype(str)
    labels = filled.map(codes).to_numpy(dtype=np.int64)
    n_found = int(found.notna().sum())
    report = f"{source}: {n_found} of {len(found)} genes grouped"
    return GenePrograms(
        labels=labels,
        var_names=tuple(var_names),
        names=names,
        source=report if graph is None else f"{report}; {describe_coverage(graph.coverage)}",
        coherence=None if graph is None else compute_coherence(labels, graph.adjacency),
    )


def _sort_program_names(found: pd.Series) -> tuple[str, ...]:
    kinds = found.astype("category").cat.remove_unused_categories().cat.categories
    names = tuple(map(str, kinds))
    if found.isna().any() and UNASSIGNED_NAME not in names:
        return (*names, UNASSIGNED_NAME)
    return names
