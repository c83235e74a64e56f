"""The simulation split of GEARS (Roohani et al. 2023, doi:10.1038/s41587-023-01905-6)."""

from collections.abc import Iterable, Sequence

import numpy as np

from scbig._annotations import checked
from scbig.data import Targets
from scbig.splits._conditions import check_training, clean_conditions
from scbig.splits._split import JOIN, Split


@checked
def make_gears(
    conditions: Iterable[Sequence[str]],
    *,
    seed: int = 1,
    train_share: float = 0.75,
    inner_share: float = 0.9,
) -> Split:
    """Hold out genes and pairs as GEARS does, to the condition, for the same labels and seed.

    A share of the genes is trained on. Tested are the conditions with another gene, and some
    pairs of trained genes. The same is done once more inside the training conditions, for
    validation. The draws are made from the labels as text: with pairs in another spelling
    (``B+A`` for ``A+B``) or with other conditions the same seed gives another split. The
    published splits are those of seed 1 and the labels of the authors' own file.

    Parameters
    ----------
    conditions
        Conditions of the screen, each one or two targets in the order in which they are written;
        the control (no targets) may be among them. Of a pair in both orders one is taken.
    seed
        Seed of NumPy's older generator, which the recipe is defined by.
    train_share
        Share of the genes, and of the pairs of two such genes, to train and stop on.
    inner_share
        Share of these to train on.

    Returns
    -------
    The split ``"gears_seed1"`` (or which seed it is).

    Raises
    ------
    ValueError
        When a condition has more than two targets, a share is not between 0 and 1, or too few
        conditions are left to train or test on.
    """
    _check_shares({"train_share": train_share, "inner_share": inner_share})
    written = _get_written(conditions)
    if long := [targets for targets in written if len(targets) > 2]:
        raise ValueError(
            f"GEARS splits singles and pairs, but {long[0]} has {len(long[0])} targets. Leave "
            "such conditions out, or use task='unseen'."
        )
    fitted = _choose_training(written, train_share, seed)
    train = _choose_training({t: written[t] for t in fitted}, inner_share, seed)
    check_training("GEARS", written, [t for t in written if t not in train])
    test, val = sorted(written.keys() - fitted), sorted(fitted - train)
    if not test:
        raise ValueError(
            f"{len(written)} condition(s) are too few to hold any out at train_share="
            f"{train_share}. Give a smaller train_share."
        )
    return Split(f"gears_seed{seed}", "gears", int(seed), tuple(test), tuple(val))


def _get_written(conditions: Iterable[Sequence[str]]) -> dict[Targets, Targets]:
    """Find one spelling of each condition."""
    listed = list(conditions)
    clean_conditions(listed)  # raises for what is none
    spellings = sorted(map(tuple, listed))
    in_order = {tuple(sorted(set(targets))): targets for targets in spellings}
    return {targets: in_order[targets] for targets in clean_conditions(spellings)}


def _choose_training(written: dict[Targets, Targets], share: float, seed: int) -> set[Targets]:
    """Draw genes, then pairs of them; each draw starts the generator anew, as in GEARS."""
    genes = sorted({gene for targets in written for gene in targets})
    drawn = np.random.RandomState(seed).choice(genes, int(len(genes) * share), replace=False)
    trained = set(drawn.tolist())
    known = [targets for targets in written if trained.issuperset(targets)]
    pairs = {JOIN.join(written[t]): t for t in known if len(t) > 1}
    labels = sorted(pairs)
    n_kept = int(len(labels) * share)
    kept = np.random.RandomState(seed).permutation(len(labels))[:n_kept]
    return {t for t in known if len(t) == 1} | {pairs[labels[i]] for i in kept}


def _check_shares(shares: dict[str, float]) -> None:
    for name, share in shares.items():
        if not 0 < share < 1:
            raise ValueError(f"A share of {share!r} does not split. Give {name} between 0 and 1.")
