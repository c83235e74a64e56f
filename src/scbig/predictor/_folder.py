"""What a predictor remembers, how that is saved to a folder, and how it is put back."""

from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from os import PathLike
from typing import Any, Self

import pandas as pd
import rich
import torch
from anndata import AnnData
from scvi.data import AnnDataManager
from scvi.model.base import BaseModelClass

from scbig._annotations import checked
from scbig._constants import REGISTRY
from scbig._types import Arrays, Values
from scbig.cells import ScreenModel
from scbig.data import (
    Effects,
    PerturbationField,
    ScreenSchema,
    add_prefix,
    check_predictor,
    effects_from_plain,
    effects_to_plain,
    holds_counts,
    name_damage,
    read_folder,
    take_prefix,
    write_folder,
)
from scbig.nn import seeded
from scbig.predictor._judge import FloorComparison
from scbig.predictor._method import Method
from scbig.predictor._setup import RegisteredModel
from scbig.predictor._stage import History
from scbig.predictor._vocabulary import Vocabulary

MethodLoader = Callable[[Vocabulary, Effects | None, Values, Arrays], Method]


class StoredModel(RegisteredModel):
    """Remembers what was read and trained; saved as a folder, and loaded from it."""

    comparison_: FloorComparison | None
    history_: History | None
    _vocabulary: Vocabulary
    _method: Method
    _effects: Effects | None
    _cells: ScreenModel | None
    _seed: int
    _n_steps: int
    _missing_embedding: str
    _uses_networks: bool
    # Models that were pickled before it stood apart lack it.
    _uses_shape: bool = False

    def _set_state(
        self,
        vocabulary: Vocabulary,
        method: Method,
        effects: Effects | None,
        cells: ScreenModel | None,
        uses_networks: bool,
        uses_shape: bool = False,
    ) -> None:
        """Take what was read or trained."""
        self._vocabulary, self._method, self._effects = vocabulary, method, effects
        self._cells = cells
        self.module = method.module
        self.is_trained_ = effects is not None
        self._uses_networks, self._uses_shape = uses_networks, uses_shape
        own = vocabulary.describe(), method.describe()
        self._model_summary_string = f"{type(self).__name__} of {' '.join(filter(None, own))}"

    @property
    def adata(self) -> AnnData | None:
        """The screen to train on; a new one is registered under the model's conventions."""
        return self._adata

    @adata.setter
    def adata(self, adata: AnnData) -> None:
        self._attach_adata(adata, self._vocabulary)

    @property
    def uses_networks(self) -> bool:
        """Whether networks predict mean effects; otherwise expected effects do alone."""
        return self._uses_networks

    @property
    def uses_shape(self) -> bool:
        """Whether networks tell how the cells of a condition differ from their mean."""
        return self._uses_shape

    @property
    def controls(self) -> AnnData:
        """Control cells that travel with the model, log1p values in ``X``."""
        return self._vocabulary.controls

    @property
    def summary_string(self) -> str:
        """What the model knows, whether it is trained, and how it compares with the floors."""
        told = "" if self.comparison_ is None else f"\n{self.comparison_}"
        return f"{super().summary_string}{told}"

    def __repr__(self) -> str:
        # That of scvi-tools prints, and returns nothing; what looks like markup would be lost.
        return self.summary_string

    @property
    def device(self) -> torch.device:
        """Where the networks are; the CPU where there are none."""
        return torch.device("cpu") if self.module is None else self.module.device

    def to_device(self, device: str | int | torch.device) -> None:
        """Move the networks; expected effects are computed on the CPU.

        Parameters
        ----------
        device
            ``"cpu"``, ``"cuda:0"``, the number of a GPU, or a :class:`torch.device`.
        """
        wanted = torch.device(device)
        if self.module is not None:
            self.module.to(wanted)

    def view_anndata_setup(
        self, adata: AnnData | None = None, hide_state_registries: bool = False
    ) -> None:
        """Show how the screen was set up.

        Parameters
        ----------
        adata
            Data that were set up for the model; by default the training data, or what a model
            that was loaded without data remembers of them.
        hide_state_registries
            Leave out what was recognised of the labels.
        """
        if adata is not None or self.adata is not None:
            super().view_anndata_setup(adata, hide_state_registries)
            return
        AnnDataManager.view_setup_method_args(self.registry_)
        if not hide_state_registries:
            state = self.registry_["field_registries"][REGISTRY.PERTURBATION]["state_registry"]
            schema = ScreenSchema.from_dict(dict(state["schema"]))
            rich.print(PerturbationField(schema).view_state_registry(state))

    def _get_setup(self, key: str) -> Any:
        """Return what `setup_anndata` was given; ``None`` where an earlier version had no such."""
        return self.registry_["setup_args"].get(key)

    def _attach_adata(self, adata: AnnData, known: Vocabulary) -> None:
        """Register a screen with a loaded model, under the conventions it was trained with."""
        cls, schema, layer = type(self), known.schema, known.counts_layer
        responder_key = self._get_setup("responder_key")
        is_raw = not known.is_log1p and holds_counts(adata, schema.layer)
        cls.setup_anndata(
            adata,
            layer=schema.layer,
            perturbation_key=schema.perturbation_key,
            control=schema.controls,
            context_keys=schema.context_keys,
            separator=schema.separator or "",
            gene_key=schema.gene_key,
            guide_to_gene=schema.guides,
            is_log1p=known.is_log1p,
            counts_layer=layer if layer in adata.layers else None,
            target_sum=known.target_sum if is_raw else None,
            responder_key=responder_key if responder_key in adata.obs else None,
            borrow_controls=self._get_setup("borrow_controls"),
        )
        self._adata = adata
        self._adata_manager = cls._get_most_recent_anndata_manager(adata, required=True)
        self._register_manager_for_instance(self._adata_manager)
        self.registry_ = self._adata_manager.registry
        # Its own contexts may borrow control cells, too.
        state = self._adata_manager.get_state_registry(REGISTRY.PERTURBATION)
        found = ScreenSchema.from_dict(dict(state["schema"])).lenders
        lenders = tuple(dict([*schema.lenders, *found]).items())
        self._vocabulary = replace(known, schema=replace(schema, lenders=lenders))

    def _check_trained(self) -> Effects:
        """Return the effects that the model was fitted on, or raise."""
        if self._effects is None:
            raise RuntimeError(f"{type(self).__name__} has not been trained. Run train() first.")
        return self._effects

    def _check_known(self, targets: Collection[str]) -> None:
        """Raise when nothing is known of a target, unless the mean effect will do."""
        if self._missing_embedding == "mean":
            return
        seen = {target for group in self._check_trained().targets for target in group}
        self._vocabulary.check_known(targets, seen, type(self).__name__)

    def _get_adata(self, adata: AnnData | None) -> AnnData:
        """Return the given data or the training data."""
        if adata is None and self.adata is None:
            raise ValueError(
                "The model was loaded without data. Give some: predict(adata), name "
                "perturbations: predict(perturbations=[...]), or load it with the screen to "
                f"train on: {type(self).__name__}.load(path, adata)."
            )
        return self.adata if adata is None else adata

    @checked
    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Save to a folder: arrays as safetensors, all else as JSON.

        What prediction needs travels with it: control cells, and what was read of prior knowledge.

        Parameters
        ----------
        dir_path
            The folder.
        overwrite
            Replace what is there.

        Raises
        ------
        FileExistsError
            When the folder is not empty and ``overwrite`` is not set.
        """
        vocabulary, arrays = self._vocabulary.to_plain()
        method, method_arrays = self._method.to_plain()
        arrays |= add_prefix(method_arrays, "method")
        values = {
            "seed": self._seed,
            "missing_embedding": self._missing_embedding,
            "uses_networks": self._uses_networks,
            "uses_shape": self._uses_shape,
            "n_steps": self._n_steps,
            "registry": self.registry_,
            "comparison": None if self.comparison_ is None else asdict(self.comparison_),
            "history": history_to_plain(self.history_),
            "vocabulary": vocabulary,
            "method": method,
            "effects": None,
            "cells": None,
        }
        if self._effects is not None:
            values["effects"], effect_arrays = effects_to_plain(self._effects)
            arrays |= effect_arrays
        if self._cells is not None:
            values["cells"], cell_arrays = self._cells.to_plain()
            arrays |= add_prefix(cell_arrays, "cells")
        write_folder(dir_path, type(self).__name__, values, arrays, overwrite=overwrite)

    @classmethod
    @checked
    def load(cls, dir_path: str | PathLike[str], adata: AnnData | None = None) -> Self:
        """Load what :meth:`save` wrote; nothing is unpickled.

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
        values, arrays = read_folder(dir_path, cls.__name__)
        return cls._restore(values, arrays, adata, cls.load_method)

    @classmethod
    def _restore(
        cls, values: Values, arrays: Arrays, adata: AnnData | None, load_method: MethodLoader
    ) -> Self:
        with name_damage(values):
            model = cls._rebuild(values, arrays, load_method)
        if adata is not None:
            model._attach_adata(adata, model._vocabulary)
        return model

    @classmethod
    def _rebuild(cls, values: Values, arrays: Arrays, load_method: MethodLoader) -> Self:
        check_predictor(values, arrays)
        vocabulary = Vocabulary.from_plain(values["vocabulary"], arrays)
        effects = values["effects"]
        effects = None if effects is None else effects_from_plain(effects, arrays)
        cells = values.get("cells")
        if cells is not None:
            cells = ScreenModel.from_plain(cells, take_prefix(arrays, "cells"))
        model = cls.__new__(cls)
        BaseModelClass.__init__(model, registry=values["registry"])
        model._seed, model._n_steps = values["seed"], values["n_steps"]
        model._missing_embedding = values["missing_embedding"]
        comparison = values["comparison"]
        model.comparison_ = None if comparison is None else FloorComparison(**comparison)
        # Networks draw their first weights, which must not move the user's random state.
        with seeded(model._seed):
            method = load_method(
                vocabulary, effects, values["method"], take_prefix(arrays, "method")
            )
        used = values["uses_networks"], values.get("uses_shape", False)
        model._set_state(vocabulary, method, effects, cells, *used)
        model.history_ = history_from_plain(values["history"])
        model.init_params_ = {}
        return model

    @classmethod
    @abstractmethod
    def load_method(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> Method:
        """Rebuild the method from what it returned to be saved.

        Parameters
        ----------
        vocabulary
            Names that the model knows.
        effects
            Effects that it was fitted on; ``None`` before training.
        values, arrays
            What :meth:`~scbig.predictor.Method.to_plain` returned.
        """


def history_to_plain(history: History | None) -> Values:
    """Return logged values as JSON can hold them."""
    return {name: table.iloc[:, 0].to_dict() for name, table in (history or {}).items()}


def history_from_plain(values: Values) -> History:
    """Rebuild what :func:`history_to_plain` returned."""
    return {
        name: pd.DataFrame({name: epochs.values()}, index=list(map(int, epochs)))
        .rename_axis("epoch")
        .astype(object)
        for name, epochs in values.items()
    }
