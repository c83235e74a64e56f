"""What all baselines share: the verbs of the models, around a rule for mean effects."""

from dataclasses import replace
from os import PathLike
from typing import Self

import numpy as np
from anndata import AnnData

from scbig.baselines._inference import InferenceMixin
from scbig.baselines._setup import SetupMixin, read_setup
from scbig.baselines._state import State, from_plain, to_plain
from scbig.data import (
    Effects,
    Expression,
    Perturbations,
    compute_effects,
    get_gene_names,
    get_matrix,
    make_controls,
    make_screen,
)
from scbig.train import get_default_seed, read_model, write_model


class Baseline(InferenceMixin, SetupMixin):
    """Predicts the mean effect of each condition and carries control cells along it.

    A baseline sets ``default_key`` and implements ``_predict_effect(targets, context)`` from
    ``self._effects``, the mean effects of the training conditions.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    seed
        Seed of the control cells drawn by :meth:`predict`; by default ``scvi.settings.seed``,
        or else 0.
    """

    def __init__(self, adata: AnnData, *, seed: int | None = None) -> None:
        schema, is_log1p = read_setup(adata, type(self).__name__)
        genes = tuple(map(str, get_gene_names(adata, schema.gene_key)))
        seed = get_default_seed() if seed is None else int(seed)
        screen = make_screen(adata.obs, schema)
        self._adata: AnnData | None = adata
        self._state = State(
            schema=schema,
            genes=genes,
            contexts=screen.contexts,
            is_log1p=is_log1p,
            seed=seed,
            controls=make_controls(
                Expression(get_matrix(adata, schema.layer)),
                screen,
                adata.obs[[schema.perturbation_key, *schema.context_keys]],
                genes,
                np.random.default_rng(seed),
            ),
        )

    def train(self, *, validation: Perturbations | None = None, use_refit: bool = True) -> None:
        """Compute the mean effect of every condition.

        Parameters
        ----------
        validation
            Conditions to choose settings on; by default, and where there is nothing to choose,
            none.
        use_refit
            Learn from the validation conditions too, once all is chosen.

        Raises
        ------
        ValueError
            When there are no data, a validation condition has no cells, or none is left.
        """
        adata = self._get_adata(None)
        screen = make_screen(adata.obs, self._schema, self._contexts)
        effects = compute_effects(Expression(get_matrix(adata, self._schema.layer)), screen)
        trained = self._leave_out(effects, validation or ())
        self._state = replace(self._state, effects=effects if use_refit else trained)

    def _leave_out(self, effects: Effects, validation: Perturbations) -> Effects:
        schema = self._schema
        labels = [v if isinstance(v, str) else schema.join(list(v)) for v in validation]
        held_out = {schema.parse(label): label for label in labels}
        if unknown := [held_out[t] for t in held_out if t not in effects.targets]:
            raise ValueError(
                f"{len(unknown)} validation condition(s) have no cells: {unknown[:5]}."
            )
        is_kept = np.array([group not in held_out for group in effects.targets], dtype=bool)
        if not is_kept.any():
            raise ValueError(
                f"{len(held_out)} of {len(set(effects.targets))} conditions are held out for "
                "validation; none is left to train on."
            )
        return effects.subset(is_kept)

    def save(self, dir_path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Save to a folder: arrays as safetensors, all else as JSON.

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
        values, arrays = to_plain(self._state)
        write_model(dir_path, type(self).__name__, values, arrays, overwrite=overwrite)

    @classmethod
    def load(cls, dir_path: str | PathLike[str], adata: AnnData | None = None) -> Self:
        """Load what :meth:`save` wrote; nothing is unpickled.

        Parameters
        ----------
        dir_path
            The folder.
        adata
            Screen with the same genes and conventions to annotate or to train on anew. Not
            needed to predict new cells.

        Returns
        -------
        The baseline.

        Raises
        ------
        FileNotFoundError, ValueError
            When there is no such baseline.
        """
        values, arrays = read_model(dir_path, cls.__name__)
        baseline = cls.__new__(cls)
        baseline._adata = adata
        baseline._state = from_plain(values, arrays)
        return baseline
