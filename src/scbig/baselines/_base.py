"""What all baselines share: the verbs of the models, around a rule for mean effects."""

from os import PathLike
from typing import Self

import numpy as np
from anndata import AnnData

from scbig.baselines._setup import SetupMixin, read_setup
from scbig.baselines._state import State, from_plain, to_plain
from scbig.baselines._training import TrainMixin
from scbig.data import Expression, get_gene_names, get_matrix, make_controls, make_screen
from scbig.train import get_default_seed, read_model, write_model


class Baseline(TrainMixin, SetupMixin):
    """Predicts the mean effect of each condition and carries control cells along it.

    A baseline sets ``default_key`` and makes a rule from the mean effects of the training
    conditions (``_make_rule``); one that is tuned also chooses how conditions are compared
    (``_choose_kernel``). Both are pure, so that the rules can be used without cells.

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
        state = State(
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
        self._set_state(state)

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
        baseline._set_state(from_plain(values, arrays))
        return baseline
