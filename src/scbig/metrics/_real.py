"""The real side, prepared once for all predictions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from scbig.data import ScreenSchema
from scbig.metrics._moments import Moments, compute_moments
from scbig.metrics._sides import Key, Side
from scbig.metrics._target_mask import get_target_mask


@dataclass(frozen=True)
class Real:
    """Means of the real conditions and controls.

    Attributes
    ----------
    side
        The cells.
    keys
        The conditions and contexts, context by context; all below is in their order.
    moments
        Sums over the cells of each.
    control
        Mean of the control cells of each context that has some, ``(G,)``.
    target_mask
        The genes that each condition perturbs, ``(C, G)``.
    """

    side: Side
    keys: tuple[Key, ...]
    moments: Moments
    control: Mapping[str, np.ndarray]
    target_mask: np.ndarray

    @property
    def labels(self) -> list[str]:
        """The label of each condition, as the real cells have it."""
        return [self.side.labels[targets] for targets, _ in self.keys]

    @property
    def rows(self) -> list[np.ndarray]:
        """Row numbers of the cells of each condition and context."""
        return [self.side.groups[key] for key in self.keys]

    def get_blocks(self) -> Iterator[tuple[str, slice]]:
        """Yield each context that has conditions, and where these stand."""
        contexts = [context for _, context in self.keys]
        for context in dict.fromkeys(contexts):
            start = contexts.index(context)
            yield context, slice(start, start + contexts.count(context))


def make_real(side: Side, schema: ScreenSchema, *, use_squares: bool) -> Real:
    """Average the real cells.

    Parameters
    ----------
    side
        The real cells.
    schema
        Where they keep their labels.
    use_squares
        Add up squares, too, for weights of genes.

    Returns
    -------
    The prepared real side.

    Raises
    ------
    ValueError
        When there are no perturbed cells, or a context has some and no controls.
    """
    keys = tuple(side.perturbed)
    _check_groups(side, schema)
    contexts = [context for targets, context in side.groups if not targets]
    groups = [side.groups[key] for key in keys] + [side.groups[(), name] for name in contexts]
    moments = compute_moments(side.expression, groups, use_squares=use_squares)
    n = len(keys)
    return Real(
        side,
        keys,
        moments.select(slice(n)),
        dict(zip(contexts, moments.mean[n:], strict=True)),
        get_target_mask([targets for targets, _ in keys], side.genes),
    )


def _check_groups(side: Side, schema: ScreenSchema) -> None:
    contexts = list(dict.fromkeys(context for _, context in side.perturbed))
    if not contexts:
        raise ValueError(
            f"real has no perturbed cells: all of obs[{schema.perturbation_key!r}] is "
            f"{schema.control!r}. Keep the cells of the conditions to score."
        )
    if lacking := [name for name in contexts if ((), name) not in side.groups]:
        raise ValueError(
            f"real has {len(lacking)} context(s) with perturbed cells but no controls: "
            f"{lacking[:5]}. Effects are differences to real controls of the same context: keep "
            f"the cells with obs[{schema.perturbation_key!r}] == {schema.control!r}, or give "
            "fewer context_keys."
        )
