"""A simulated screen of promoters whose DNA decides what silencing them does."""

import logging
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.lib.stride_tricks import sliding_window_view

from scbig._annotations import checked
from scbig._constants import UNS
from scbig._writing import replacing, write_text
from scbig.data._simulate import CellPlan, draw_cell_plan, draw_counts, make_log1p_cells
from scbig.data._simulate_effects import Circuit, draw_circuit
from scbig.priors import Loci, Locus

logger = logging.getLogger(__name__)

_ASSEMBLY = "simulated"
_CONTROL = "control"
_CONTROL_SHARE = 0.1
_N_PROGRAMS = 6
_PER_COPY = 0.5  # shift of a motif's own program by each copy, natural log
_ON_OTHER = -0.25  # the same, of a second program
_MAX_COPIES = 3
_SATURATION = 1.5  # no program shifts by more than this
_BETWEEN_LINES = 0.4  # spread of a program's log activity over cell lines

_BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
_N_CHROMOSOMES = 3
_CHROMOSOMES = [f"chr{i + 1}" for i in range(_N_CHROMOSOMES)]
_REACH = 200  # a motif acts on a start site within this distance
_MOTIF_LENGTH = 10
_SLOT = 12  # motifs are planted on a grid of this step, so that they do not overlap
_SITE_DISTANCE = (2_000, 3_000)  # between start sites of one gene
_GENE_DISTANCE = (4_000, 6_000)
_LINE = 60  # bases on a line of FASTA


@checked
def simulate_locus_screen(
    out_dir: str | PathLike[str],
    *,
    n_targets: int = 180,
    n_genes: int = 300,
    n_cells: int = 9000,
    n_contexts: int = 1,
    seed: int = 0,
) -> tuple[AnnData, Loci, Path]:
    """Simulate a CRISPRi screen of start sites in a genome with known grammar.

    Each targeted gene has two or three start sites, 2,000 to 3,000 bases apart, and each site is
    a locus that some cells have silenced. Each of six programs of measured genes has two motifs of
    ten bases: a copy of one, on either strand within 200 bases of a start site, makes silencing
    that site raise the program and lower a second one, a copy of the other does the reverse.
    Copies add up until the response saturates. Start sites of a gene have one motif in common and
    two of their own. All other DNA is random: windows of 512 bases hold all that matters, and what
    cannot be read from them cannot be known about a new gene.

    Parameters
    ----------
    out_dir
        Folder for the genome, ``genome.fa``, and the table of loci, ``loci.tsv`` (0-based). It
        is made if need be.
    n_targets
        Number of targeted genes, ``TARGET001`` and so on. They are not among the measured
        genes.
    n_genes
        Number of measured genes, ``GENE0001`` and so on.
    n_cells
        Number of cells, a tenth of them controls.
    n_contexts
        Number of cell lines. In each of several, programs are more or less active than in
        others, and respond the more the more active they are: by a factor that is 1 on average
        over lines and programs, on the natural-log scale of effects. All loci are silenced in
        every line.
    seed
        Seed of all random draws.

    Returns
    -------
    adata
        Cells x genes: ``X`` is ``log1p`` of the counts normalised to 10,000 a cell,
        ``layers["counts"]`` the counts (both CSR, float32); ``obs["locus"]`` is a locus id or
        ``control``, ``obs["gene"]`` its gene or ``control``, ``obs["line"]`` the cell line,
        where there are several; ``var["true_program"]`` each measured gene's program.
        ``uns["truth"]`` holds data frames: ``effects`` (loci x genes, natural-log fold change of
        the expected rate), ``motif_counts`` (loci x motifs, as found in the genome), ``grammar``
        (motifs x programs, shift by each copy; the index is the motif's sequence) and
        ``response`` (lines x programs, the factor of effects on the genes of a program).
    loci
        The loci, such as ``TARGET001-P1``, single positions in the assembly ``"simulated"``.
    fasta
        Path of the genome.

    Raises
    ------
    ValueError
        If there are too few targets, genes or cells.

    Examples
    --------
    >>> adata, loci, fasta = simulate_locus_screen("simulated")  # doctest: +SKIP
    """
    _check_sizes(n_targets, n_genes, n_cells, n_contexts)
    # One stream a step: more cells do not change the genome.
    streams = np.random.default_rng(seed).spawn(5)
    for_genome, for_genes, for_cells, for_counts, for_lines = streams
    circuit = draw_circuit(n_genes, _N_PROGRAMS, for_genes)
    sites = _draw_sites(n_targets, for_genome)
    motifs = _draw_motifs(2 * _N_PROGRAMS, for_genome)
    grammar = _draw_grammar(for_genome)
    copies = _draw_copies(sites, for_genome)
    chromosomes = _draw_genome(sites, copies, motifs, for_genome)
    counts = _count_motifs(chromosomes, sites, motifs)
    effects = _compute_effects(counts @ grammar, circuit)

    loci = _make_loci(sites)
    plan = draw_cell_plan(n_cells, len(loci), n_contexts, _CONTROL_SHARE, for_cells)
    activity = _draw_activity(n_contexts, for_lines)
    adata = _make_anndata(circuit, _place(effects, circuit, activity), plan, loci, for_counts)
    words = [_BASES[motif].tobytes().decode("ascii") for motif in motifs]
    adata.uns[UNS.TRUTH] = {
        "effects": pd.DataFrame(effects, loci.ids, adata.var_names),
        "motif_counts": pd.DataFrame(counts, loci.ids, words),
        "grammar": pd.DataFrame(grammar, words, adata.var["true_program"].cat.categories),
        "response": pd.DataFrame(
            _respond(activity), _name_lines(n_contexts), adata.var["true_program"].cat.categories
        ),
    }
    fasta = _write(Path(out_dir), loci, chromosomes)
    logger.info("Simulated %d cells x %d genes, %d loci", *adata.shape, len(loci))
    return adata, loci, fasta


