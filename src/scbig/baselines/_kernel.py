"""Similarity of perturbations, built from the similarity of their targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from scbig.data import Targets


@dataclass(frozen=True)
class KernelSettings:
    """Weights of the parts of a perturbation kernel, and of the noise.

    Attributes
    ----------
    noise
        Noise variance of a condition with the average number of cells, relative to
        ``identity`` (the ridge penalty).
    identity
        Variance of what is particular to a target.
    mean
        Variance of what all targets share: the intercept for each target.
    interaction
        Variance of what is particular to a combination: how far it is from the sum of its
        targets.
    embedding
        Variance of what targets with similar embeddings share, one for each embedding.
    context
        Share of the variance of targets and combinations that differs between contexts, in
        [0, 1].
    mean_context
        The same of what all targets share.
    sharpness
        Power that the cosine similarity of embeddings is raised to. The higher, the fewer
        targets count as similar.
    """

    noise: float = 1.0
    identity: float = 1.0
    mean: float = 1.0
    interaction: float = 0.0
    embedding: tuple[float, ...] = ()
    context: float = 0.0
    sharpness: int = 1
    mean_context: float = 0.0


@dataclass(frozen=True)
class TargetKernel:
    """Covariance of perturbation effects.

    Effects are modelled as sums over targets plus an interaction for each combination, so the
    covariance of two conditions is the sum of the covariances of their targets (shared mean +
    identity + cosine similarity of the embeddings, where both targets have one), and more for
    the same combination.

    Attributes
    ----------
    embeddings
        Lookup tables from target to unit vector; a target may be missing from any of them.
    settings
        Weights of the parts.
    """

    embeddings: tuple[Mapping[str, np.ndarray], ...]
    settings: KernelSettings

    def __call__(
        self,
        targets: Sequence[Targets],
        context: np.ndarray,
        other_targets: Sequence[Targets],
        other_context: np.ndarray,
    ) -> np.ndarray:
        """Covariance of two lists of conditions, shape ``(n, n_other)``."""
        rows, columns = _distinct(targets), _distinct(other_targets)
        single = self._compare(rows, columns)
        combined = _indicator(targets, rows) @ single @ _indicator(other_targets, columns).T
        combined = combined + self.settings.interaction * _same_combination(targets, other_targets)
        shared = self.settings.mean * np.outer(_count(targets), _count(other_targets))
        differs = np.asarray(context)[:, None] != np.asarray(other_context)[None, :]
        return combined * (1 - self.settings.context * differs) + shared * (
            1 - self.settings.mean_context * differs
        )

    def with_noise(self, noise: float, interaction: float) -> "TargetKernel":
        """Change the noise and the interactions of the kernel.

        Parameters
        ----------
        noise, interaction
            The new settings, see :class:`KernelSettings`.

        Returns
        -------
        A new kernel, alike in all else.
        """
        settings = replace(self.settings, noise=noise, interaction=interaction)
        return replace(self, settings=settings)

    def is_comparable(self, target: str) -> bool:
        """Whether an unseen target can be told from any other.

        Parameters
        ----------
        target
            Name of the target.

        Returns
        -------
        Whether an embedding that counts has it; true of all targets where none counts.
        """
        pairs = zip(self.embeddings, self.settings.embedding, strict=True)
        tables = [table for table, weight in pairs if weight > 0]
        return not tables or any(target in table for table in tables)

    def _compare(self, rows: list[str], columns: list[str]) -> np.ndarray:
        """Covariance of single targets, beside what all share."""
        settings = self.settings
        is_same = np.array(rows, dtype=object)[:, None] == np.array(columns, dtype=object)[None]
        covariance = settings.identity * is_same
        for table, weight in zip(self.embeddings, settings.embedding, strict=True):
            if weight > 0:
                cosine = _look_up(table, rows) @ _look_up(table, columns).T
                covariance += weight * cosine**settings.sharpness
        return covariance


def _count(targets: Sequence[Targets]) -> list[int]:
    return [len(group) for group in targets]


def _distinct(targets: Sequence[Targets]) -> list[str]:
    return sorted({target for group in targets for target in group})


def _indicator(targets: Sequence[Targets], names: list[str]) -> sparse.csr_array:
    index = {name: i for i, name in enumerate(names)}
    columns = [index[target] for group in targets for target in group]
    rows = np.repeat(np.arange(len(targets)), _count(targets))
    return sparse.csr_array(
        (np.ones(len(columns)), (rows, columns)), shape=(len(targets), len(names))
    )


def _same_combination(
    targets: Sequence[Targets], other_targets: Sequence[Targets]
) -> sparse.csr_array:
    """One where two conditions are the same combination of several targets."""
    columns: dict[Targets, list[int]] = {}
    for j, group in enumerate(other_targets):
        if len(group) > 1:
            columns.setdefault(group, []).append(j)
    pairs = [(i, j) for i, group in enumerate(targets) for j in columns.get(group, ())]
    rows, matches = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return sparse.csr_array(
        (np.ones(len(pairs)), (rows, matches)), shape=(len(targets), len(other_targets))
    )


def _look_up(table: Mapping[str, np.ndarray], names: list[str]) -> np.ndarray:
    """Vectors of the named targets; a missing one is similar to nothing, not even itself."""
    dim = len(next(iter(table.values()))) if table else 0
    return np.array([table.get(name, np.zeros(dim)) for name in names], dtype=np.float64).reshape(
        len(names), dim
    )
