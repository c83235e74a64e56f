"""A simulated genome in which motifs near a promoter decide what silencing it does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
REACH = 200  # a motif acts on a start site within this distance
N_CHROMOSOMES = 3

_MOTIF_LENGTH = 10
_SLOT = 12  # motifs are planted on a grid of this step, so that they do not overlap
_SITE_DISTANCE = (2_000, 3_000)  # between start sites of one gene
_GENE_DISTANCE = (4_000, 6_000)
_LINE = 60  # bases on a line of FASTA


@dataclass(frozen=True)
class Sites:
    """Start sites of transcription, ordered along the genome.

    Parameters
    ----------
    gene
        Number of each site's gene, ``(L,)``.
    chromosome
        Number of its chromosome, ``(L,)``.
    position
        Its position, counted from 0, ``(L,)``.
    is_reverse
        Whether its gene is on the reverse strand, ``(L,)``.
    """

    gene: np.ndarray
    chromosome: np.ndarray
    position: np.ndarray
    is_reverse: np.ndarray


def draw_sites(n_genes: int, rng: np.random.Generator) -> Sites:
    """Place genes with two or three start sites each on the chromosomes."""
    gene = np.repeat(np.arange(n_genes), rng.integers(2, 4, n_genes))
    is_first = np.diff(gene, prepend=-1) > 0
    steps = np.where(
        is_first,
        rng.integers(*_GENE_DISTANCE, len(gene)),
        rng.integers(*_SITE_DISTANCE, len(gene)),
    )
    chromosome = gene * N_CHROMOSOMES // n_genes
    position = np.empty(len(gene), dtype=np.int64)
    for number in range(N_CHROMOSOMES):
        position[chromosome == number] = np.cumsum(steps[chromosome == number])
    return Sites(gene, chromosome, position, rng.random(n_genes)[gene] < 0.5)


def draw_motifs(n_motifs: int, rng: np.random.Generator) -> np.ndarray:
    """Draw motifs that differ from each other on both strands, codes ``(M, 10)``."""
    motifs: list[np.ndarray] = []
    while len(motifs) < n_motifs:
        new = rng.integers(0, 4, _MOTIF_LENGTH)
        others = [new[::-1] ^ 3, *motifs, *(motif[::-1] ^ 3 for motif in motifs)]
        # Half of the bases differ from every other motif, and from its own other strand.
        if min(np.count_nonzero(new != other) for other in others) >= _MOTIF_LENGTH // 2:
            motifs.append(new)
    return np.array(motifs, dtype=np.uint8)


def draw_genome(
    sites: Sites, copies: np.ndarray, motifs: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw chromosomes and plant motifs around the start sites.

    Parameters
    ----------
    sites
        The start sites.
    copies
        How often each motif is planted at each site, ``(L, M)``.
    motifs
        The motifs, ``(M, 10)``.
    rng
        Source of randomness.

    Returns
    -------
    list of numpy.ndarray
        Codes of each chromosome: 0 to 3 for A, C, G and T, so that 3 - code is the complement.
    """
    chromosomes = []
    for number in range(N_CHROMOSOMES):
        is_here = sites.chromosome == number
        sequence = rng.integers(0, 4, sites.position[is_here].max() + _GENE_DISTANCE[1])
        for position, n_copies in zip(sites.position[is_here], copies[is_here], strict=True):
            _plant(sequence, position, np.repeat(motifs, n_copies, axis=0), rng)
        chromosomes.append(sequence.astype(np.uint8))
    return chromosomes


def _plant(
    sequence: np.ndarray, position: int, motifs: np.ndarray, rng: np.random.Generator
) -> None:
    slots = rng.choice(2 * REACH // _SLOT, len(motifs), replace=False)
    for motif, slot in zip(motifs, slots, strict=True):
        start = position - REACH + slot * _SLOT
        sequence[start : start + _MOTIF_LENGTH] = motif if rng.random() < 0.5 else motif[::-1] ^ 3


def count_motifs(chromosomes: list[np.ndarray], sites: Sites, motifs: np.ndarray) -> np.ndarray:
    """Count motifs on both strands near each site, chance ones too, ``(L, M)``."""
    counts = np.zeros((len(sites.gene), len(motifs)), dtype=np.int64)
    for row, (number, position) in enumerate(zip(sites.chromosome, sites.position, strict=True)):
        near = chromosomes[number][position - REACH : position + REACH]
        words = sliding_window_view(near, _MOTIF_LENGTH)[:, None]
        for strand in (motifs, motifs[:, ::-1] ^ 3):
            counts[row] += (words == strand).all(axis=2).sum(axis=0)
    return counts


def write_fasta(path: Path, names: list[str], chromosomes: list[np.ndarray]) -> None:
    """Write chromosomes as FASTA."""
    with path.open("w", encoding="ascii") as file:
        for name, codes in zip(names, chromosomes, strict=True):
            text = BASES[codes].tobytes().decode("ascii")
            lines = [text[i : i + _LINE] for i in range(0, len(text), _LINE)]
            file.write("\n".join([f">{name}", *lines, ""]))
