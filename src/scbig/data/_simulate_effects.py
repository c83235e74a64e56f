"""Programs, their regulation, and what knock-downs of one to three genes do to each gene."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

_KINDS = ("additive", "buffering", "synergistic")
_MIXED = "mixed"  # buffering and synergistic pairs in one triple

_OWN_EFFECT = -1.8  # natural log: a knock-down to about 17%
_SATURATION = 1.4  # no program shifts by more than this
_BUFFERING = 0.55  # share of the sum that two targets of one program reach
_SYNERGY = 0.9  # size of the shift that neither partner causes alone


@dataclass(frozen=True)
class Circuit:
    """Genes, programs and the influence of programs on each other.

    Parameters
    ----------
    program
        Program of each gene, ``(G,)``.
    loading
        Response of each gene to its program, ``(G,)``, positive, around 1.
    base
        Log expression rate of each gene, ``(G,)``, up to a constant.
    regulation
        Shift of program j when a gene of program i is perturbed, ``(K, K)``.
    partner
        The program each program is synergistic with, ``(K,)``; its own index if none.
    """

    program: np.ndarray
    loading: np.ndarray
    base: np.ndarray
    regulation: np.ndarray
    partner: np.ndarray


@dataclass(frozen=True)
class Singles:
    """The perturbed genes and what each does alone.

    Parameters
    ----------
    targets
        The genes, ``(n_targets,)``.
    shifts
        Shift of each program, before it saturates, ``(n_targets, K)``.
    direct
        What only this target does to each gene, ``(n_targets, G)``.
    """

    targets: np.ndarray
    shifts: np.ndarray
    direct: np.ndarray


@dataclass(frozen=True)
class Combinations:
    """Combined knock-downs of one size and what they do to programs.

    Parameters
    ----------
    members
        Numbers of the targets of each combination, ``(n, size)``.
    kinds
        Kind of each.
    shifts
        Shift of each program, before it saturates, ``(n, K)``.
    """

    members: np.ndarray
    kinds: tuple[str, ...]
    shifts: np.ndarray


@dataclass(frozen=True)
class TrueEffects:
    """Conditions and their true effects: all singles, then all doubles, then all triples.

    Parameters
    ----------
    targets
        Indices of the perturbed genes of each of the C conditions.
    effects
        Log fold change of the expected rate, ``(C, G)``.
    interactions
        Effect of each combination minus the sum of its singles, ``(n_combinations, G)``.
    kinds
        Kind of each combination.
    """

    targets: tuple[tuple[int, ...], ...]
    effects: np.ndarray
    interactions: np.ndarray
    kinds: tuple[str, ...]


def draw_circuit(n_genes: int, n_programs: int, rng: np.random.Generator) -> Circuit:
    """Draw programs of unequal size and their regulation."""
    sizes = 3 + rng.multinomial(n_genes - 3 * n_programs, rng.dirichlet(np.full(n_programs, 8.0)))
    order = rng.permutation(n_programs)
    partner = np.arange(n_programs)
    half = n_programs // 2
    partner[order[:half]], partner[order[half : 2 * half]] = order[half : 2 * half], order[:half]
    return Circuit(
        program=rng.permutation(np.repeat(np.arange(n_programs), sizes)),
        loading=rng.lognormal(-0.05, 0.3, n_genes),
        base=rng.normal(0.0, 1.0, n_genes),
        regulation=_draw_regulation(n_programs, rng),
        partner=partner,
    )


def draw_singles(circuit: Circuit, n_targets: int, rng: np.random.Generator) -> Singles:
    """Draw targets and what each does alone."""
    targets = _draw_targets(circuit, n_targets, rng)
    shifts = _draw_program_shifts(circuit, targets, rng)
    return Singles(targets, shifts, _draw_direct_effects(n_targets, len(circuit.program), rng))


def draw_doubles(
    circuit: Circuit, singles: Singles, n_doubles: int, rng: np.random.Generator
) -> tuple[Combinations, np.ndarray]:
    """Draw doubles, and the synergy of partner programs that some of them show, ``(K, K)``."""
    pairs, kinds = _draw_pairs(circuit, singles.targets, n_doubles, rng)
    synergy = _draw_synergy(circuit, rng)
    programs = circuit.program[singles.targets[pairs]]
    shifts = _interact(singles.shifts[pairs].sum(axis=1), kinds, programs, synergy)
    return Combinations(pairs, tuple(kinds.tolist()), shifts), synergy


def draw_triples(
    circuit: Circuit,
    singles: Singles,
    synergy: np.ndarray,
    n_triples: int,
    rng: np.random.Generator,
) -> Combinations:
    """Choose triples with all kinds about equally often, and let their pairs interact.

    Targets of one program buffer each other as in a double; each pair of partner programs adds
    its synergy, a row of ``(K, K)``, once. No effect is the triple's own, beyond the saturation
    of programs.
    """
    targets = singles.targets
    if not n_triples:  # among hundreds of targets there are millions
        return Combinations(np.empty((0, 3), int), (), np.empty((0, len(circuit.partner))))
    everything = np.array(list(combinations(range(len(targets)), 3)), dtype=int).reshape(-1, 3)
    candidates = rng.permutation(everything)
    kinds = _get_triple_kinds(circuit.program[targets[candidates]], circuit.partner)
    chosen = _choose_of_all_kinds(kinds, n_triples)
    members = candidates[chosen]
    combined = [
        _combine_triple(
            singles.shifts[group], circuit.program[targets[group]], circuit.partner, synergy
        )
        for group in members
    ]
    shape = (len(members), len(circuit.partner))
    return Combinations(members, tuple(kinds[chosen].tolist()), np.reshape(combined, shape))


def compute_effects(circuit: Circuit, singles: Singles, *combined: Combinations) -> TrueEffects:
    """Compute the effects of singles and combinations on every gene."""
    alone = _compute_gene_effects(
        circuit, singles.shifts, singles.direct, singles.targets[:, None]
    )
    together = [
        _compute_gene_effects(
            circuit,
            part.shifts,
            singles.direct[part.members].sum(axis=1),
            singles.targets[part.members],
        )
        for part in combined
    ]
    added = [alone[part.members].sum(axis=1) for part in combined]
    groups = [singles.targets[:, None], *(singles.targets[part.members] for part in combined)]
    return TrueEffects(
        targets=tuple(tuple(genes) for group in groups for genes in group.tolist()),
        effects=np.vstack([alone, *together]),
        interactions=np.vstack(together) - np.vstack(added),
        kinds=tuple(kind for part in combined for kind in part.kinds),
    )


def _draw_regulation(n_programs: int, rng: np.random.Generator) -> np.ndarray:
    n_downstream = min(3, n_programs - 1)
    regulation = np.diag(rng.uniform(-0.9, -0.5, n_programs))
    for i in range(n_programs):
        others = rng.choice(np.delete(np.arange(n_programs), i), n_downstream, replace=False)
        signs = rng.choice([-1.0, 1.0], n_downstream)
        regulation[i, others] = signs * rng.uniform(0.3, 0.8, n_downstream)
    return regulation


def _draw_targets(circuit: Circuit, n_targets: int, rng: np.random.Generator) -> np.ndarray:
    """Spread targets over the programs, among the better expressed half of each."""
    rank = np.empty(len(circuit.program))
    for program in range(len(circuit.partner)):
        members = np.flatnonzero(circuit.program == program)
        by_expression = members[np.argsort(-circuit.base[members])]
        n_upper = (len(members) + 1) // 2
        rank[rng.permutation(by_expression[:n_upper])] = np.arange(n_upper)
        rank[by_expression[n_upper:]] = np.arange(n_upper, len(members))
    return np.sort(np.argsort(rank, kind="stable")[:n_targets])


def _draw_program_shifts(
    circuit: Circuit, targets: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw the shift of each program by each target, ``(n_targets, K)``."""
    shape = len(targets), len(circuit.partner)
    strength = rng.uniform(0.4, 1.3, (shape[0], 1))
    shared = circuit.regulation[circuit.program[targets]]
    return strength * (shared + rng.normal(0.0, 0.15, shape))


