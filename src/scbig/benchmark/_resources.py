"""What is known besides the screen, loaded once and the same for all predictors."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from scbig.benchmark._fingerprint import make_fingerprint
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets, Loci, TableEncoder


@dataclass(frozen=True)
class Resources:
    """Prior knowledge that every predictor may use.

    A predictor is given those that its constructor has an argument for.

    Attributes
    ----------
    gene_embedding
        Embedding of genes and targets.
    gene_graph
        Interactions of genes.
    gene_sets
        Pathways.
    aliases
        Other names of genes.
    loci
        Places that the labels of the screen stand for.
    fasta
        Their genome; it is known by its name and size, as a whole genome takes long to read.
    encoder
        Vectors of the loci.
    """

    gene_embedding: GeneEmbedding | None = None
    gene_graph: GeneGraph | None = None
    gene_sets: GeneSets | None = None
    aliases: GeneAliases | None = None
    loci: Loci | None = None
    fasta: Path | None = None
    encoder: TableEncoder | None = None

    def get_given(self) -> dict[str, Any]:
        """Return those that there are, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def describe(self) -> dict[str, dict[str, str]]:
        """Return source and fingerprint of each that there is, ready for JSON."""
        return {
            name: {
                "source": getattr(value, "source", type(value).__name__),
                "fingerprint": make_fingerprint(_get_content(value)),
            }
            for name, value in self.get_given().items()
        }


def _get_content(value: Any) -> list[Any]:
    if isinstance(value, GeneEmbedding):
        return [list(value.names), value.vectors]
    if isinstance(value, GeneGraph):
        matrix = value.adjacency.tocoo()
        return [list(value.names), *matrix.coords, matrix.data]
    if isinstance(value, GeneSets):
        return [{name: list(genes) for name, genes in value.sets.items()}]
    if isinstance(value, Loci):
        return [value.assembly, value.to_frame().to_csv()]
    if isinstance(value, TableEncoder):
        return [value.fingerprint]
    if isinstance(value, Path):
        return [value.name, value.stat().st_size]
    return [value.to_dict()]