def _check_sizes(n_targets: int, n_genes: int, n_cells: int, n_contexts: int) -> None:
    if n_contexts < 1:
        raise ValueError(f"n_contexts={n_contexts} must be at least 1.")
    if n_targets < _N_CHROMOSOMES:
        raise ValueError(f"n_targets={n_targets} must be at least {_N_CHROMOSOMES}.")
    if n_genes < 5 * _N_PROGRAMS:
        raise ValueError(
            f"n_genes={n_genes} must be at least {5 * _N_PROGRAMS}, 5 for each of "
            f"{_N_PROGRAMS} programs."
        )
    if n_cells < (least := 10 * n_targets * n_contexts):
        where = f" and n_contexts={n_contexts}" if n_contexts > 1 else ""
        raise ValueError(
            f"n_cells={n_cells} leaves fewer than three cells a locus: with "
            f"n_targets={n_targets}{where} simulate at least {least}."
        )


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


def _draw_sites(n_genes: int, rng: np.random.Generator) -> Sites:
    """Place genes with two or three start sites each on the chromosomes."""
    gene = np.repeat(np.arange(n_genes), rng.integers(2, 4, n_genes))
    is_first = np.diff(gene, prepend=-1) > 0
    steps = np.where(
        is_first,
        rng.integers(*_GENE_DISTANCE, len(gene)),
        rng.integers(*_SITE_DISTANCE, len(gene)),
    )
    chromosome = gene * _N_CHROMOSOMES // n_genes
    position = np.empty(len(gene), dtype=np.int64)
    for number in range(_N_CHROMOSOMES):
        position[chromosome == number] = np.cumsum(steps[chromosome == number])
    return Sites(gene, chromosome, position, rng.random(n_genes)[gene] < 0.5)


def _draw_motifs(n_motifs: int, rng: np.random.Generator) -> np.ndarray:
    """Draw motifs that differ from each other on both strands, codes ``(M, 10)``."""
    motifs: list[np.ndarray] = []
    while len(motifs) < n_motifs:
        new = rng.integers(0, 4, _MOTIF_LENGTH)
        others = [new[::-1] ^ 3, *motifs, *(motif[::-1] ^ 3 for motif in motifs)]
        # Half of the bases differ from every other motif, and from its own other strand.
        if min(np.count_nonzero(new != other) for other in others) >= _MOTIF_LENGTH // 2:
            motifs.append(new)
    return np.array(motifs, dtype=np.uint8)


