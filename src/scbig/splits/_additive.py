"""Hold out combinations; every single perturbation is trained on."""

from collections.abc import Iterable, Sequence

from scbig.splits._conditions import check_training, clean_conditions
from scbig.splits._draw import count_test, count_validation, draw, make_generator
from scbig.splits._split import Split

TEST_SHARE = 0.3
VAL_SHARE = 0.1


def make_additive(
    conditions: Iterable[Sequence[str]],
    *,
    seed: int = 0,
    test_share: float = TEST_SHARE,
    val_share: float = VAL_SHARE,
) -> Split:
    """Hold out some combinations, and train on the others and on all singles.

    The question is how effects combine. A combination may be held out whose targets were not
    all perturbed alone; :meth:`Split.get_kind` tells them apart.

    Parameters
    ----------
    conditions
        Conditions of the screen, each its targets; the control (no targets) may be among them.
    seed
        Seed of the draw.
    test_share
        Share of the combinations to test on, rounded down, at least one.
    val_share
        Share of the combinations to stop on, rounded up.

    Returns
    -------
    The split ``"additive_seed0"`` (or which seed it is).

    Raises
    ------
    ValueError
        When there are no combinations or too few, or nothing is left to train on.
    """
    rng = make_generator(seed)
    conditions = clean_conditions(conditions)
    pairs = [targets for targets in conditions if len(targets) > 1]
    if not pairs:
        raise ValueError(
            "There are no combinations to hold out: every condition has one target. Hold out "
            "genes instead, task='unseen'; if labels such as 'A_B' are combinations, name what "
            "joins them: separator='_'"
        )
    n_test, n_val = count_test(test_share, len(pairs)), count_validation(val_share, len(pairs))
    if n_test + n_val > len(pairs):
        raise ValueError(
            f"{n_test} test and {n_val} validation combinations are wanted, but there are "
            f"{len(pairs)}. Give smaller shares, such as test_share=0.3, val_share=0."
        )
    test = draw(pairs, n_test, rng)
    val = draw(set(pairs) - set(test), n_val, rng)
    check_training("additive", conditions, [*test, *val])
    return Split(f"additive_seed{seed}", "additive", int(seed), tuple(test), tuple(val))
