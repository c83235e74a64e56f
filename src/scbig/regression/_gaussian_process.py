"""How alike are two perturbations, and what do the measured ones say about the others?

Gaussian processes over conditions: the kernel, its choice by evidence, and regression in closed
form. With the identity part alone this is ridge regression on indicators of the perturbed genes,
with one intercept for each target; with embeddings it is kernel ridge regression. Solving for all
genes at once costs one factorisation of a ``(n_groups, n_groups)`` matrix, and leaving a
condition, or all conditions of a gene, out costs no refit (Rasmussen & Williams 2006, 5.4.2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from scipy import linalg, sparse

from scbig.data import Effects, Targets

# One lookup table from target to unit vector for each source of similarity.
Embeddings = tuple[Mapping[str, np.ndarray], ...]

NOISES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
INTERACTIONS = (0.0, 0.5, 1.0, 2.0)
# An embedding counts as much as the identity, or not at all.
EMBEDDING_WEIGHTS = (0.0, 1.0)
# Either all targets are alike by their cosine, or only close relatives. Odd powers keep opposites
# apart.
SHARPNESSES = (1, 7)
# What all targets share, beside what is particular to each.
MEANS = (1.0, 4.0)
CONTEXT_SHARES = (0.1, 0.4, 0.8)
COMBINATION_SHARES = (1.0, 0.9, 0.8, 0.7)  # the first where nothing is combined
MAX_GROUPS = 500
# Further components of a large screen are noise.
MAX_COMPONENTS = 256


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
    particular
        How far measured effects are shrunk towards none gene by gene, and not towards what is
        expected of like conditions, in [0, 1].
    even
        The same by one factor for all genes of a condition; of what ``particular`` leaves of 1.
    combination
        Share of what is particular to their targets that combinations have.
    shares_controls
        Whether what all effects of a context have from its control mean counts as noise.
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
    particular: float = 0.5
    even: float = 0.0
    combination: float = 1.0
    shares_controls: bool = False


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

    embeddings: Embeddings
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
        sizes = [np.array([len(one) for one in groups]) for groups in (targets, other_targets)]
        kept = np.outer(*(np.where(size > 1, self.settings.combination, 1) for size in sizes))
        combined = kept * combined
        combined = combined + self.settings.interaction * _same_combination(targets, other_targets)
        shared = self.settings.mean * np.outer(*sizes)
        differs = np.asarray(context)[:, None] != np.asarray(other_context)[None, :]
        combined = combined * (1 - self.settings.context * differs)
        return combined + shared * (1 - self.settings.mean_context * differs)

    def with_noise(self, noise: float, interaction: float) -> "TargetKernel":
        """Return a kernel with these of :class:`KernelSettings`, alike in all else.

        Parameters
        ----------
        noise, interaction
            See :class:`KernelSettings`.
        """
        settings = replace(self.settings, noise=noise, interaction=interaction)
        return replace(self, settings=settings)

    def is_comparable(self, target: str) -> bool:
        """Whether an unseen target can be told from any other.

        An embedding that counts has to have it; where none counts, it is true of all targets.

        Parameters
        ----------
        target
            Name of the target.
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


def choose_kernel(effects: Effects, embeddings: Embeddings) -> TargetKernel:
    """Choose the weights of a kernel by the evidence of the training conditions.

    The marginal likelihood weighs fit against complexity, needs no held-out conditions, and
    tells the noise of a measurement from the interactions of targets.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    embeddings
        Unit vectors of targets, see :class:`TargetKernel`.

    Returns
    -------
    The kernel with the largest evidence.
    """
    rows = np.linspace(0, len(effects) - 1, min(len(effects), MAX_GROUPS)).astype(int)
    effects = effects.subset(rows)
    scatter = np.asarray(effects.delta, dtype=np.float64)
    scatter = scatter @ scatter.T / scatter.shape[1]

    def choose(settings: Sequence[KernelSettings]) -> KernelSettings:
        kernels = [TargetKernel(embeddings, one) for one in settings]
        return max(kernels, key=lambda one: compute_evidence(effects, one, scatter)).settings

    best = choose(_list_settings(effects, len(embeddings)))
    # By themselves, as each further factor of the grid would triple its size.
    shares = CONTEXT_SHARES if best.context else ()
    best = choose([best, *(replace(best, mean_context=share) for share in shares)])
    best = choose([replace(best, combination=share) for share in COMBINATION_SHARES])
    return TargetKernel(embeddings, best)


