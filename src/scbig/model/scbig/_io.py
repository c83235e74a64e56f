"""What a saved folder holds of SCBIG."""

from typing import Any

import numpy as np

from scbig.model.base import SaveMixin
from scbig.model.scbig._inference import InferenceMixin
from scbig.model.scbig._state import State, from_plain, to_plain


class StateMixin(InferenceMixin, SaveMixin):
    """The parts of a model that are saved, and put back."""

    def _set_state(self, state: State) -> None:
        self._blueprint, self.module, self._anchor = state.blueprint, state.module, state.anchor
        self._model_summary_string = state.blueprint.describe()

    def _to_plain(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        values, arrays = to_plain(State(self._blueprint, self.module, self._anchor))
        return values | {"missing_embedding": self._missing_embedding}, arrays

    def _restore(self, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self._missing_embedding = values["missing_embedding"]
        self._set_state(from_plain(values, arrays))
        self.is_trained_ = self._anchor is not None
