"""How much of a genome can be asked: of its positions, and of given places such as start sites."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from scbig._annotations import checked
from scbig._arguments import check_whole
from scbig.priors._genome import Genome
from scbig.priors._loci import Loci
from scbig.priors._windows import UNKNOWN

# Positions that are looked at at once; a human chromosome has up to 249 million.
_N_AT_ONCE = 10_000_000
_N_LOCI = 4096
_COUNTS = ("n", "n_known", "n_askable", "n_whole")


@checked
def count_positions(genome: Genome, *, width: int) -> pd.DataFrame:
    """Count the positions of a genome that can be asked for.

    A position can be asked for when its window has a base that is known: of the rest, long runs
    of N, nothing is there to be read. How well it is answered is another question.

    Parameters
    ----------
    genome
        The genome; each chromosome is read once.
    width
        Bases of the window around a position, such as that of
        :class:`~scbig.model.STRANDConfig` or of an encoder.

    Returns
    -------
    One row per chromosome and a last one, ``"all"``, with the columns

    - ``n``, positions;
    - ``n_known``, those whose own base is A, C, G or T;
    - ``n_askable``, those with such a base in their window;
    - ``n_whole``, those whose window has no N and does not reach beyond the chromosome;

    and of the last three ``share_known``, ``share_askable`` and ``share_whole``.

    Raises
    ------
    ValueError
        When `width` is below 1.

    Examples
    --------
    >>> with scbig.priors.Genome("hg38.fa") as genome:  # doctest: +SKIP
    ...     table = scbig.priors.count_positions(genome, width=1024)
    >>> table.loc["all", "share_askable"]  # doctest: +SKIP
    """
    check_whole("width", width)
    rows = {}
    for chrom, length in genome.lengths.items():
        counts = np.zeros(len(_COUNTS), dtype=np.int64)
        for start in range(0, length, _N_AT_ONCE):
            counts += _count_stretch(genome, chrom, start, min(start + _N_AT_ONCE, length), width)
        rows[chrom] = counts
    return _tabulate(rows)


def _count_stretch(genome: Genome, chrom: str, start: int, end: int, width: int) -> np.ndarray:
    """Counts of the positions from `start` to before `end`."""
    first, last = start - width // 2, end - width // 2 + width - 1
    inside = slice(max(first, 0), min(last, genome.lengths[chrom]))
    is_known = np.zeros(last - first, dtype=bool)
    codes = genome.read(chrom, inside.start, inside.stop)
    is_known[inside.start - first : inside.stop - first] = codes < UNKNOWN
    n_before = np.concatenate([[0], np.cumsum(is_known, dtype=np.int64)])
    n_known = n_before[width:] - n_before[:-width]
    own = is_known[start - first : end - first]
    return np.array([end - start, own.sum(), (n_known > 0).sum(), (n_known == width).sum()])


@checked
def count_loci(genome: Genome, loci: Loci, *, width: int) -> pd.DataFrame:
    """Count the places that can be asked for, such as the start sites of an annotation.

    Parameters
    ----------
    genome
        The genome. Places on chromosomes that it does not have, or beyond their ends, count as
        places that cannot be asked for.
    loci
        The places; see :func:`load_start_sites`.
    width
        As for :func:`count_positions`.

    Returns
    -------
    The columns of :func:`count_positions`, for the places of each chromosome; a longer place is
    known when all of its bases are.

    Raises
    ------
    ValueError
        When `width` is below 1, or the file is of another genome, see :meth:`Genome.check`.
    """
    check_whole("width", width)
    rows = {locus.chrom: np.zeros(len(_COUNTS), dtype=np.int64) for locus in loci}
    for locus in loci:
        rows[locus.chrom][0] += 1
    for part in _split(genome, loci):
        windows = genome.get_windows(part, width, target_flank=0)
        n_known = (windows.codes < UNKNOWN).sum(axis=1)
        is_unknown = windows.is_target & (windows.codes >= UNKNOWN)
        is_known = windows.is_target.any(axis=1) & ~is_unknown.any(axis=1)
        found = np.stack([is_known, n_known > 0, n_known == width], axis=1)
        for locus, counts in zip(part, found, strict=True):
            rows[locus.chrom][1:] += counts
    return _tabulate(rows)


def _split(genome: Genome, loci: Loci) -> Iterator[Loci]:
    """Yield the places that the genome has, some at a time."""
    there = [x for x in loci if x.end <= genome.lengths.get(x.chrom, 0)]
    for start in range(0, len(there), _N_LOCI):
        yield Loci(tuple(there[start : start + _N_LOCI]), loci.assembly, loci.source)


def _tabulate(rows: dict[str, np.ndarray]) -> pd.DataFrame:
    rows = rows | {"all": np.sum(list(rows.values()), axis=0)}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(_COUNTS))
    shares = {name.replace("n_", "share_"): table[name] / table["n"] for name in _COUNTS[1:]}
    return table.assign(**shares).rename_axis("chrom")
