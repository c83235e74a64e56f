"""How long to train, and what is kept of a training."""

import logging
from typing import Any

from scbig.model.base._floors import FloorComparison, describe_comparison
from scbig.model.base._fold import Fold
from scbig.model.base._known import KnownScreenMixin
from scbig.train import History

logger = logging.getLogger(__name__)


class OutcomeMixin(KnownScreenMixin):
    """What a model remembers of its trainings."""

    comparison_: FloorComparison | None
    history_: History | None
    is_trained_: bool
    module: Any

    def _record_outcome(
        self, history: History, comparison: FloorComparison | None, n_steps: int
    ) -> None:
        """Keep the curves, the comparison with the floors and the number of steps, and say it."""
        self.comparison_ = comparison
        self._n_steps += n_steps
        self.history_ = history
        self.is_trained_ = True
        self.module.eval()
        logger.info(describe_comparison(type(self).__name__, comparison))


def choose_steps(default: int, fold: Fold, *, use_anchor: bool) -> int:
    """Steps of networks on top of a regression: none where nothing can check what they do."""
    if fold.validation or not use_anchor:
        return default
    logger.info(
        "No conditions are held out to check the networks on: the regression predicts alone. "
        "Name some, train(validation=[...]), or insist: train(max_steps=%d).",
        default,
    )
    return 0