def _draw_grammar(rng: np.random.Generator) -> np.ndarray:
    """Draw which programs each motif moves and where to, ``(2 K, K)``.

    Motifs 2 k and 2 k + 1 move program k in opposite directions, so that the mean effect of all
    loci says little about any of them.
    """
    others = (np.arange(_N_PROGRAMS) + rng.integers(1, _N_PROGRAMS, _N_PROGRAMS)) % _N_PROGRAMS
    raising = _PER_COPY * np.eye(_N_PROGRAMS) + _ON_OTHER * np.eye(_N_PROGRAMS)[others]
    return np.stack([raising, -raising], axis=1).reshape(2 * _N_PROGRAMS, _N_PROGRAMS)


def _draw_copies(sites: Sites, rng: np.random.Generator) -> np.ndarray:
    """Draw how often each motif stands at each site: one of the gene, two of the site's own."""
    n_genes, n_sites = sites.gene[-1] + 1, len(sites.gene)
    order = rng.permuted(np.tile(np.arange(_N_PROGRAMS), (n_genes, 1)), axis=1)
    motif = 2 * order + rng.integers(0, 2, order.shape)
    turn = _get_turn(sites)
    copies = np.zeros((n_sites, 2 * _N_PROGRAMS), dtype=np.int64)
    rows = np.arange(n_sites)
    copies[rows, motif[sites.gene, 0]] = 1
    # Pairs (1, 2), (3, 4), (5, 1) of a gene's order: no two of its sites have the same two.
    for column in (1 + 2 * turn % (_N_PROGRAMS - 1), 1 + (2 * turn + 1) % (_N_PROGRAMS - 1)):
        copies[rows, motif[sites.gene, column]] = rng.integers(1, _MAX_COPIES + 1, n_sites)
    return copies


def _get_turn(sites: Sites) -> np.ndarray:
    """Number each site within its gene, from 0, ``(L,)``."""
    return np.arange(len(sites.gene)) - np.searchsorted(sites.gene, sites.gene)


