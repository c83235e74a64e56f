"""Hold out perturbations of one context, such as a cell line or a batch."""

import logging
from collections.abc import Collection, Sequence

from scbig._annotations import checked
from scbig._arguments import check_seed
from scbig.data import Targets
from scbig.splits._conditions import count_test, draw, make_generator
from scbig.splits._split import Split

logger = logging.getLogger(__name__)

# Held out where a seed returns to a context that an earlier seed held out as a whole.
REPEAT_SHARE = 0.5


@checked
def make_context(
    groups: Collection[tuple[Targets, str]],
    context_keys: Sequence[str],
    *,
    context: str | None = None,
    seed: int = 0,
    share: float | None = None,
) -> Split:
    """Hold out the perturbations of one context; its control cells stay.

    The question is what a perturbation does in a context where it was not measured.

    Parameters
    ----------
    groups
        Conditions and names of the contexts that have cells of them.
    context_keys
        Columns of ``obs`` that make up a context.
    context
        The context to hold out; by default seeds 0, 1, 2, ... take the contexts in turn, in
        alphabetical order.
    seed
        Seed of the choice of the context, and of the perturbations if a share of them is drawn.
    share
        Share of the perturbations of that context to hold out, rounded down, at least one. By
        default all; but where ``seed`` has gone through all contexts and returns to one, half
        of them, as otherwise two seeds would be the same split.

    Returns
    -------
    The split ``"context_seed0"`` (or which seed it is), without validation conditions.

    Raises
    ------
    ValueError
        When there is one context only, or none of that name.
    """
    return _hold_out("context", groups, tuple(context_keys), context, seed, share)


@checked
def make_replicate(
    groups: Collection[tuple[Targets, str]],
    batch_key: str,
    *,
    batch: str | None = None,
    seed: int = 0,
    share: float | None = None,
) -> Split:
    """Hold out the perturbations of one replicate, which tells reproducibility from prediction.

    Parameters
    ----------
    groups
        Conditions and names of the batches that have cells of them.
    batch_key
        Column of ``obs`` with the batches.
    batch, seed, share
        As ``context``, ``seed`` and ``share`` of :func:`make_context`.

    Returns
    -------
    The split ``"replicate_seed0"`` (or which seed it is), without validation conditions.

    Raises
    ------
    ValueError
        When there is one batch only, or none of that name.
    """
    return _hold_out("replicate", groups, (batch_key,), batch, seed, share)


def _hold_out(
    task: str,
    groups: Collection[tuple[Targets, str]],
    keys: tuple[str, ...],
    context: str | None,
    seed: int,
    share: float | None,
) -> Split:
    check_seed(seed)
    contexts = sorted({name for targets, name in groups if targets})
    _check_contexts(task, contexts, keys, context)
    if share is None:
        share = 1.0 if context is not None or seed < len(contexts) else REPEAT_SHARE
    context = contexts[seed % len(contexts)] if context is None else context
    there = {tuple(sorted(set(targets))) for targets, name in groups if name == context} - {()}
    test = draw(there, count_test(share, len(there)), make_generator(seed))
    n_only = len(set(test) - {tuple(sorted(set(t))) for t, name in groups if name != context})
    if n_only:
        logger.info("%d test condition(s) of %s have no cells elsewhere.", n_only, context)
    return Split(
        f"{task}_seed{seed}", task, int(seed), tuple(test), (), keys, test_contexts=(context,)
    )


def _check_contexts(
    task: str, contexts: Sequence[str], keys: Sequence[str], context: str | None
) -> None:
    where = f"obs[{keys[0]!r}]" if len(keys) == 1 else f"obs columns {list(keys)}"
    if context is not None and context not in contexts:
        raise ValueError(
            f"There is no context {context!r} with perturbed cells in {where}. "
            f"Choose one of {contexts}."
        )
    if len(contexts) < 2:
        raise ValueError(
            f"A {task} split needs two contexts with perturbed cells, but {where} has "
            f"{contexts}. Name another column, or hold out genes: task='unseen'"
        )
