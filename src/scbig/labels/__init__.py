"""Labels of cells: perturbations, controls, guides and contexts; what is doubtful is refused.

Text and annotations alone, no AnnData.
"""

from scbig.labels._audit import (
    LOCUS_KEY as LOCUS_KEY,
    check_labels as check_labels,
    check_other_controls as check_other_controls,
    find_other_controls as find_other_controls,
)
from scbig.labels._column import (
    PERTURBATION_KEYS as PERTURBATION_KEYS,
    check_named as check_named,
    find_controls as find_controls,
    find_guides_inside as find_guides_inside,
    find_perturbation_key as find_perturbation_key,
    is_stand_in as is_stand_in,
    list_labels as list_labels,
    match_numbers as match_numbers,
)
from scbig.labels._contexts import (
    CONTEXT_JOIN as CONTEXT_JOIN,
    check_contexts as check_contexts,
    check_missing as check_missing,
    get_context_names as get_context_names,
)
from scbig.labels._doubts import (
    find_genes_inside as find_genes_inside,
    is_ensembl as is_ensembl,
)
from scbig.labels._guide_table import (
    Guides as Guides,
    read_guides as read_guides,
)
from scbig.labels._reading import (
    CONTROL_LABELS as CONTROL_LABELS,
    DEFAULT_SEPARATOR as DEFAULT_SEPARATOR,
    SEPARATORS as SEPARATORS,
    is_control_token as is_control_token,
    is_missing_like as is_missing_like,
    parse_perturbation as parse_perturbation,
    read_controls as read_controls,
)
from scbig.labels._remedies import (
    write_table as write_table,
)
from scbig.labels._schema import (
    Perturbations as Perturbations,
    ScreenSchema as ScreenSchema,
    Targets as Targets,
)
from scbig.labels._separators import (
    find_separator as find_separator,
)
from scbig.labels._summary import describe_labels as describe_labels