def _draw_genome(
    sites: Sites, copies: np.ndarray, motifs: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw chromosomes and plant copies ``(L, M)`` of the motifs around the start sites.

    Codes are 0 to 3 for A, C, G and T, so that 3 - code is the complement.
    """
    chromosomes = []
    for number in range(_N_CHROMOSOMES):
        is_here = sites.chromosome == number
        sequence = rng.integers(0, 4, sites.position[is_here].max() + _GENE_DISTANCE[1])
        for position, n_copies in zip(sites.position[is_here], copies[is_here], strict=True):
            _plant(sequence, position, np.repeat(motifs, n_copies, axis=0), rng)
        chromosomes.append(sequence.astype(np.uint8))
    return chromosomes


def _plant(
    sequence: np.ndarray, position: int, motifs: np.ndarray, rng: np.random.Generator
) -> None:
    slots = rng.choice(2 * _REACH // _SLOT, len(motifs), replace=False)
    for motif, slot in zip(motifs, slots, strict=True):
        start = position - _REACH + slot * _SLOT
        sequence[start : start + _MOTIF_LENGTH] = motif if rng.random() < 0.5 else motif[::-1] ^ 3


def _count_motifs(chromosomes: list[np.ndarray], sites: Sites, motifs: np.ndarray) -> np.ndarray:
    """Count motifs on both strands near each site, chance ones too, ``(L, M)``."""
    counts = np.zeros((len(sites.gene), len(motifs)), dtype=np.int64)
    for row, (number, position) in enumerate(zip(sites.chromosome, sites.position, strict=True)):
        near = chromosomes[number][position - _REACH : position + _REACH]
        words = sliding_window_view(near, _MOTIF_LENGTH)[:, None]
        for strand in (motifs, motifs[:, ::-1] ^ 3):
            counts[row] += (words == strand).all(axis=2).sum(axis=0)
    return counts


def _compute_effects(shifts: np.ndarray, circuit: Circuit) -> np.ndarray:
    """Turn program shifts ``(L, K)`` into effects ``(L, G)``."""
    saturated = _SATURATION * np.tanh(shifts / _SATURATION)
    return saturated[:, circuit.program] * circuit.loading


def _draw_activity(n_contexts: int, rng: np.random.Generator) -> np.ndarray:
    """Draw by how much programs are more active in each line, natural log, ``(n_lines, K)``."""
    if n_contexts == 1:
        return np.zeros((1, _N_PROGRAMS))
    return rng.normal(0.0, _BETWEEN_LINES, (n_contexts, _N_PROGRAMS))


def _respond(activity: np.ndarray) -> np.ndarray:
    """Compute how strongly programs respond in each line, given their activities there."""
    response = np.exp(activity)
    return response / response.mean()


def _place(effects: np.ndarray, circuit: Circuit, activity: np.ndarray) -> np.ndarray:
    """Turn effects ``(L, G)`` into shifts of loci, and at last of controls, in each line."""
    response = _respond(activity)[:, None, circuit.program]
    shifts = np.concatenate([response * effects, np.zeros_like(response)], axis=1)
    return shifts + (activity[:, circuit.program] * circuit.loading)[:, None]


def _name_lines(n_contexts: int) -> list[str]:
    return [f"line_{i + 1}" for i in range(n_contexts)]


def _make_loci(sites: Sites) -> Loci:
    names = [f"TARGET{gene + 1:03d}" for gene in sites.gene]
    records = [
        Locus(
            id=f"{name}-P{label}",
            chrom=_CHROMOSOMES[chromosome],
            start=int(position),
            end=int(position) + 1,
            strand="-" if is_reverse else "+",
            gene=name,
            tss_label=f"P{label}",
        )
        for name, label, chromosome, position, is_reverse in zip(
            names,
            _get_turn(sites) + 1,
            sites.chromosome,
            sites.position,
            sites.is_reverse,
            strict=True,
        )
    ]
    return Loci(tuple(records), _ASSEMBLY, source="simulated loci")


def _make_anndata(
    circuit: Circuit, shifts: np.ndarray, plan: CellPlan, loci: Loci, rng: np.random.Generator
) -> AnnData:
    n_lines, n_rows, _ = shifts.shape
    # One row a line and condition, and the controls of a line in the last of its rows.
    row = plan.batch * n_rows + plan.condition % n_rows
    counts = draw_counts(circuit, np.concatenate(shifts), replace(plan, condition=row), rng)
    # Controls carry the condition -1, which picks the last entry here.
    ids = np.array([*loci.ids, _CONTROL])
    genes = np.array([*(locus.gene for locus in loci), _CONTROL])
    obs = pd.DataFrame(
        {
            "locus": pd.Categorical(ids[plan.condition]),
            "gene": pd.Categorical(genes[plan.condition]),
        },
        index=[f"cell_{i}" for i in range(len(plan.condition))],
    )
    if n_lines > 1:
        obs["line"] = pd.Categorical(np.array(_name_lines(n_lines))[plan.batch])
    programs = pd.Categorical([f"program_{k + 1}" for k in circuit.program])
    names = [f"GENE{i + 1:04d}" for i in range(len(programs))]
    var = pd.DataFrame({"true_program": programs}, index=names)
    return make_log1p_cells(counts, obs, var)


def _write(folder: Path, loci: Loci, chromosomes: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fasta = folder / "genome.fa"
    # An index of an earlier genome would be believed if both were written in one second.
    fasta.with_suffix(".fa.fai").unlink(missing_ok=True)
    with replacing(fasta) as half:
        _write_fasta(half, _CHROMOSOMES, chromosomes)
    write_text(folder / "loci.tsv", loci.to_frame().to_csv(sep="\t", index=False))
    return fasta


def _write_fasta(path: Path, names: list[str], chromosomes: list[np.ndarray]) -> None:
    """Write chromosomes as FASTA."""
    with path.open("w", encoding="ascii") as file:
        for name, codes in zip(names, chromosomes, strict=True):
            text = _BASES[codes].tobytes().decode("ascii")
            lines = [text[i : i + _LINE] for i in range(0, len(text), _LINE)]
            file.write("\n".join([f">{name}", *lines, ""]))
