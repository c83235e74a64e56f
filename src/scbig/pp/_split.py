"""Splits of an AnnData into what is trained on, stopped on and tested on."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from anndata import AnnData

from scbig._annotations import checked
from scbig.data import ScreenSchema, infer_schema
from scbig.splits import Split, assign_split, make_split


@checked
def split(
    adata: AnnData,
    task: str,
    *,
    seed: int = 0,
    context_keys: Sequence[str] = (),
    candidates: Collection[str] | None = None,
    context: str | None = None,
    n_cells: int | None = None,
    schema: ScreenSchema | None = None,
) -> Split:
    """Hold conditions, or cells of them, out of a screen and mark its cells.

    Parameters
    ----------
    adata
        Annotated data of one screen.
    task
        The question to ask: ``"additive"`` (combinations of known genes), ``"unseen"`` (genes
        never perturbed), ``"context"`` (a cell line or the like), ``"replicate"`` (a batch),
        ``"low_sample"`` (few cells a condition), ``"gears"`` (the recipe of GEARS) or
        ``"seen"`` (half of the cells of every condition, and of the controls).
    seed
        Seed of the choice.
    context_keys
        Columns of ``obs`` with the contexts, or the column with the batches. Cells of seen
        conditions are halved within them.
    candidates
        Targets that may be held out; all by default.
    context
        The context or batch to hold out; the seed chooses it by default.
    n_cells
        Cells kept of each condition that is learned from, for ``"low_sample"``.
    schema
        Where the screen keeps its labels; recognised by default, see
        :func:`scbig.data.infer_schema`.

    Returns
    -------
    The split. Also writes into ``adata``:

    - ``obs["scbig_split"]``: categorical ``"train"``, ``"val"``, ``"test"``, ``"control"``,
      ``"unused"``. Control cells that a split of seen conditions holds out are ``"test"``.

    Raises
    ------
    ValueError
        When labels are not recognised, or the screen does not have what the task needs; see
        :func:`scbig.splits.make_split`.
    """
    if schema is None:
        schema = infer_schema(adata, context_keys=context_keys)
    elif context_keys:
        keys = (context_keys,) if isinstance(context_keys, str) else tuple(context_keys)
        schema = replace(schema, context_keys=keys)
    made = make_split(
        adata,
        task,
        seed=seed,
        schema=schema,
        candidates=candidates,
        context=context,
        n_cells=n_cells,
    )
    assign_split(adata, made, schema)
    return made