def _draw_direct_effects(n_targets: int, n_genes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw what only this target does: a sparse ``(n_targets, G)`` matrix."""
    size = rng.normal(0.0, 0.6, (n_targets, n_genes))
    return np.where(rng.random((n_targets, n_genes)) < 0.04, size, 0.0)


def _draw_pairs(
    circuit: Circuit, targets: np.ndarray, n_doubles: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose pairs ``(n_doubles, 2)`` with all kinds about equally often, and their kinds."""
    pairs = rng.permutation(
        np.array(list(combinations(range(len(targets)), 2)), dtype=int).reshape(-1, 2)
    )
    first, second = circuit.program[targets[pairs]].T
    kinds = np.select(
        [first == second, circuit.partner[first] == second],
        ["buffering", "synergistic"],
        default="additive",
    )
    chosen = _choose_of_all_kinds(kinds, n_doubles)
    return pairs[chosen], kinds[chosen]


def _choose_of_all_kinds(kinds: np.ndarray, n: int) -> np.ndarray:
    """Positions of the first n combinations when the kinds take turns."""
    turn = np.empty(len(kinds), dtype=int)  # how many of its kind come before
    for kind in (*_KINDS, _MIXED):
        turn[kinds == kind] = np.arange(np.count_nonzero(kinds == kind))
    return np.sort(np.argsort(turn, kind="stable")[:n])


def _interact(
    summed: np.ndarray,
    kinds: np.ndarray,
    pair_programs: np.ndarray,
    synergy: np.ndarray,
) -> np.ndarray:
    """Turn summed program shifts of pairs ``(n_doubles, K)`` into those of the doubles."""
    shifts = np.where(kinds[:, None] == "buffering", _BUFFERING * summed, summed)
    is_synergistic = kinds == "synergistic"
    shifts[is_synergistic] += synergy[pair_programs[is_synergistic, 0]]
    return shifts


def _draw_synergy(circuit: Circuit, rng: np.random.Generator) -> np.ndarray:
    """Draw the shift that program i and its partner add to a double, row i of ``(K, K)``."""
    n_programs = len(circuit.partner)
    shift = rng.choice([-_SYNERGY, _SYNERGY], (n_programs, n_programs))
    shift *= rng.random((n_programs, n_programs)) < 3 / n_programs
    return shift[np.minimum(np.arange(n_programs), circuit.partner)]  # alike for both partners


def _get_triple_kinds(programs: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Kind of each triple, given the programs of its targets, ``(n, 3)``."""
    first, second = programs[:, [0, 0, 1]], programs[:, [1, 2, 2]]
    is_buffering = (first == second).any(axis=1)
    is_synergistic = ((first != second) & (partner[first] == second)).any(axis=1)
    additive, buffering, synergistic = _KINDS
    return np.select(
        [is_buffering & is_synergistic, is_buffering, is_synergistic],
        [_MIXED, buffering, synergistic],
        default=additive,
    )


def _combine_triple(
    shifts: np.ndarray, programs: np.ndarray, partner: np.ndarray, synergy: np.ndarray
) -> np.ndarray:
    """Shift of each program by three targets together, ``(K,)``."""
    total = np.zeros(shifts.shape[1])
    present = set(programs.tolist())
    for program in present:
        of_program = shifts[programs == program]
        total += of_program.sum(axis=0) * (_BUFFERING if len(of_program) > 1 else 1)
    for program in present:
        if program < partner[program] and int(partner[program]) in present:
            total += synergy[program]
    return total


def _compute_gene_effects(
    circuit: Circuit, shifts: np.ndarray, direct: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Turn program shifts ``(n, K)`` and direct effects ``(n, G)`` into effects ``(n, G)``."""
    saturated = _SATURATION * np.tanh(shifts / _SATURATION)
    effects = saturated[:, circuit.program] * circuit.loading + direct
    np.put_along_axis(effects, targets, _OWN_EFFECT, axis=1)
    return effects
