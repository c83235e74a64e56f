"""What a STRAND is built from, beside its weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from anndata import AnnData
from torch import nn

from scbig.data import ScreenSchema, Targets
from scbig.model.base import CellLatent
from scbig.model.strand._components import DNAReader, GeneReader, LocusInput, TokenReader
from scbig.model.strand._config import STRANDConfig
from scbig.model.strand._module import ConditionInput, STRANDModule
from scbig.model.strand._places import Places
from scbig.model.strand._reading import Kind


@dataclass(frozen=True)
class Blueprint:
    """What a model is built from.

    Attributes
    ----------
    config
        Settings.
    schema
        Where screens keep their labels.
    genes, contexts
        Names, in the order of the module.
    kind
        What is read of loci.
    places
        The loci.
    twins
        Genes of the gene-name twin, by number.
    controls
        Control cells that travel with the model.
    control_mean
        Mean of the control cells of each context, shape ``(n_contexts, G)``.
    strict
        Whether a target without a locus is an error.
    """

    config: STRANDConfig
    schema: ScreenSchema
    genes: tuple[str, ...]
    contexts: tuple[str, ...]
    kind: Kind
    places: Places
    twins: tuple[str, ...]
    controls: AnnData
    control_mean: np.ndarray
    strict: bool

    def make_module(self, latent: CellLatent) -> STRANDModule:
        """Make an untrained module."""
        config = self.config
        reader: nn.Module
        if self.kind == "dna":
            reader = DNAReader(config)
        elif self.kind == "gene":
            reader = GeneReader(len(self.twins), config.dim)
        else:
            reader = TokenReader(self.places.values.shape[2], config)
        return STRANDModule(latent, reader, len(self.contexts), config)

    @property
    def given(self) -> LocusInput:
        """What is read of all loci, as tensors that share memory with the arrays."""
        places = self.places
        return LocusInput(
            *(torch.from_numpy(a) for a in (places.values, places.is_target, places.is_there))
        )

    def find(self, targets: Targets) -> list[int]:
        """Return the rows of the loci of a condition; those without any are unknown.

        Raises
        ------
        ValueError
            When a target has no locus and the model is strict.
        """
        known = targets if self.strict else [t for t in targets if self.places.knows(t)]
        return self.places.find(known) if known else []

    def make_condition(
        self, targets: Sequence[Targets], context: np.ndarray | Sequence[int]
    ) -> ConditionInput:
        """Turn conditions into what the module takes."""
        found = [self.find(group) for group in targets]
        width = max([1, *map(len, found)])
        members = np.zeros((len(found), width), dtype=np.int64)
        is_member = np.zeros((len(found), width), dtype=bool)
        for row, loci in enumerate(found):
            members[row, : len(loci)] = loci
            is_member[row, : len(loci)] = True
        contexts = np.asarray(context, dtype=np.int64)
        # A context of no number is one that was not seen.
        contexts = np.where(contexts < 0, len(self.contexts), contexts)
        return ConditionInput(*map(torch.from_numpy, (members, is_member, contexts)))

    def describe(self) -> str:
        """Say in one line what this is."""
        kinds = {"dna": "DNA", "tokens": "encoded DNA", "gene": "gene names only"}
        return (
            f"STRAND: {len(self.genes)} genes, {len(self.places)} loci "
            f"({self.places.loci.assembly}, {kinds[self.kind]}), {len(self.contexts)} context(s)"
        )
