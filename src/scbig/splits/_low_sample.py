"""Train on few cells of each condition."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from scbig.splits import _additive, _unseen
from scbig.splits._conditions import clean_conditions
from scbig.splits._split import Split


def make_low_sample(
    conditions: Iterable[Sequence[str]],
    n_cells: int,
    *,
    seed: int = 0,
    test_share: float | None = None,
    candidates: Collection[str] | None = None,
) -> Split:
    """Keep ``n_cells`` cells of each condition that is learned from.

    The tested conditions keep all their cells and are those of :func:`make_additive` with the
    same seed, or of :func:`make_unseen` where the screen has no combinations; so scores with 8,
    16, 32 and 64 cells can be compared with each other and with those of all cells. Control
    cells are all kept. Validation conditions are cut down too, as a model may be refitted on
    them. The cells of a smaller ``n_cells`` are among those of a larger one.

    Parameters
    ----------
    conditions
        Conditions of the screen, each its targets; the control (no targets) may be among them.
    n_cells
        Cells kept of each condition; a condition with fewer keeps what it has.
    seed
        Seed of the draw of conditions, and in :func:`assign_split` of cells.
    test_share
        Share to test on; by default that of the other split.
    candidates
        Targets that may be held out, for screens without combinations; see :func:`make_unseen`.

    Returns
    -------
    The split ``"low_sample16_seed0"`` (or which numbers they are).

    Raises
    ------
    ValueError
        When ``n_cells`` is below 1, ``candidates`` are given for a screen with combinations, or
        the other split cannot be made.
    """
    conditions = clean_conditions(conditions)
    is_combinatorial = len(conditions[-1]) > 1
    if is_combinatorial and candidates is not None:
        raise ValueError(
            "candidates are targets to hold out, but this screen has combinations, and those are "
            "held out. Leave candidates out."
        )
    if is_combinatorial:
        share = _additive.TEST_SHARE if test_share is None else test_share
        split = _additive.make_additive(conditions, seed=seed, test_share=share)
    else:
        share = _unseen.TEST_SHARE if test_share is None else test_share
        split = _unseen.make_unseen(conditions, seed=seed, test_share=share, candidates=candidates)
    name = f"low_sample{n_cells}_seed{seed}"
    return replace(split, name=name, task="low_sample", n_cells=n_cells)
