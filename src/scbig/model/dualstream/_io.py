"""What a saved folder holds of DualStreamMamba."""

from typing import Any

import numpy as np

from scbig.model.base import SaveMixin
from scbig.model.dualstream._inference import InferenceMixin
from scbig.model.dualstream._state import State, from_plain, to_plain


class StateMixin(InferenceMixin, SaveMixin):
    """The parts of a model that are saved, and put back."""

    def _set_state(self, state: State) -> None:
        self._blueprint, self.module, self._anchor = state.blueprint, state.module, state.anchor
        self._uses_networks = state.uses_networks
        self._model_summary_string = state.blueprint.describe()

    def _to_plain(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        state = State(
            self._blueprint, self.module, self._anchor, uses_networks=self._uses_networks
        )
        values, arrays = to_plain(state)
        return values | {"missing_embedding": self._missing_embedding}, arrays

    def _restore(self, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self._missing_embedding = values["missing_embedding"]
        self._set_state(from_plain(values, arrays))
        self.is_trained_ = self._anchor is not None
