"""How surely is an effect predicted, and will a test call the gene?"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self, TypeVar

import numpy as np

from scbig._types import Arrays
from scbig.cells import CallModel, call_genes, compute_power, fit_calls, match_calls
from scbig.data import Effects, Targets
from scbig.regression._denoised import DenoisedRegression
from scbig.regression._error_model import ErrorModel, Known, fit_errors, make_posterior_model
from scbig.regression._gaussian_process import KernelRegression
from scbig.regression._shrinkage import compute_posterior, compute_standard_error
from scbig.regression._unseen import leave_each_target_out

# Kinds of requests. What there is no example of is taken for the next.
MEASURED, COMBINATION, UNSEEN = KINDS = ("measured", "combination", "unseen")
# Conditions that are worked on at once.
_BLOCK = 256
# More examples of a kind change nothing.
_MAX_EXAMPLES = 400
# Fewer left-out combinations say less of combinations than all that is left out.
_LEAST_COMBINED = 5

# Noise that is added to find out what comes back, in standard errors.
_PROBE = 0.3

Model = TypeVar("Model")
# Kind, rows of training conditions, weights of all others, and what each regression predicts.
_LeftOut = tuple[str, np.ndarray, np.ndarray, list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class EffectForecast:
    """What is expected of conditions, and how surely; all of shape ``(n, n_genes)``.

    Attributes
    ----------
    mean
        Expected effects, in log1p units.
    standard_error
        Standard error of the true effects about ``mean``: nine in ten are to be within 1.645 of
        it. To compare with a measured effect, add the variance of its own error.
    probability_up, probability_down
        Probability that Wilcoxon's test, as scanpy has it, calls the gene higher, or lower, than
        in control cells, at a false discovery rate of 5%, in a measurement with as many cells as
        training conditions have at the median.
    """

    mean: np.ndarray
    standard_error: np.ndarray
    probability_up: np.ndarray
    probability_down: np.ndarray


class EffectErrors:
    """Standard errors, probabilities and draws of predicted effects.

    Made by :meth:`calibrate`. Requests are of three kinds: ``"measured"`` are training conditions,
    ``"combination"`` others whose targets are all seen, and ``"unseen"`` the rest.

    Parameters
    ----------
    regression
        The regression whose predictions these are.
    models, calls
        Errors of each kind of request, and calls of its genes. A kind that is not there is taken
        for the next, in the order above.
    """

    def __init__(
        self,
        regression: DenoisedRegression,
        models: Mapping[str, ErrorModel],
        calls: Mapping[str, CallModel],
    ) -> None:
        self._regression, self._models, self._calls = regression, dict(models), dict(calls)
        effects = regression.effects
        self._kernel = KernelRegression(effects, regression.kernel)
        self._seen = {target for group in effects.targets for target in group}
        self._trained = set(zip(effects.targets, effects.context.tolist(), strict=True))
        self._variance = compute_standard_error(effects.pooled_variance, np.ones(1))[0] ** 2
        self._expression = effects.get_control(effects.context).mean(axis=0)
        n_controls = np.zeros(len(effects.control_mean))
        if effects.n_controls is not None:
            n_controls += effects.n_controls
        self._per_control = np.divide(
            1, n_controls, out=np.zeros(len(n_controls)), where=n_controls > 0
        )
        self._in_context = effects.context[:, None] == np.arange(len(n_controls))

    @classmethod
    def calibrate(
        cls,
        regression: DenoisedRegression,
        halves: Sequence[Effects] | None = None,
        is_called: np.ndarray | None = None,
    ) -> Self:
        """Calibrate on the training conditions of a regression.

        Each is predicted without itself, and without each of its targets. What the squared errors
        of such predictions have beyond the noise of the measurement is a sum of five parts: the
        mean squared error of the gene, by itself, times the variance that the kernel leaves open,
        and times the mean over genes of the condition's squared effects, each divided by that
        gene's mean squared error; the squared effect; and its size times the typical error. Their
        weights are not negative, and are fitted by quasi-likelihood (McCullagh & Nelder 1989,
        chapter 9); up to five conditions tell the first alone. Of training conditions that are
        predicted by their own cells the parts are the variance of the posterior, and the squared
        distance that the measured effect is shrunk; two halves of the cells tell the weights. A
        context without any training condition has no example: there the kernel alone tells how
        much larger errors are. Without examples of combinations, those of targets that were each
        measured are taken to be no less sure than new targets.

        Parameters
        ----------
        regression
            The regression whose predictions are to be judged.
        halves
            Two measurements of training conditions, see
            ``scbig.data.compute_half_effects``. Without, the posterior is believed as it is.
        is_called
            Whether a test of the cells calls each gene in each training condition,
            ``(n_groups, n_genes)``; -1 in conditions that were not tested, see
            ``scbig.data.call_by_ranks``. There, and without, mean effects are tested, which
            comes near scanpy's test of the cells.

        Returns
        -------
        The errors. Where cells do not vary, as with one cell for each condition, measurements
        are taken to be without noise, and no gene is expected to be called.
        """
        errors, effects = cls(regression, {}, {}), regression.effects
        variance = errors._variance
        power = compute_power(errors._expression, effects.pooled_variance)
        factor, called = match_calls(_standardise(effects, power), is_called)
        power = factor * power
        for kind, rows, known, leak in errors._leave_out():
            # The prediction has part of the error of the control mean in common with what was
            # measured, and a little of that of the condition itself.
            shared = (known.shares - errors._in_context[rows]) ** 2 @ errors._per_control
            per_cell = (1 - 2 * leak) / effects.n_cells[rows] + shared
            real, noise = effects.delta[rows], np.outer(per_cell, variance)
            residual = real - known.mean
            errors._models[kind] = fit_errors(known, residual, noise, rows, errors._expression)
            noise = np.outer(np.diag(effects.noise)[rows], variance)
            predicted = known.mean, errors._get_variance(kind, known), noise
            errors._calls[kind] = fit_calls(predicted, power, called[rows], real > 0, rows)
        errors._models[MEASURED] = make_posterior_model(len(variance))
        if halves and len(halves[0]) and variance.any():
            errors._learn_measured(halves, power)
        return errors

    def predict(self, targets: Sequence[Targets], context: np.ndarray) -> EffectForecast:
        """Predict effects with their errors, block by block.

        Parameters
        ----------
        targets, context
            Conditions, each with its context, length ``n``.

        Returns
        -------
        Expected effects, equal to those of the regression, and how surely; the latter in float32.
        """
        shape = len(targets), len(self._variance)
        mean = np.empty(shape)
        error, up, down = np.empty((3, *shape), dtype=np.float32)
        typical = np.median(np.diag(self._regression.effects.noise)) * self._variance
        for rows, kind, known in self._know_blocks(targets, context):
            variance = self._get_variance(kind, known)
            mean[rows], error[rows] = known.mean, np.sqrt(variance)
            calls = _find(self._calls, kind)
            up[rows], down[rows] = calls.predict(known.mean, variance, typical)
        return EffectForecast(mean, error, up, down)

    def draw(
        self,
        targets: Sequence[Targets],
        context: np.ndarray,
        n_draws: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Draw effects about the expected ones, with errors that genes have in common.

        Errors are normal, with the standard errors of :meth:`predict`. They are correlated
        between genes as those of left-out training conditions are beyond the noise of their
        measurement, and independent between conditions.

        Parameters
        ----------
        targets, context
            Conditions, each with its context, length ``n``.
        n_draws
            Number of draws.
        rng
            Source of randomness.

        Returns
        -------
        Effects, shape ``(n_draws, n, n_genes)``, float32.
        """
        drawn = np.empty((n_draws, len(targets), len(self._variance)), np.float32)
        for rows, kind, known in self._know_blocks(targets, context):
            loadings = _find(self._models, kind).loadings
            alone = np.sqrt(1 - (loadings**2).sum(axis=1))
            scale = np.sqrt(self._get_variance(kind, known))
            for one in drawn:
                common = rng.standard_normal((len(rows), loadings.shape[1])) @ loadings.T
                error = common + alone * rng.standard_normal(scale.shape)
                one[rows] = known.mean + scale * error
        return drawn

    # --- saving ------------------------------------------------------------------------------

    def to_plain(self) -> Arrays:
        """Arrays that the errors are rebuilt from, beside the regression."""
        return {
            f"errors.{kind}.{name}": value
            for models in (self._models, self._calls)
            for kind, model in models.items()
            for name, value in vars(model).items()
        }

    @classmethod
    def from_plain(cls, regression: DenoisedRegression, arrays: Arrays) -> Self:
        """Rebuild errors from what :meth:`to_plain` returned.

        Parameters
        ----------
        regression
            The regression that they were calibrated on.
        arrays
            What was saved; further arrays do no harm.
        """
        return cls(regression, _read(ErrorModel, arrays), _read(CallModel, arrays))

    # --- examples ----------------------------------------------------------------------------

    def _leave_out(self) -> Iterator[tuple[str, np.ndarray, Known, float]]:
        """Yield kinds, rows of training conditions, and what others tell of these.

        The last is the share of the errors of measurement that is in predictions all the same, as
        components and saturation are those of all conditions: noise that is added comes back.
        """
        effects = self._regression.effects
        added = np.sqrt(np.outer(1 / effects.n_cells, self._variance))
        added *= _PROBE * np.random.default_rng(0).choice([-1.0, 1.0], added.shape)
        twins = [self._regression]
        if added.any():
            noisy = replace(effects, delta=effects.delta + added)
            twins.append(self._regression.fit_again(noisy))
        for kind, rows, weights, means in (
            self._leave_one_out(twins),
            self._leave_target_out(twins),
        ):
            if len(rows):
                added_here = added[rows]
                square = max((added_here**2).sum(), np.finfo(np.float64).tiny)
                leak = ((means[-1] - means[0]) * added_here).sum() / square
                targets = [effects.targets[row] for row in rows]
                known = self._describe(targets, effects.context[rows], means[0], weights)
                yield kind, rows, known, float(np.clip(leak, 0, 0.5))

    def _leave_one_out(self, twins: Sequence[DenoisedRegression]) -> _LeftOut:
        targets = self._regression.effects.targets
        n_uses = Counter(target for group in targets for target in group)
        rows = np.flatnonzero([all(n_uses[t] > 1 for t in group) for group in targets])
        combined = rows[np.array([len(targets[row]) > 1 for row in rows], dtype=bool)]
        rows = _thin(combined if len(combined) >= _LEAST_COMBINED else rows)
        weights = self._kernel.get_left_out_weights()[rows]
        return COMBINATION, rows, weights, [twin.leave_one_out()[rows] for twin in twins]

    def _leave_target_out(self, twins: Sequence[DenoisedRegression]) -> _LeftOut:
        rows, weights, *means = leave_each_target_out(self._kernel, twins)
        chosen = _thin(np.arange(len(rows)))
        return UNSEEN, rows[chosen], weights[chosen], [mean[chosen] for mean in means]

    def _describe(
        self,
        targets: Sequence[Targets],
        context: np.ndarray,
        mean: np.ndarray,
        weights: np.ndarray,
    ) -> Known:
        """Say what weights of training conditions leave open of others."""
        effects, kernel = self._regression.effects, self._kernel.kernel
        told = (weights * kernel(targets, context, effects.targets, effects.context)).sum(axis=1)
        prior = np.diag(kernel(targets, context, targets, context))
        return Known(mean, np.maximum(prior - told, 0), weights @ self._in_context)

    def _learn_measured(self, halves: Sequence[Effects], power: np.ndarray) -> None:
        """Learn how far predictions by one half of the cells are from the other half."""
        parts = []
        for fitted, real in (halves, halves[::-1]):
            mean = self._regression.fit_again(fitted).predict(fitted.targets, fitted.context)
            measured = np.stack(_describe_measured(fitted, mean)).swapaxes(0, 1)
            noise = np.outer(np.diag(real.noise), self._variance)
            called = call_genes(_standardise(real, power))
            parts.append((mean, measured, noise, real.delta, called, np.arange(len(real))))
        joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
        chosen = _thin(np.arange(len(joined[0])))
        mean, measured, noise, delta, called, owner = (array[chosen] for array in joined)
        known = Known(mean, *self._know_nothing(len(mean)), measured.swapaxes(0, 1))
        self._models[MEASURED] = fit_errors(known, delta - mean, noise, owner, self._expression)
        predicted = mean, self._get_variance(MEASURED, known), noise
        # There will be more cells than in halves.
        calls = fit_calls(predicted, power, called, delta > 0, owner, is_level=False)
        self._calls[MEASURED] = calls

    # --- requests ----------------------------------------------------------------------------

    def _know_blocks(
        self, targets: Sequence[Targets], context: np.ndarray
    ) -> Iterator[tuple[np.ndarray, str, Known]]:
        """Yield row numbers of conditions of one kind, the kind, and what is known of them."""
        context = np.asarray(context)
        trained = self._regression.find_measured(targets, context)
        # Where there is no noise to shrink by, measured conditions are predicted as all others.
        trained = np.where(self._variance.any(), trained, -1)
        is_seen = np.array([self._seen.issuperset(group) for group in targets], dtype=bool)
        kinds = np.select([trained >= 0, is_seen], [MEASURED, COMBINATION], UNSEEN)
        for kind in KINDS:
            chosen = np.flatnonzero(kinds == kind)
            for start in range(0, len(chosen), _BLOCK):
                rows = chosen[start : start + _BLOCK]
                groups, where = [targets[row] for row in rows], context[rows]
                mean = self._regression.predict(groups, where)
                if kind == MEASURED:
                    yield rows, kind, self._describe_trained(trained[rows], mean)
                else:
                    weights = self._kernel.get_weights(groups, where)
                    known = self._describe(groups, where, mean, weights)
                    yield rows, kind, self._bound(kind, groups, where, known)

    def _bound(
        self, kind: str, targets: Sequence[Targets], context: np.ndarray, known: Known
    ) -> Known:
        """Leave no more open than of new targets, if each target was measured by itself."""
        if kind != COMBINATION or kind in self._models:
            return known
        pairs = zip(targets, context.tolist(), strict=True)
        is_told = [all(((t,), where) in self._trained for t in group) for group, where in pairs]
        widest = np.where(is_told, _find(self._models, kind).widest, np.inf)
        return replace(known, spread=np.minimum(known.spread, widest))

    def _describe_trained(self, rows: np.ndarray, mean: np.ndarray) -> Known:
        shrunk = (self._regression.effects.delta[rows] - mean) ** 2
        measured = np.stack([self._posterior[rows], shrunk])
        return Known(mean, *self._know_nothing(len(rows)), measured)

    def _know_nothing(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Spread and shares of measured conditions: errors of controls are in the posterior."""
        return np.zeros(n), np.zeros((n, len(self._per_control)))

    @cached_property
    def _posterior(self) -> np.ndarray:
        effects = self._regression.effects
        return _describe_measured(effects, effects.delta)[0]

    def _get_variance(self, kind: str, known: Known) -> np.ndarray:
        """Variance of true effects about expected ones, the error of control means included."""
        of_controls = np.outer(known.shares**2 @ self._per_control, self._variance)
        return _find(self._models, kind).get_variance(known) + of_controls


def _describe_measured(effects: Effects, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior variance of measured effects, and how far they were shrunk, squared."""
    error = compute_standard_error(effects.pooled_variance, np.diag(effects.noise))
    return compute_posterior(effects.delta, error)[1], (effects.delta - mean) ** 2


def _standardise(effects: Effects, power: np.ndarray) -> np.ndarray:
    """Measured effects in standard errors, times the power; 0 where cells do not vary."""
    error = compute_standard_error(effects.pooled_variance, np.diag(effects.noise))
    return power * np.divide(effects.delta, error, out=np.zeros_like(error), where=error > 0)


def _find(models: Mapping[str, Model], kind: str) -> Model:
    """Return the model of a kind, or of the next that has one."""
    return next(models[one] for one in KINDS[KINDS.index(kind) :] if one in models)


def _read(cls: type[Model], arrays: Arrays) -> dict[str, Model]:
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    return {
        kind: cls(*(arrays[f"errors.{kind}.{name}"] for name in names))
        for kind in KINDS
        if f"errors.{kind}.{names[0]}" in arrays
    }


def _thin(rows: np.ndarray) -> np.ndarray:
    """Choose examples evenly, where there are many."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _MAX_EXAMPLES)).astype(int)]
