"""Knock-downs of three genes at once: what their pairs do, carried over."""

from itertools import combinations

import numpy as np

from scbig.data._simulate_effects import BUFFERING, KINDS, Circuit, Combinations, Singles

MIXED = "mixed"  # buffering and synergistic pairs in one triple


def draw_triples(
    circuit: Circuit,
    singles: Singles,
    synergy: np.ndarray,
    n_triples: int,
    rng: np.random.Generator,
) -> Combinations:
    """Choose triples with all kinds about equally often, and let their pairs interact.

    Targets of one program buffer each other as in a double; each pair of partner programs adds
    its synergy once. No effect is the triple's own, beyond the saturation of programs.

    Parameters
    ----------
    circuit
        Programs and their partners.
    singles
        The targets and what each does alone.
    synergy
        Shift that program i and its partner add, row i of ``(K, K)``.
    n_triples
        Number of triples.
    rng
        Source of randomness.

    Returns
    -------
    The triples.
    """
    targets = singles.targets
    if not n_triples:  # among hundreds of targets there are millions
        return Combinations(np.empty((0, 3), int), (), np.empty((0, len(circuit.partner))))
    everything = np.array(list(combinations(range(len(targets)), 3)), dtype=int).reshape(-1, 3)
    candidates = rng.permutation(everything)
    kinds = _get_kinds(circuit.program[targets[candidates]], circuit.partner)
    turn = np.empty(len(candidates), dtype=int)  # how many of its kind come before
    for kind in (*KINDS, MIXED):
        turn[kinds == kind] = np.arange(np.count_nonzero(kinds == kind))
    chosen = np.sort(np.argsort(turn, kind="stable")[:n_triples])
    members = candidates[chosen]
    combined = [
        _combine(singles.shifts[group], circuit.program[targets[group]], circuit.partner, synergy)
        for group in members
    ]
    shape = (len(members), len(circuit.partner))
    return Combinations(members, tuple(kinds[chosen].tolist()), np.reshape(combined, shape))


def _get_kinds(programs: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Kind of each triple, given the programs of its targets, ``(n, 3)``."""
    first, second = programs[:, [0, 0, 1]], programs[:, [1, 2, 2]]
    is_buffering = (first == second).any(axis=1)
    is_synergistic = ((first != second) & (partner[first] == second)).any(axis=1)
    additive, buffering, synergistic = KINDS
    return np.select(
        [is_buffering & is_synergistic, is_buffering, is_synergistic],
        [MIXED, buffering, synergistic],
        default=additive,
    )


def _combine(
    shifts: np.ndarray, programs: np.ndarray, partner: np.ndarray, synergy: np.ndarray
) -> np.ndarray:
    """Shift of each program by three targets together, ``(K,)``."""
    total = np.zeros(shifts.shape[1])
    present = set(programs.tolist())
    for program in present:
        of_program = shifts[programs == program]
        total += of_program.sum(axis=0) * (BUFFERING if len(of_program) > 1 else 1)
    for program in present:
        if program < partner[program] and int(partner[program]) in present:
            total += synergy[program]
    return total
