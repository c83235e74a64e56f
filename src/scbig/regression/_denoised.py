"""What effect is to be expected of a condition, beside the noise of the cells?

Two regressions that differ in what they keep, what a perturbation does to its own gene, how far
combinations fall short of their sum, how far expression can fall in a new context, and what the
cells of a measured condition tell themselves.
"""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from scbig._annotations import check_fields
from scbig.data import Effects, Targets
from scbig.regression._gaussian_process import (
    ComponentRegression,
    KernelRegression,
    TargetKernel,
)
from scbig.regression._shrinkage import compute_standard_error, shrink, shrink_evenly

# The regression gene by gene is hardly shrunk: what is noise in it shows by its standard error.
DETAILED = (0.5, 1.0)
# Noise and interactions to choose from for each component.
NOISES = (0.1, 0.3, 1.0, 3.0, 10.0)
INTERACTIONS = (0.0, 1.0)
# Standard errors at which half of a difference between the two regressions is believed.
HALF_BELIEVED = 4.0
# Shares of three that sum to 1; finer ones would be told by chance.
_SHARES = [(i / 4, j / 4, (4 - i - j) / 4) for i in range(5) for j in range(5 - i)]
# Prior precisions of intercept and slope: a handful of measured genes outweighs them.
_PRECISION = (0.5, 2.0)


@dataclass(frozen=True)
class Denoising:
    """The parts of :class:`DenoisedRegression`, to be left out for comparison.

    Parameters
    ----------
    use_components
        Share strength between genes; otherwise each gene is regressed by itself, with the noise
        and interactions of the kernel.
    use_own_gene
        Fit the effect of perturbations on their own gene apart.
    use_saturation
        Scale combinations of seen targets by how far such combinations fall short.
    use_measured
        Believe the measured effects of training conditions beside the regression.
    """

    use_components: bool = True
    use_own_gene: bool = True
    use_saturation: bool = True
    use_measured: bool = True

    def __post_init__(self) -> None:
        check_fields(self)


