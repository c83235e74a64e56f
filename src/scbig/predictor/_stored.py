"""What a predictor remembers, and how it is saved and loaded."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from os import PathLike
from typing import Any, ClassVar, Literal, Self

import numpy as np
from anndata import AnnData
from scvi.model.base import BaseModelClass

from scbig._types import Arrays, Values
from scbig.data import Effects, effects_from_plain, effects_to_plain
from scbig.predictor._folder import (
    add_prefix,
    history_from_plain,
    history_to_plain,
    read_folder,
    take_prefix,
    write_folder,
)
from scbig.predictor._judge import FloorComparison
from scbig.predictor._method import Method
from scbig.predictor._setup import RegisteredModel
from scbig.predictor._stage import get_default_seed, seeded
from scbig.predictor._vocabulary import ScreenCells, Vocabulary, read_vocabulary

MethodLoader = Callable[[Vocabulary, Effects | None, Values, Arrays], Method]


class StoredPredictor(RegisteredModel):
    """A vocabulary, a method, and the effects that it was fitted on; written to a folder whole.

    The parameters are those of :class:`~scbig.predictor.BasePredictor`.
    """

    #: Name of the layer that is written.
    default_key: ClassVar[str]

    comparison_: FloorComparison | None
    _vocabulary: Vocabulary
    _method: Method
    _effects: Effects | None

    def __init__(
        self,
        adata: AnnData,
        *,
        missing_embedding: Literal["error", "mean"] = "error",
        seed: int | None = None,
    ) -> None:
        super().__init__(adata)
        if missing_embedding not in ("error", "mean"):
            raise ValueError(
                f"missing_embedding={missing_embedding!r} is unknown. Choose 'error' or 'mean'."
            )
        self._missing_embedding = missing_embedding
        self._seed = get_default_seed() if seed is None else int(seed)

    def _read_screen(self) -> tuple[Vocabulary, ScreenCells]:
        """Read the registered screen, for the constructor of a subclass."""
        schema, is_log1p = self._read_registered_schema()
        rng = np.random.default_rng(self._seed)
        return read_vocabulary(self.adata, schema, rng, is_log1p=is_log1p)

    def _start(self, vocabulary: Vocabulary, method: Method, init_params: dict[str, Any]) -> None:
        """Begin untrained.

        Parameters
        ----------
        vocabulary
            What is known of the screen.
        method
            What the model brings of its own.
        init_params
            ``locals()`` of the constructor, as scvi-tools wants to know them.
        """
        self._set_state(vocabulary, method, effects=None, uses_networks=not method.is_anchored)
        self._n_steps = 0
        self.comparison_ = None
        self._record_init_params(init_params)

    def _set_state(
        self,
        vocabulary: Vocabulary,
        method: Method,
        *,
        effects: Effects | None,
        uses_networks: bool,
    ) -> None:
        self._vocabulary, self._method, self._effects = vocabulary, method, effects
        self.module = method.module
        self.is_trained_ = effects is not None
        self._uses_networks = uses_networks
        self._model_summary_string = self._describe()

    @property
    def uses_networks(self) -> bool:
        """Whether networks predict; otherwise expected effects do alone."""
        return self._uses_networks

    def _describe(self) -> str:
        vocabulary = self._vocabulary
        parts = [
            f"{type(self).__name__} of {len(vocabulary.genes)} genes, "
            f"{len(vocabulary.targets)} targets, contexts: {', '.join(vocabulary.contexts)}.",
            self._method.describe(),
        ]
        if vocabulary.embeddings.tables:
            parts.append(f"Target embeddings: {vocabulary.embeddings.describe()}.")
        return " ".join(filter(None, parts))

    def _check_trained(self) -> Effects:
        """Return the effects that the model was fitted on.

        Raises
        ------
        RuntimeError
            When it has not been trained.
        """
        if self._effects is None:
            name = type(self).__name__
            raise RuntimeError(f"{name} has not been trained. Run train() first.")
        return self._effects

    def _get_adata(self, adata: AnnData | None) -> AnnData:
        """Return the given data or the training data."""
        adata = self.adata if adata is None else adata
        if adata is None:
            raise ValueError(
                "The model was loaded without data. Give some: predict(adata), name "
                "perturbations: predict(perturbations=[...]), or load it with the screen to "
                f"train on: {type(self).__name__}.load(path, adata)."
            )
        return adata

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
            "n_steps": self._n_steps,
            "registry": self.registry_,
            "comparison": None if self.comparison_ is None else asdict(self.comparison_),
            "history": history_to_plain(self.history_),
            "vocabulary": vocabulary,
            "method": method,
            "effects": None,
        }
        if self._effects is not None:
            values["effects"], effect_arrays = effects_to_plain(self._effects)
            arrays |= effect_arrays
        write_folder(dir_path, type(self).__name__, values, arrays, overwrite=overwrite)

    @classmethod
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
        return cls._restore(values, arrays, adata, cls._load_method)

    @classmethod
    def _restore(
        cls, values: Values, arrays: Arrays, adata: AnnData | None, load_method: MethodLoader
    ) -> Self:
        vocabulary = Vocabulary.from_plain(values["vocabulary"], arrays)
        effects = values["effects"]
        effects = None if effects is None else effects_from_plain(effects, arrays)
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
        model._set_state(
            vocabulary, method, effects=effects, uses_networks=values["uses_networks"]
        )
        model.history_ = history_from_plain(values["history"])
        model.init_params_ = {}
        if adata is not None:
            model._attach_adata(adata, vocabulary.schema, is_log1p=vocabulary.is_log1p)
        return model

    @classmethod
    @abstractmethod
    def _load_method(
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
