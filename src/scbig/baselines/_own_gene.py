"""What a perturbation does to the expression of its own gene."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scbig.baselines._contexts import get_control
from scbig.data import Effects, Targets

# Prior precisions of intercept and slope: a handful of measured genes outweighs them.
_PRECISION = (0.5, 2.0)


@dataclass(frozen=True)
class OwnGeneEffect:
    """Effect of perturbing a gene on that gene's own expression, linear in its expression.

    A knock-down takes away what is there and an activation adds more where little is there, so
    that the effect is `intercept + slope * mean control expression`, of at most that expression
    downwards. Fitted to the perturbations of one measured gene, it holds for genes that were
    never perturbed; guides whose effect on their own gene varies share one line.

    Attributes
    ----------
    intercept, slope
        The line, in log1p units.
    genes
        Names of the measured genes.
    """

    intercept: float
    slope: float
    genes: tuple[str, ...]

    def predict(
        self, targets: Sequence[Targets], context: np.ndarray, control_mean: np.ndarray
    ) -> np.ndarray:
        """Effects on the own genes, zero for all other genes.

        Parameters
        ----------
        targets
            Target set of each condition, length ``n``.
        context
            Context of each condition, shape ``(n,)``.
        control_mean
            Mean control expression, shape ``(n_contexts, n_genes)``.

        Returns
        -------
        Effects, shape ``(n, n_genes)``.
        """
        effect = np.zeros((len(targets), control_mean.shape[1]))
        rows, columns = _find_own(targets, self.genes)
        before = get_control(control_mean, context)[rows, columns]
        effect[rows, columns] = np.maximum(self.intercept + self.slope * before, -before)
        return effect


def fit_own_gene(effects: Effects, genes: Sequence[str]) -> OwnGeneEffect:
    """Fit the line by ridge regression to the conditions of one measured gene.

    Parameters
    ----------
    effects
        Effects of the training conditions.
    genes
        Names of the measured genes, as targets are named.

    Returns
    -------
    The effect; zero when no gene was perturbed alone and measured.
    """
    rows, columns = _find_own(effects.targets, genes)
    is_single = np.array([len(effects.targets[row]) == 1 for row in rows], dtype=bool)
    rows, columns = rows[is_single], columns[is_single]
    before = effects.control_mean[effects.context[rows], columns]
    design = np.column_stack([np.ones(len(rows)), before])
    gram = design.T @ design + np.diag(_PRECISION)
    intercept, slope = np.linalg.solve(gram, design.T @ effects.delta[rows, columns])
    return OwnGeneEffect(float(intercept), float(slope), tuple(genes))


def _find_own(targets: Sequence[Targets], genes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return condition and gene number of every measured target."""
    position = {gene: i for i, gene in enumerate(genes)}
    pairs = [(i, position[t]) for i, group in enumerate(targets) for t in group if t in position]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return rows, columns
