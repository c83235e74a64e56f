"""`save` and `load` of STRAND."""

from dataclasses import asdict
from os import PathLike
from typing import Self

import pandas as pd
from anndata import AnnData
from scvi.model.base import BaseModelClass

from scbig.model.base import CellLatent, FloorComparison, SetupMixin
from scbig.model.strand._extension import LocusMixin
from scbig.model.strand._state import State, from_plain, to_plain
from scbig.train import History, read_model, seeded, write_model


class SaveMixin(LocusMixin, SetupMixin):
    """Saved folders, see :func:`scbig.train.write_model`."""

    comparison_: FloorComparison | None
    history_: History | None
    registry_: dict

    def _set_state(self, state: State) -> None:
        self._blueprint, self.module = state.blueprint, state.module
        self._confidence = state.confidence
        self._model_summary_string = state.blueprint.describe()

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Save the model to a folder: arrays as safetensors, all else as JSON.

        What was read of all loci is saved too, so that they can be predicted without the genome
        or the encoder.

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
        values, arrays = to_plain(State(self._blueprint, self.module, self._confidence))
        values |= {
            "seed": self._seed,
            "n_steps": self._n_steps,
            "is_trained": self.is_trained_,
            "fingerprint": self._fingerprint,
            "registry": self.registry_,
            "comparison": None if self.comparison_ is None else asdict(self.comparison_),
            "history": {k: v.iloc[:, 0].to_dict() for k, v in (self.history_ or {}).items()},
        }
        write_model(dir_path, type(self).__name__, values, arrays, overwrite=overwrite)

    @classmethod
    def load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | None = None,
        *,
        latent: CellLatent | None = None,
    ) -> Self:
        """Load a model that :meth:`save` wrote; nothing is unpickled.

        Parameters
        ----------
        dir_path
            The folder.
        adata
            Screen to go on with, set up with the same keys; genes are matched by name. Not
            needed to predict.
        latent
            A latent space of the class and sizes that the model was made with, where it was not
            made of principal components; its weights are read from the folder.

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
        model._seed, model._n_steps = values["seed"], values["n_steps"]
        model._encoder, model._fingerprint = None, values["fingerprint"]
        model.history_ = {
            name: pd.DataFrame({name: epochs.values()}, index=list(map(int, epochs)))
            .rename_axis("epoch")
            .astype(object)
            for name, epochs in values["history"].items()
        }
        comparison = values["comparison"]
        model.comparison_ = None if comparison is None else FloorComparison(**comparison)
        model.init_params_ = {}
        # A module draws its first weights, which must not move the user's random state.
        with seeded(model._seed):
            model._set_state(from_plain(values, arrays, latent))
        model.is_trained_ = values["is_trained"]
        if adata is not None:
            model._attach_adata(adata, model._schema, is_log1p=model._is_log1p)
        return model
