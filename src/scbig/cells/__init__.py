"""Cells as counts: recovered from log1p values, and changed so that they have a given mean."""

from scbig.cells._called import (
    FALSE_DISCOVERY_RATE as FALSE_DISCOVERY_RATE,
    CallModel as CallModel,
    call_genes as call_genes,
    compute_power as compute_power,
    fit_calls as fit_calls,
    match_calls as match_calls,
)
from scbig.cells._counts import (
    CellCounts,
    bound_target,
    check_counts,
    compute_log1p,
    find_most,
    normalise_counts,
    scale_counts,
)
from scbig.cells._draw import draw_paths
from scbig.cells._gene_model import GeneModel, fit_gene_model, take_genes, widen_genes
from scbig.cells._hurdle import HurdleCells, move_cells, move_values
from scbig.cells._paths import CountPaths, SourceCells
from scbig.cells._recovery import recover_counts
from scbig.cells._responders import (
    Responders,
    expect_responders,
    fit_responders,
    take_responders,
)
from scbig.cells._screen_model import (
    MIN_RECOVERED as MIN_RECOVERED,
    ContextModel,
    ScreenModel,
    fit_screen_model,
    read_counts,
)
from scbig.cells._sources import draw_sources, draw_strength, map_depths, renew_cells
from scbig.cells._transport import TransportedCells, find_offset, transport_cells

__all__ = [
    "CellCounts",
    "ContextModel",
    "CountPaths",
    "GeneModel",
    "HurdleCells",
    "Responders",
    "ScreenModel",
    "SourceCells",
    "TransportedCells",
    "bound_target",
    "check_counts",
    "compute_log1p",
    "draw_paths",
    "draw_sources",
    "draw_strength",
    "expect_responders",
    "find_most",
    "find_offset",
    "fit_gene_model",
    "fit_responders",
    "fit_screen_model",
    "map_depths",
    "move_cells",
    "move_values",
    "normalise_counts",
    "read_counts",
    "recover_counts",
    "renew_cells",
    "scale_counts",
    "take_genes",
    "take_responders",
    "transport_cells",
    "widen_genes",
]
