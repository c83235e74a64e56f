"""`save` and `load`, alike for all models of scbig."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from os import PathLike
from typing import Any, Self

import numpy as np
import pandas as pd
from anndata import AnnData
from scvi.model.base import BaseModelClass

from scbig.model.base._floors import FloorComparison
from scbig.model.base._outcome import OutcomeMixin
from scbig.model.base._setup import SetupMixin
from scbig.train import read_model, seeded, write_model


class SaveMixin(OutcomeMixin, SetupMixin):
    """Saved folders, see :func:`scbig.train.write_model`; a model says what is its own in them."""

    @abstractmethod
    def _to_plain(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Values for JSON, and arrays, of what this class of models has beside all others."""

    @abstractmethod
    def _restore(self, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`_to_plain` returned."""

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Save the model to a folder: arrays as safetensors, all else as JSON.

        What prediction needs travels with it: control cells, and what was read of prior knowledge.

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
        values, arrays = self._to_plain()
        values |= {
            "seed": self._seed,
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
        return cls._load(dir_path, adata, cls._restore)

    @classmethod
    def _load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | None,
        restore: Callable[[Self, dict[str, Any], dict[str, np.ndarray]], None],
    ) -> Self:
        values, arrays = read_model(dir_path, cls.__name__)
        model = cls.__new__(cls)
        BaseModelClass.__init__(model, registry=values["registry"])
        model._seed, model._n_steps = values["seed"], values["n_steps"]
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
            restore(model, values, arrays)
        if adata is not None:
            model._attach_adata(adata, model._schema, is_log1p=model._is_log1p)
        return model
