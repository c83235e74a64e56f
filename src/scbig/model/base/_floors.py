"""The line at the end of training: does the model beat what is simple?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scbig.baselines import NoChange, predict_floors
from scbig.data import Effects
from scbig.metrics import pearson_delta


@dataclass(frozen=True)
class FloorComparison:
    """Scores of a model and of the floors on the same held-out conditions.

    Attributes
    ----------
    model
        Name of the model.
    score
        Its mean Pearson delta over the held-out groups.
    floors
        The same of each floor, by its key.
    n_conditions
        Number of held-out conditions.
    """

    model: str
    score: float
    floors: Mapping[str, float]
    n_conditions: int

    @property
    def best_floor(self) -> str:
        """Key of the best floor."""
        return max(self.floors, key=lambda key: self.floors[key])

    @property
    def margin(self) -> float:
        """By how much the model is better than the best floor; negative where it is worse."""
        return self.score - self.floors[self.best_floor]

    def __str__(self) -> str:
        """Say it in one line."""
        rival = f"{self.best_floor.replace('_', ' ')}, the best floor"
        where = f"on {self.n_conditions} held-out condition{'s' * (self.n_conditions != 1)}"
        figures = f"{self.score:.2f} against {self.floors[self.best_floor]:.2f}"
        # What rounds to nothing is no victory.
        if round(self.margin, 2) > 0:
            gain = f"by {self.margin:.2f} Pearson delta {where}"
            return f"{self.model} beats {rival}, {gain} ({figures})."
        return f"{self.model} does not beat {rival}: Pearson delta {figures} {where}."


def compare_with_floors(
    model: str,
    predicted: np.ndarray,
    trained: Effects,
    held_out: Effects,
    embeddings: tuple[Mapping[str, np.ndarray], ...],
) -> FloorComparison:
    """Score a model and the floors on conditions that all have chosen their settings on.

    Parameters
    ----------
    model
        Name of the model.
    predicted
        Effects that it predicts of the held-out groups, shape ``(n, n_genes)``.
    trained
        Effects that the model was trained on, and the floors learn from.
    held_out
        Real effects of the held-out groups, ``n`` at least 1.
    embeddings
        Unit vectors of targets, for the floors that use them.

    Returns
    -------
    The scores.
    """
    effects = predict_floors(
        trained, held_out.targets, held_out.context, embeddings, validation=held_out
    )
    return FloorComparison(
        model=model,
        score=_score(predicted, held_out),
        # No change has no direction, and correlates with nothing.
        floors={
            key: 0.0 if key == NoChange.default_key else _score(effect, held_out)
            for key, effect in effects.items()
        },
        n_conditions=len(set(held_out.targets)),
    )


def describe_comparison(model: str, comparison: FloorComparison | None) -> str:
    """Say in one line how a model compares, or that nothing was held out to compare on."""
    if comparison is None:
        return f"No conditions were held out: {model} was not compared with the floors."
    return str(comparison)


def _score(effect: np.ndarray, held_out: Effects) -> float:
    control = held_out.control_mean[held_out.context]
    # Cells cannot fall below zero, whatever the effect.
    mean = np.maximum(control + effect, 0)
    return float(np.mean(pearson_delta(control + held_out.delta, mean, control)))
