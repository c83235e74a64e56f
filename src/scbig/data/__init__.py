"""The border to AnnData: conventions, checks, batches, queries, and simulated screens."""

import scbig._scvi_tools  # noqa: F401 - before others load it
from scbig.data._batches import CellBatches, PairBatches, Pairs
from scbig.data._cell_eval import (
    make_judged as make_judged,
    make_judged_real as make_judged_real,
    to_cell_eval,
)
from scbig.data._check_cells import (
    check_matrices as check_matrices,
    check_readable as check_readable,
    say_once as say_once,
    take_labels as take_labels,
    warn_of_empty as warn_of_empty,
)
from scbig.data._check_numbers import check_finite as check_finite
from scbig.data._check_values import check_expression, warn_of_depth as warn_of_depth
from scbig.data._control_pools import choose_averaged as choose_averaged
from scbig.data._controls import (
    controls_from_plain,
    controls_to_plain,
    join_controls,
    make_controls,
    thin,
)
from scbig.data._conventions import infer_schema
from scbig.data._effect_table import (
    ERRORS as ERRORS,
    Forecast as Forecast,
    make_effect_table as make_effect_table,
    read_table_rows as read_table_rows,
)
from scbig.data._effects import (
    Effects,
    Group as Group,
    compute_effects,
    compute_group_means,
    compute_half_effects as compute_half_effects,
    effects_from_plain,
    effects_to_plain,
    join_effects,
)
from scbig.data._expression import (
    Expression,
    GeneMatch,
    from_mudata,
    get_gene_names,
    get_matrix,
    match_genes,
    take_log_base as take_log_base,
)
from scbig.data._fields import ExpressionField, PerturbationField, check_columns
from scbig.data._folders import (
    add_prefix as add_prefix,
    check_predictor as check_predictor,
    is_free as is_free,
    name_damage as name_damage,
    read_folder as read_folder,
    read_header as read_header,
    take_prefix as take_prefix,
    write_folder as write_folder,
)
from scbig.data._lenders import (
    Lending as Lending,
    lend_controls as lend_controls,
    name_contexts as name_contexts,
    read_lending as read_lending,
)
from scbig.data._locus_conventions import find_locus_labels, infer_locus_schema
from scbig.data._make_cells import (
    MeanChange as MeanChange,
    Wanted as Wanted,
    make_cells as make_cells,
    spawn as spawn,
)
from scbig.data._query import (
    Query,
    annotate_query,
    make_query,
    repeat_query as repeat_query,
)
from scbig.data._rank_test import call_by_ranks as call_by_ranks
from scbig.data._raw_counts import (
    CellMatrices as CellMatrices,
    holds_counts as holds_counts,
    read_matrices as read_matrices,
)
from scbig.data._screen import Screen, make_screen
from scbig.data._screen_cells import (
    ScreenCells as ScreenCells,
    ask_for_cells as ask_for_cells,
    check_conditions as check_conditions,
    fit_cells as fit_cells,
    list_responders as list_responders,
    read_responding as read_responding,
)
from scbig.data._simulate import simulate_screen
from scbig.data._simulate_locus import simulate_locus_screen
from scbig.data._target_names import (
    list_targets as list_targets,
    report_targets as report_targets,
)
from scbig.data._write import (
    EXPECTED as EXPECTED,
    Prediction,
    check_key as check_key,
    predict_query,
    put_sources as put_sources,
    write_prediction,
)
from scbig.labels import (
    Guides,
    Perturbations,
    ScreenSchema,
    Targets,
    describe_labels as describe_labels,
    get_context_names,
    read_guides as read_guides,
)

__all__ = [
    "CellBatches",
    "Effects",
    "Expression",
    "ExpressionField",
    "GeneMatch",
    "Guides",
    "PairBatches",
    "Pairs",
    "PerturbationField",
    "Perturbations",
    "Prediction",
    "Query",
    "Screen",
    "ScreenSchema",
    "Targets",
    "annotate_query",
    "check_columns",
    "check_expression",
    "compute_effects",
    "compute_group_means",
    "controls_from_plain",
    "controls_to_plain",
    "effects_from_plain",
    "effects_to_plain",
    "find_locus_labels",
    "from_mudata",
    "get_context_names",
    "get_gene_names",
    "get_matrix",
    "infer_locus_schema",
    "infer_schema",
    "join_controls",
    "join_effects",
    "make_controls",
    "make_query",
    "make_screen",
    "match_genes",
    "predict_query",
    "simulate_locus_screen",
    "simulate_screen",
    "thin",
    "to_cell_eval",
    "write_prediction",
]
