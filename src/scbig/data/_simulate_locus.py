"""A simulated screen of promoters whose DNA decides what silencing them does."""

import logging
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from scbig._constants import UNS
from scbig.data._simulate_cells import CellPlan, draw_cell_plan, draw_counts
from scbig.data._simulate_effects import Circuit, draw_circuit
from scbig.data._simulate_genome import (
    BASES,
    N_CHROMOSOMES,
    Sites,
    count_motifs,
    draw_genome,
    draw_motifs,
    draw_sites,
    write_fasta,
)
from scbig.priors import Loci, Locus

logger = logging.getLogger(__name__)

_ASSEMBLY = "simulated"
_CHROMOSOMES = [f"chr{i + 1}" for i in range(N_CHROMOSOMES)]
_CONTROL = "control"
_CONTROL_SHARE = 0.1
_N_PROGRAMS = 6
_PER_COPY = 0.5  # shift of a motif's own program by each copy, natural log
_ON_OTHER = -0.25  # the same, of a second program
_MAX_COPIES = 3
_SATURATION = 1.5  # no program shifts by more than this


def simulate_locus_screen(
    out_dir: str | PathLike[str],
    *,
    n_targets: int = 180,
    n_genes: int = 300,
    n_cells: int = 9000,
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
    seed
        Seed of all random draws.

    Returns
    -------
    adata
        Cells x genes: ``X`` is ``log1p`` of the counts normalised to 10,000 a cell,
        ``layers["counts"]`` the counts (both CSR, float32); ``obs["locus"]`` is a locus id or
        ``control``, ``obs["gene"]`` its gene or ``control``; ``var["true_program"]`` each
        measured gene's program. ``uns["truth"]`` holds data frames: ``effects`` (loci x genes,
        natural-log fold change of the expected rate), ``motif_counts`` (loci x motifs, as found
        in the genome) and ``grammar`` (motifs x programs, shift by each copy; the index is the
        motif's sequence).
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
    _check_sizes(n_targets, n_genes, n_cells)
    # One stream a step: more cells do not change the genome.
    for_genome, for_genes, for_cells, for_counts = np.random.default_rng(seed).spawn(4)
    circuit = draw_circuit(n_genes, _N_PROGRAMS, for_genes)
    sites = draw_sites(n_targets, for_genome)
    motifs = draw_motifs(2 * _N_PROGRAMS, for_genome)
    grammar = _draw_grammar(for_genome)
    copies = _draw_copies(sites, for_genome)
    chromosomes = draw_genome(sites, copies, motifs, for_genome)
    counts = count_motifs(chromosomes, sites, motifs)
    effects = _compute_effects(counts @ grammar, circuit)

    loci = _make_loci(sites)
    plan = draw_cell_plan(n_cells, len(loci), 1, _CONTROL_SHARE, for_cells)
    adata = _make_anndata(circuit, effects, plan, loci, for_counts)
    words = [BASES[motif].tobytes().decode("ascii") for motif in motifs]
    adata.uns[UNS.TRUTH] = {
        "effects": pd.DataFrame(effects, loci.ids, adata.var_names),
        "motif_counts": pd.DataFrame(counts, loci.ids, words),
        "grammar": pd.DataFrame(grammar, words, adata.var["true_program"].cat.categories),
    }
    fasta = _write(Path(out_dir), loci, chromosomes)
    logger.info("Simulated %d cells x %d genes, %d loci", *adata.shape, len(loci))
    return adata, loci, fasta


def _check_sizes(n_targets: int, n_genes: int, n_cells: int) -> None:
    if n_targets < N_CHROMOSOMES:
        raise ValueError(f"n_targets={n_targets} must be at least {N_CHROMOSOMES}.")
    if n_genes < 5 * _N_PROGRAMS:
        raise ValueError(
            f"n_genes={n_genes} must be at least {5 * _N_PROGRAMS}, 5 for each of "
            f"{_N_PROGRAMS} programs."
        )
    if n_cells < 10 * n_targets:
        raise ValueError(
            f"n_cells={n_cells} leaves fewer than three cells a locus: with "
            f"n_targets={n_targets} simulate at least {10 * n_targets}."
        )


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


def _compute_effects(shifts: np.ndarray, circuit: Circuit) -> np.ndarray:
    """Turn program shifts ``(L, K)`` into effects ``(L, G)``."""
    saturated = _SATURATION * np.tanh(shifts / _SATURATION)
    return saturated[:, circuit.program] * circuit.loading


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
    circuit: Circuit, effects: np.ndarray, plan: CellPlan, loci: Loci, rng: np.random.Generator
) -> AnnData:
    counts = draw_counts(circuit, effects, plan, rng)
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
    programs = pd.Categorical([f"program_{k + 1}" for k in circuit.program])
    names = [f"GENE{i + 1:04d}" for i in range(len(programs))]
    var = pd.DataFrame({"true_program": programs}, index=names)
    adata = AnnData(counts, obs=obs, var=var, layers={"counts": counts.copy()})
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def _write(folder: Path, loci: Loci, chromosomes: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fasta = folder / "genome.fa"
    # An index of an earlier genome would be believed if both were written in one second.
    fasta.with_suffix(".fa.fai").unlink(missing_ok=True)
    write_fasta(fasta, _CHROMOSOMES, chromosomes)
    loci.to_frame().to_csv(folder / "loci.tsv", sep="\t", index=False)
    return fasta
