"""Hold out genes, with every condition that contains them."""

from collections.abc import Collection, Iterable, Sequence

from scbig.data import Targets
from scbig.splits._conditions import check_training, clean_conditions
from scbig.splits._draw import count_test, count_validation, draw, make_generator
from scbig.splits._split import Split

TEST_SHARE = 0.2
VAL_SHARE = 0.07
N_SHOWN = 20


def make_unseen(
    conditions: Iterable[Sequence[str]],
    *,
    seed: int = 0,
    test_share: float = TEST_SHARE,
    val_share: float = VAL_SHARE,
    candidates: Collection[str] | None = None,
) -> Split:
    """Hold out targets: no condition of training or validation contains a tested one.

    Parameters
    ----------
    conditions
        Conditions of the screen, each its targets; the control (no targets) may be among them.
    seed
        Seed of the draw.
    test_share
        Share of the candidates to test on, rounded down, at least one.
    val_share
        Share of the remaining candidates to stop on, rounded up; no condition of training
        contains these either.
    candidates
        Targets that may be held out; all others stay in training. By default those that were
        perturbed alone, or all if none was.

    Returns
    -------
    The split ``"unseen_seed0"`` (or which seed it is).

    Raises
    ------
    ValueError
        When a candidate is no target of the screen, there are too few candidates, or nothing is
        left to train on.
    """
    rng = make_generator(seed)
    conditions = clean_conditions(conditions)
    candidates = _get_candidates(conditions, candidates)
    n_test = count_test(test_share, len(candidates))
    n_val = count_validation(val_share, max(0, len(candidates) - n_test))
    if n_test + n_val >= len({target for targets in conditions for target in targets}):
        raise ValueError(
            f"Too few targets: {n_test} to test on and {n_val} to stop on leave none of the "
            f"{len(candidates)} candidates to train on. Hold out fewer, such as "
            "test_share=0.1, val_share=0."
        )
    test_targets = draw(candidates, n_test, rng)
    val_targets = draw(set(candidates) - set(test_targets), n_val, rng)
    test = _get_containing(conditions, test_targets)
    val = [t for t in _get_containing(conditions, val_targets) if t not in set(test)]
    check_training("unseen", conditions, [*test, *val])
    return Split(f"unseen_seed{seed}", "unseen", int(seed), tuple(test), tuple(val))


def _get_candidates(
    conditions: Sequence[Targets], candidates: Collection[str] | None
) -> list[str]:
    known = {target for targets in conditions for target in targets}
    if candidates is None:
        alone = {targets[0] for targets in conditions if len(targets) == 1}
        return sorted(alone or known)
    wanted = {candidates} if isinstance(candidates, str) else set(candidates)
    if unknown := sorted(wanted - known):
        raise ValueError(
            f"{len(unknown)} of the candidates are not targets of this screen: {unknown[:5]}. "
            f"Choose from {sorted(known)[:N_SHOWN]}{' ...' if len(known) > N_SHOWN else ''}."
        )
    if not wanted:
        raise ValueError(
            "candidates is empty. Name targets that may be held out, or None for all."
        )
    return sorted(wanted)


def _get_containing(conditions: Sequence[Targets], held: Collection[str]) -> list[Targets]:
    return [targets for targets in conditions if not set(held).isdisjoint(targets)]
