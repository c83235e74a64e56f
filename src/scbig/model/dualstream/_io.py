"""`save` and `load` of DualStreamMamba."""

from dataclasses import asdict
from os import PathLike
from typing import Self

import pandas as pd
from anndata import AnnData
from scvi.model.base import BaseModelClass

from scbig.model.base import FloorComparison, SetupMixin
from scbig.model.dualstream._inference import InferenceMixin
from scbig.model.dualstream._state import State, from_plain, to_plain
from scbig.train import History, read_model, seeded, write_model


class SaveMixin(InferenceMixin, SetupMixin):
    """Saved folders, see :func:`scbig.train.write_model`."""

    comparison_: FloorComparison | None
    history_: History | None
    registry_: dict
    is_trained_: bool

    def _set_state(self, state: State) -> None:
        self._blueprint, self.module, self._anchor = state.blueprint, state.module, state.anchor
        self._uses_networks = state.uses_networks
        self._model_summary_string = state.blueprint.describe()

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Save the model to a folder: arrays as safetensors, all else as JSON.

        Parameters
        ----------
        dir_path
            The folder.
        overwrite
            Replace a model that is there.

        Raises
        ------
        FileExistsError
            When the folder is not empty and ``overwrite`` is not set.
        """
        state = State(
            self._blueprint, self.module, self._anchor, uses_networks=self._uses_networks
        )
        values, arrays = to_plain(state)
        values |= {
            "seed": self._seed,
            "missing_embedding": self._missing_embedding,
            "n_steps": self._n_steps,
            "registry": self.registry_,
            "comparison": None if self.comparison_ is None else asdict(self.comparison_),
            "history": {k: v.iloc[:, 0].to_dict() for k, v in (self.history_ or {}).items()},
        }
        write_model(dir_path, type(self).__name__, values, arrays, overwrite=overwrite)

    @classmethod
    def load(cls, dir_path: str | PathLike[str], adata: AnnData | None = None) -> Self:
        """Load a model that :meth:`save` wrote; nothing is unpickled.

        Parameters
        ----------
        dir_path
            The folder.
        adata
            Screen to go on with, set up with the same keys; genes are matched by name. Not
            needed to predict.

        Returns
        -------
        The model, on the CPU.

        Raises
        ------
        FileNotFoundError, ValueError
            When there is no such model, or it does not fit.
        """
        values, arrays = read_model(dir_path, cls.__name__)
        model = cls.__new__(cls)
        BaseModelClass.__init__(model, registry=values["registry"])
        model._seed = values["seed"]
        model._missing_embedding = values["missing_embedding"]
        model._n_steps = values["n_steps"]
        model.history_ = {
            name: pd.DataFrame({name: epochs.values()}, index=list(map(int, epochs)))
            .rename_axis("epoch")
            .astype(object)
            for name, epochs in values["history"].items()
        }
        comparison = values.get("comparison")
        model.comparison_ = None if comparison is None else FloorComparison(**comparison)
        model.init_params_ = {}
        # A module draws its first weights, which must not move the user's random state.
        with seeded(model._seed):
            model._set_state(from_plain(values, arrays))
        model.is_trained_ = model._anchor is not None
        if adata is not None:
            model._attach_adata(adata, model._schema, is_log1p=model._is_log1p)
        return model