class DenoisedRegression:
    """Regression of effects on targets, partially denoised.

    Two regressions predict each condition. One shrinks each principal component of the effects
    by its own noise (:class:`ComponentRegression`), and loses what is particular to a gene. The
    other goes gene by gene (:class:`KernelRegression`) and keeps that, together with the noise.
    Where they differ by z standard errors, the share ``z**2 / (z**2 + 16)`` of the difference is
    believed, as the non-negative garrote would (Breiman 1995, doi:10.2307/1269730). The effect
    of a perturbation on its own gene is fitted apart (:class:`OwnGeneEffect`), and combinations
    of seen targets are scaled by how far such combinations fall short of it
    (:func:`compute_saturation`). In a context without training conditions, falls are scaled by
    how much less there is to fall (:func:`scale_falls`).

    Of a training condition that is predicted, its own cells tell more than a regression keeps. Its
    measured effect is shrunk three times by its own noise: towards no effect, gene by gene
    (:func:`shrink`) and by one factor (:func:`shrink_evenly`), and gene by gene towards the
    regression; what is predicted lies between (:func:`choose_particular`).

    Parameters
    ----------
    effects
        Effects of the training conditions.
    kernel
        Covariance of conditions; its noise and interactions are chosen anew.
    genes
        Names of the genes, as targets are named; none for features that are no genes.
    denoising
        What to leave out.
    """

    def __init__(
        self,
        effects: Effects,
        kernel: TargetKernel,
        genes: Sequence[str] = (),
        denoising: Denoising | None = None,
    ) -> None:
        denoising = denoising or Denoising()
        self.effects = effects
        self.kernel = kernel
        self._denoising, self._genes = denoising, genes
        self._row = {key: row for row, key in enumerate(effects.keys)}
        self._own = fit_own_gene(effects, genes if denoising.use_own_gene else ())
        own = self._own.predict(effects.targets, effects.get_control(effects.context))
        rest = replace(effects, delta=effects.delta - own)
        use_components = denoising.use_components
        self._shared = _fit_components(rest, kernel) if use_components else None
        detailed = kernel.with_noise(*DETAILED) if use_components else kernel
        self._detailed = KernelRegression(rest, detailed)
        n_uses = Counter(target for group in effects.targets for target in group)
        self._seen = set(n_uses)
        # Left out, a condition takes targets with it that are in no other.
        self._repeated = {target for target, n in n_uses.items() if n > 1}
        self._saturation = np.ones(effects.delta.shape[1])
        if denoising.use_saturation:
            self._saturation = compute_saturation(effects, self.leave_one_out(), self._repeated)

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict the effects of conditions, as :meth:`KernelRegression.predict` does.

        Parameters
        ----------
        targets, context
            Conditions, each with its context, length ``n``.
        """
        expected = self._regress(targets, context)
        rows = self.find_measured(targets, context)
        if (rows >= 0).any():
            expected[rows >= 0] = self._measured[rows[rows >= 0]]
        return expected

    def find_measured(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Find the training conditions that are predicted by their own cells, too.

        Parameters
        ----------
        targets, context
            Conditions, each with its context, length ``n``.

        Returns
        -------
        Row number of each among the training conditions, -1 for all others, shape ``(n,)``.
        """
        rows = self._row if self._denoising.use_measured else {}
        keys = zip(targets, np.asarray(context).tolist(), strict=True)
        return np.array([rows.get(key, -1) for key in keys], dtype=np.int64)

    def fit_again(self, effects: Effects) -> "DenoisedRegression":
        """Fit the same regression to other effects.

        Parameters
        ----------
        effects
            Such as those of half of the cells.
        """
        return DenoisedRegression(effects, self.kernel, self._genes, self._denoising)

    def leave_one_out(self) -> np.ndarray:
        """Predict each training condition from all others, shape ``(n_groups, n_genes)``."""
        shared = None if self._shared is None else self._shared.leave_one_out()
        mixed = self._mix(self._detailed.get_left_out_weights(), shared)
        return self._finish(mixed, self.effects.targets, self.effects.context, self._repeated)

    def leave_target_out(self, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Predict as :meth:`KernelRegression.leave_target_out` does.

        Parameters
        ----------
        target
            Name of the target.
        """
        shared = None if self._shared is None else self._shared.leave_target_out(target)
        rows, weights = self._detailed.get_target_left_out_weights(target)
        effects, seen = self.effects.subset(rows), self._seen - {target}
        mixed = self._mix(weights, shared)
        return rows, self._finish(mixed, effects.targets, effects.context, seen)

    def _mix(self, weights: np.ndarray, shared: np.ndarray | None) -> np.ndarray:
        """Believe differences of the detailed regression by their standard errors."""
        rest = self._detailed.effects
        detailed = weights @ rest.delta
        if shared is None:
            return detailed
        square = (detailed - shared) ** 2
        variance = (weights**2 @ (1 / rest.n_cells))[:, None] * rest.pooled_variance
        total = square + HALF_BELIEVED**2 * variance
        believed = np.divide(square, total, out=np.zeros_like(total), where=total > 0)
        return shared + believed * (detailed - shared)

    def shrink_measured(self) -> np.ndarray:
        """Shrink the measured effects of all training conditions by their own noise.

        Returns
        -------
        What becomes of them towards no effect, gene by gene and by one factor, and towards the
        regression, shape ``(3, n_groups, G)``.
        """
        effects = self.effects
        # What is compared with the same controls has their error in it, and so have predictions
        # of other conditions; to be told from this one's own effect, it is noise.
        settings = replace(self.kernel.settings, shares_controls=True)
        kernel = replace(self.kernel, settings=settings)
        informed = DenoisedRegression(effects, kernel, self._genes, self._denoising)
        expected = informed._regress(effects.targets, effects.context)
        if not effects.pooled_variance.any():
            return np.stack([expected] * 3)
        error = compute_standard_error(effects.pooled_variance, np.diag(effects.noise))
        towards = expected + shrink(effects.delta - expected, error)
        delta = effects.delta
        return np.stack([shrink(delta, error), shrink_evenly(delta, error), towards])

    @cached_property
    def _measured(self) -> np.ndarray:
        particular, even = self.kernel.settings.particular, self.kernel.settings.even
        shares = particular, even, 1 - particular - even
        return np.tensordot(shares, self.shrink_measured(), axes=1)

    def _regress(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        shared = None if self._shared is None else self._shared.predict(targets, context)
        weights = self._detailed.get_weights(targets, context)
        return self._finish(self._mix(weights, shared), targets, context, self._seen)

    def _finish(
        self, mixed: np.ndarray, targets: Sequence[Targets], context: np.ndarray, seen: Set[str]
    ) -> np.ndarray:
        """Add the effect on own genes, scale falls in new contexts and seen combinations."""
        mixed = scale_falls(mixed, np.asarray(context), self.effects)
        own = self._own.predict(targets, self.effects.get_control(context))
        is_known = np.array([len(group) > 1 and set(group) <= seen for group in targets])
        return np.where(is_known[:, None], self._saturation, 1.0) * (mixed + own)


def choose_particular(
    halves: Sequence[Effects], kernel: TargetKernel, genes: Sequence[str], denoising: Denoising
) -> TargetKernel:
    """Choose how measured effects are shrunk, by two halves of the cells.

    Parameters
    ----------
    halves
        Two measurements of the same conditions, see :func:`scbig.data.compute_half_effects`.
    kernel, genes, denoising
        As for :class:`DenoisedRegression`.

    Returns
    -------
    The kernel with the shares under which the effects of each half are most like those of the
    other: their correlation, on average over conditions, less their squared error, beside the
    smallest. Where nothing correlates, the error alone tells.
    """
    likeness, error = np.zeros((2, len(_SHARES)))
    for fitted, real in (halves, halves[::-1]):
        shrunk = DenoisedRegression(fitted, kernel, genes, denoising).shrink_measured()
        for i, shares in enumerate(_SHARES):
            mixed = np.tensordot(shares, shrunk, axes=1)
            likeness[i] += _correlate_rows(mixed, real.delta).mean() / 2
            error[i] += np.mean((mixed - real.delta) ** 2)
    score = likeness - error / max(error.min(), np.finfo(float).tiny)
    particular, even, _ = _SHARES[int(np.argmax(score))]
    return replace(kernel, settings=replace(kernel.settings, particular=particular, even=even))


def _correlate_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of each pair of rows; 0 where one is constant."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (first, second))
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), size, out=np.zeros(len(size)), where=size > 0)


@dataclass(frozen=True)
class OwnGeneEffect:
    """Effect of perturbing a gene on that gene's own expression, linear in its expression.

    A knock-down takes away what is there and an activation adds more where little is there, so
    that the effect is `intercept + slope * mean control expression`, of at most that expression
    downwards. Fitted to the perturbations of one measured gene, it holds for genes that were
    never perturbed; guides whose effect on their own gene varies share one line, in log1p units.
    """

    intercept: float
    slope: float
    genes: tuple[str, ...]

    def predict(self, targets: Sequence[Targets], control: np.ndarray) -> np.ndarray:
        """Effects on the own genes, zero for all others, given control means ``(n, n_genes)``."""
        effect = np.zeros((len(targets), control.shape[1]))
        rows, columns = _find_own(targets, self.genes)
        before = control[rows, columns]
        effect[rows, columns] = np.maximum(self.intercept + self.slope * before, -before)
        return effect


def fit_own_gene(effects: Effects, genes: Sequence[str]) -> OwnGeneEffect:
    """Fit the line by ridge regression to conditions of one measured gene; zero without any."""
    rows, columns = _find_own(effects.targets, genes)
    is_single = np.array([len(effects.targets[row]) == 1 for row in rows], dtype=bool)
    rows, columns = rows[is_single], columns[is_single]
    before = effects.control_mean[effects.context[rows], columns]
    design = np.column_stack([np.ones(len(rows)), before])
    gram = design.T @ design + np.diag(_PRECISION)
    intercept, slope = np.linalg.solve(gram, design.T @ effects.delta[rows, columns])
    return OwnGeneEffect(float(intercept), float(slope), tuple(genes))


def compute_saturation(effects: Effects, predicted: np.ndarray, known: Set[str]) -> np.ndarray:
    """Estimate the share of the expected effect that combinations have, gene by gene.

    Targets that do the same are redundant together, so that combinations mostly have less than
    the sum. The share is the least-squares slope of real on predicted effects over all
    combinations; that of each gene is shrunk to the common one as if the gene had been measured
    in as many combinations again that follow it. ``predicted (n_groups, n_genes)`` is predicted
    from all other conditions; combinations of targets that these do not have are left aside.
    """
    is_combined = np.array(
        [len(group) > 1 and set(group) <= known for group in effects.targets], dtype=bool
    )
    real, expected = effects.delta[is_combined], predicted[is_combined]
    cross, square = (real * expected).sum(axis=0), (expected**2).sum(axis=0)
    if not square.any():
        return np.ones(predicted.shape[1])
    common, prior = cross.sum() / square.sum(), square.mean()
    return np.maximum((cross + prior * common) / (square + prior), 0)


def scale_falls(predicted: np.ndarray, context: np.ndarray, effects: Effects) -> np.ndarray:
    """Let expression fall no further than there is to fall.

    An effect that was measured in other contexts is an absolute change. Where the new context
    expresses a gene less than those did, a fall is scaled down with it; rises stay as they are,
    and so does everything in contexts with a training condition.
    """
    is_new = ~np.isin(context, effects.context)
    here = effects.get_control(context)
    elsewhere = effects.get_control(effects.context).mean(axis=0)
    ratio = np.divide(here, elsewhere, out=np.ones_like(here), where=elsewhere > 0)
    is_less = is_new[:, None] & (predicted < 0) & (ratio < 1)
    return np.where(is_less, ratio * predicted, predicted)


def _fit_components(effects: Effects, kernel: TargetKernel) -> ComponentRegression:
    """Regress the components of effects that are scaled by their noise."""
    kernels = [kernel.with_noise(*pair) for pair in product(NOISES, INTERACTIONS)]
    variance = effects.pooled_variance * np.mean(1 / effects.n_cells)
    # Half of the scale is common, so that genes that hardly vary are not blown up. Without any
    # noise, as where each group is one cell, all genes count alike.
    return ComponentRegression(effects, kernels, np.sqrt(variance + (variance.mean() or 1.0)))


def _find_own(targets: Sequence[Targets], genes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return condition and gene number of every measured target."""
    position = {gene: i for i, gene in enumerate(genes)}
    pairs = [(i, position[t]) for i, group in enumerate(targets) for t in group if t in position]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return rows, columns