class KernelRegression:
    """Regression of effects on perturbed targets.

    Parameters
    ----------
    effects, kernel
        Effects of the training conditions, and their covariance.
    """

    def __init__(self, effects: Effects, kernel: TargetKernel) -> None:
        self.effects, self.kernel = effects, kernel
        self._known = effects.targets, effects.context

    @cached_property
    def _precision(self) -> np.ndarray:
        """Inverse of the noisy covariance of the training conditions."""
        factor = linalg.cho_factor(get_noisy_covariance(self.effects, self.kernel), lower=True)
        return linalg.cho_solve(factor, np.eye(len(self.effects)))

    def get_weights(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """How much each training condition counts in :meth:`predict`, ``(n, n_groups)``."""
        return self.kernel(targets, context, *self._known) @ self._precision

    @cached_property
    def _covariance(self) -> np.ndarray:
        """Covariance of the training conditions without noise."""
        return self.kernel(*self._known, *self._known)

    def get_left_out_weights(self) -> np.ndarray:
        """Weights that predict each training condition from all others."""
        # The inverse without a row and column is the whole one, less their outer product.
        others = self._covariance - np.diag(np.diag(self._covariance))
        weights = others @ self._precision
        shift = np.diag(weights) / np.diag(self._precision)
        weights = weights - shift[:, None] * self._precision
        np.fill_diagonal(weights, 0)
        return weights

    def get_target_left_out_weights(self, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows and weights ``(n_rows, n_groups)`` of :meth:`leave_target_out`."""
        rows = np.flatnonzero([target in group for group in self.effects.targets])
        others = self._covariance[rows]
        others[:, rows] = 0
        weights = others @ self._precision
        own = self._precision[np.ix_(rows, rows)]
        weights -= weights[:, rows] @ linalg.solve(own, self._precision[rows], assume_a="pos")
        weights[:, rows] = 0
        return rows, weights

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``.

        Parameters
        ----------
        targets, context
            Target set and context of each condition, length ``n``.
        """
        return self.get_weights(targets, context) @ self.effects.delta

    def leave_one_out(self) -> np.ndarray:
        """Predict each training condition from all others, shape ``(n_groups, n_genes)``."""
        return self.get_left_out_weights() @ self.effects.delta

    def leave_target_out(self, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Predict all conditions with a target from those without it; with their row numbers."""
        rows, weights = self.get_target_left_out_weights(target)
        return rows, weights @ self.effects.delta


class ComponentRegression:
    """One Gaussian process for each principal component of the effects.

    Components that many perturbations share stand out of the noise and are hardly shrunk; those
    that are noise are shrunk to nothing, which regression gene by gene cannot do. Each
    component takes the kernel under which it is most likely (empirical Bayes). Where every target
    is in one condition alone and has no close relative, signal and noise cannot be told apart, and
    most components are shrunk. Genes are divided by ``scale (n_genes,)``, the standard deviation
    of their noise, so that no component is about noisy genes.
    """

    def __init__(
        self, effects: Effects, kernels: Sequence[TargetKernel], scale: np.ndarray
    ) -> None:
        left, size, loadings = linalg.svd(effects.delta / scale, full_matrices=False)
        scores = (left * size)[:, :MAX_COMPONENTS]
        loadings = loadings[:MAX_COMPONENTS] * scale
        evidence = [compute_column_evidence(effects, kernel, scores) for kernel in kernels]
        best = np.argmax(evidence, axis=0)
        self._parts = [
            (
                KernelRegression(replace(effects, delta=scores[:, best == i]), kernel),
                loadings[best == i],
            )
            for i, kernel in enumerate(kernels)
            if (best == i).any()
        ]

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, shape ``(n, n_genes)``."""
        return sum(part.predict(targets, context) @ loadings for part, loadings in self._parts)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training condition from all others."""
        return sum(part.leave_one_out() @ loadings for part, loadings in self._parts)

    def leave_target_out(self, target: str) -> np.ndarray:
        """Predict all conditions with a target from those without it, in their order."""
        return sum(part.leave_target_out(target)[1] @ loadings for part, loadings in self._parts)


def compute_evidence(effects: Effects, kernel: TargetKernel, scatter: np.ndarray) -> float:
    """Log marginal likelihood per gene, up to a constant, at the likeliest common scale.

    ``scatter`` is the mean over genes of the products of effects, shape ``(n_groups, n_groups)``
    (Rasmussen & Williams 2006, 5.4.1).
    """
    factor = linalg.cholesky(get_noisy_covariance(effects, kernel), lower=True)
    half = linalg.solve_triangular(factor, scatter, lower=True)
    fit = np.trace(linalg.solve_triangular(factor, half, lower=True, trans="T"))
    log_determinant = 2 * np.log(np.diag(factor)).sum()
    return float(-0.5 * (len(effects) * np.log(fit / len(effects)) + log_determinant))


def compute_column_evidence(
    effects: Effects, kernel: TargetKernel, values: np.ndarray
) -> np.ndarray:
    """The same of each column of ``values (n_groups, n_columns)``, with a scale of its own.

    Of ``effects`` the numbers are not used.
    """
    factor = linalg.cholesky(get_noisy_covariance(effects, kernel), lower=True)
    white = linalg.solve_triangular(factor, values, lower=True)
    log_determinant = 2 * np.log(np.diag(factor)).sum()
    # A column without any values fits every kernel.
    fit = np.maximum(np.mean(white**2, axis=0), np.finfo(np.float64).tiny)
    return -0.5 * (len(effects) * np.log(fit) + log_determinant)


def get_noisy_covariance(effects: Effects, kernel: TargetKernel) -> np.ndarray:
    """Covariance of measured effects: the kernel, and noise that falls with the cells."""
    conditions = effects.targets, effects.context
    # The mean of many cells is less noisy than the mean of a few.
    noise = effects.noise if kernel.settings.shares_controls else np.diag(1 / effects.n_cells)
    scale = kernel.settings.noise * effects.n_cells.mean()
    return kernel(*conditions, *conditions) + scale * noise


def _list_settings(effects: Effects, n_embeddings: int) -> list[KernelSettings]:
    """List what there is to choose from; what these conditions cannot show is left out."""
    is_combined = max(len(group) for group in effects.targets) > 1
    grid = product(
        NOISES,
        MEANS,
        INTERACTIONS if is_combined else (0.0,),
        product(EMBEDDING_WEIGHTS, repeat=n_embeddings),
        CONTEXT_SHARES if len(effects.control_mean) > 1 else (0.0,),
        SHARPNESSES,
    )
    return [
        KernelSettings(noise, 1.0, mean, interaction, weights, context, sharpness, context)
        for noise, mean, interaction, weights, context, sharpness in grid
        # Without embeddings nothing is raised to a power.
        if any(weights) or sharpness == SHARPNESSES[0]
    ]


def _distinct(targets: Sequence[Targets]) -> list[str]:
    return sorted({target for group in targets for target in group})


def _indicator(targets: Sequence[Targets], names: list[str]) -> sparse.csr_array:
    index = {name: i for i, name in enumerate(names)}
    columns = [index[target] for group in targets for target in group]
    rows = np.repeat(np.arange(len(targets)), [len(group) for group in targets])
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
