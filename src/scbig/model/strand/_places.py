"""The loci that a model knows, and what it reads of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scbig.priors import Loci, Locus

_N_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Places:
    """Loci with what an encoder reads of them.

    Attributes
    ----------
    loci
        The loci.
    values
        Bases ``(n_loci, width)`` as small integers, tokens ``(n_loci, n_tokens, dim)``, or
        numbers of genes ``(n_loci, 1)``.
    is_target
        Which bases or tokens are perturbed, shape ``(n_loci, n_positions)``.
    is_there
        Which positions are neither padding nor beyond a chromosome, of the same shape.
    """

    loci: Loci
    values: np.ndarray
    is_target: np.ndarray
    is_there: np.ndarray

    def __len__(self) -> int:
        return len(self.loci)

    def find(self, targets: Iterable[str]) -> list[int]:
        """Return the rows of all loci of some targets (ids, guides or genes), each once."""
        matched = self.loci.match(targets).values()
        rows = {self._row_of[locus.id] for loci in matched for locus in loci}
        return sorted(rows)

    def knows(self, target: str) -> bool:
        """Whether a target has a locus."""
        return target in self._labels

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self.loci.ids)}

    @cached_property
    def _labels(self) -> set[str | None]:
        return {label for x in self.loci for label in (x.id, x.guide, x.gene)} - {None}

    def without_known(self, loci: Loci) -> Sequence[Locus]:
        """Return those of some loci that are new.

        Raises
        ------
        ValueError
            When they belong to another genome, or one has the id of a known locus elsewhere.
        """
        if loci.assembly != self.loci.assembly:
            raise ValueError(
                f"The new loci belong to {loci.assembly}, those of the model to "
                f"{self.loci.assembly}. Lift them over; coordinates must not be mixed."
            )
        known = {locus.id: locus for locus in self.loci}
        moved = [x for x in loci if x.id in known and _place(x) != _place(known[x.id])]
        if moved:
            raise ValueError(
                f"{len(moved)} loci are known at another place: "
                f"{[locus.id for locus in moved][:_N_SHOWN]}. Give them other ids."
            )
        return [locus for locus in loci if locus.id not in known]

    def join(self, other: "Places") -> "Places":
        """Append further loci, read in the same way."""
        if self.values.shape[1:] != other.values.shape[1:]:
            raise ValueError(
                f"What was read of a new locus has the shape {other.values.shape[1:]}, of a known "
                f"one {self.values.shape[1:]}. Give the encoder that the model was made with."
            )
        arrays = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("values", "is_target", "is_there")
        }
        loci = replace(self.loci, records=(*self.loci.records, *other.loci.records))
        return Places(loci, **arrays)


def _place(locus: Locus) -> tuple[str, int, int, str]:
    return locus.chrom, locus.start, locus.end, locus.strand
