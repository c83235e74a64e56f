"""SCBIG: predict perturbed cells from control cells, by an anchored flow between programs."""

import logging
from typing import Literal

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from scbig._annotations import checked
from scbig._arguments import check_budget, refuse_ignored
from scbig._scvi_arguments import takes_scvi_arguments
from scbig._types import Arrays, Values
from scbig.data import Effects, Perturbations
from scbig.model.scbig._config import PRESETS, SCBIGConfig
from scbig.model.scbig._method import AnchoredFlow
from scbig.model.scbig._module import ProgramEncoder
from scbig.model.scbig._program_priors import GivenPriors, make_program_priors
from scbig.model.scbig._stages import compute_latents
from scbig.nn import seeded
from scbig.predictor import BasePredictor, Hardware, Vocabulary, choose_preset
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets
from scbig.programs import GenePrograms

logger = logging.getLogger(__name__)


class SCBIG(BasePredictor):
    """Perturbation responses from gene programs and conditional flow matching.

    After arXiv 2602.04901: genes are clustered into programs, cells are encoded program by
    program, and a flow carries the latents of control cells to those of perturbed cells. By
    default the flow is anchored on a regression of the effects on the perturbed targets, and
    learns what the regression misses; ``preset="paper"`` keeps the published recipe.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    preset
        ``"default"``, ``"paper"``, ``"paper-fast"`` (the same networks and losses in half an
        hour of one core), or a :class:`~scbig.model.SCBIGConfig`.
    programs
        Gene programs; by default those in ``adata.uns["scbig_programs"]``, or else made from
        the priors given, or else from the data.
    n_programs
        Number of programs where they are made: 32 by default, fewer for data of few genes.
    gene_embedding
        Embedding of genes for the programs and the encoder; co-expression by default.
    gene_graph
        Interactions of genes for the programs.
    gene_sets
        Pathways for the alignment of predicted and real cells.
    perturbation_embedding
        Embedding of perturbation targets; by default ``gene_embedding``. Co-expression serves
        beside it for targets that are measured genes.
    missing_embedding
        What to do when asked for a target that was not seen in training and has no embedding:
        raise an ``"error"``, or predict the ``"mean"`` effect of a target.
    aliases
        Other names of genes.
    seed
        Seed of everything random; by default ``scvi.settings.seed``, or else 0.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=200)
    >>> scbig.model.SCBIG.setup_anndata(adata)
    >>> model = scbig.model.SCBIG(adata)
    >>> model.train()
    >>> predicted = model.predict(perturbations=["GENE0001"])
    """

    default_key = "scbig"
    _method: AnchoredFlow

    @checked
    def __init__(
        self,
        adata: AnnData,
        *,
        preset: str | SCBIGConfig = "default",
        programs: GenePrograms | None = None,
        n_programs: int | None = None,
        gene_embedding: GeneEmbedding | None = None,
        gene_graph: GeneGraph | None = None,
        gene_sets: GeneSets | None = None,
        perturbation_embedding: GeneEmbedding | None = None,
        missing_embedding: Literal["error", "mean"] = "error",
        aliases: GeneAliases | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(adata, missing_embedding=missing_embedding, seed=seed)
        config = choose_preset(preset, PRESETS, SCBIGConfig)
        if config.needs_gene_sets and gene_sets is None:
            logger.warning(
                "No gene_sets are given: the pathway loss of arXiv 2602.04901 is left out. Give "
                "some, SCBIG(adata, gene_sets=scbig.priors.load_gene_sets(...))."
            )
        vocabulary, cells = self.read_screen()
        tables = perturbation_embedding, gene_embedding
        vocabulary, coexpression = vocabulary.add_embeddings(cells, tables, aliases, self._seed)
        given = GivenPriors(programs, n_programs, gene_embedding, gene_graph, gene_sets, aliases)
        with seeded(self._seed):
            priors = make_program_priors(
                adata, cells, vocabulary.genes, given, coexpression, self._seed
            )
            method = AnchoredFlow(vocabulary, config, priors, vocabulary.expected_expression)
        self.start(vocabulary, method, locals())

    @takes_scvi_arguments
    @checked
    def train(
        self,
        *,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        validation: Perturbations | None = None,
        use_refit: bool = True,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        use_progress_bar: bool = True,
        batch_size: int | None = None,
        early_stopping: bool = True,
        check_val_every_n_epoch: int | None = None,
    ) -> None:
        """Train the model, or continue to train it.

        The regression of effects is fitted first. Then come two stages of networks: the
        autoencoder on all training cells, and the flow on pairs of control and perturbed cells,
        which stops by itself when cells that are held out are matched no better. The flow is
        kept for means only if it betters the regression on held-out *conditions* by more than
        chance (Pearson delta, one-sided paired t-test, p < 0.05) without a larger squared error,
        and for how cells differ only if they get nearer to real ones; otherwise the regression
        predicts alone, which is logged. Unless a budget is named, a flow between principal
        components, which takes seconds, has to be kept first: where it is not, neither the
        autoencoder nor its flow is trained. A model that was trained
        before keeps its autoencoder; its effects are joined with those of the present screen, and
        new targets and contexts are added.

        At the end the model, as it is before the refit, is compared with the baselines of
        :data:`scbig.baselines.FLOORS`, trained on the same conditions, by Pearson delta on the
        held-out conditions. The result is logged in one line and kept in ``comparison_``, which
        is ``None`` when no conditions were held out. Both sides have made choices on these
        conditions (the model when to stop, the regressions their settings), so that the figures
        flatter both; for others, predict conditions that took no part.

        Parameters
        ----------
        max_epochs
            Largest number of epochs of the autoencoder over all cells; by default the preset's
            budget, or none with ``max_steps=0``: the next training then makes up for it.
        max_steps
            Largest number of steps of the flow; by default the preset's, or none where no
            condition is held out and the model has an anchor: an unchecked flow can do harm.
        validation
            Conditions to stop on; by default a tenth of the conditions, or none of fewer
            than ten. An empty list holds none out.
        use_refit
            Fit the anchor once more, on held-out conditions too, when all choices are made.
        accelerator, devices
            As scvi-tools takes them.
        use_progress_bar
            Show a progress bar and lines; otherwise nothing is shown.
        batch_size
            Cells of a batch of the autoencoder; by default the preset's.
        early_stopping
            Stop when what is held out is predicted no better; otherwise all steps are taken.
        check_val_every_n_epoch
            Epochs between two looks at what is held out.

        Raises
        ------
        ValueError
            When the model has no data, or a condition to stop on has no cells.
        """
        if check_budget("max_epochs", max_epochs) is None and max_steps == 0:
            max_epochs = 0  # no network has a use for it
        if max_epochs == 0:
            refuse_ignored("no autoencoder is trained.", batch_size=batch_size)
        self._train(
            validation,
            use_refit=use_refit,
            first_budget=max_epochs,
            max_steps=max_steps,
            hardware=Hardware(
                accelerator,
                devices,
                use_progress_bar,
                early_stopping,
                check_val_every_n_epoch,
                batch_size,
            ),
        )

    @classmethod
    def load_method(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> AnchoredFlow:
        return AnchoredFlow.from_plain(vocabulary, effects, values, arrays)

    @checked
    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None
    ) -> np.ndarray:
        """Encode cells.

        Parameters
        ----------
        adata
            Cells to encode; by default the training data.
        layer
            Layer to read, such as a predicted one; by default that of the training data.

        Returns
        -------
        Latents, shape ``(n_cells, n_latent)``; standardised, but for the published presets.

        Raises
        ------
        RuntimeError
            When the model, or its autoencoder, has not been trained.
        """
        self._check_encoding()
        return compute_latents(self.module, self._vocabulary.read(self._get_adata(adata), layer))

    def _check_encoding(self) -> None:
        self._check_trained()
        if not self._method.is_encoding:
            raise RuntimeError(
                "The autoencoder has not been trained: max_steps=0 leaves it out, and so does a "
                "trial in which a flow gains nothing. Train it: "
                "model.train(max_epochs=30, max_steps=0)"
            )

    @checked
    def get_program_activity(
        self, adata: AnnData | None = None, *, layer: str | None = None
    ) -> pd.DataFrame:
        """Average the expression of each gene program.

        Parameters
        ----------
        adata
            Cells; by default the training data.
        layer
            Layer to read, such as a predicted one; by default that of the training data.

        Returns
        -------
        Mean log1p expression, cells by programs.
        """
        adata = self._get_adata(adata)
        priors = self._method.priors
        chunks = [x @ priors.averaging.T for _, x in self._vocabulary.read(adata, layer).chunks()]
        return pd.DataFrame(
            np.vstack(chunks), index=adata.obs_names, columns=list(priors.programs.names)
        )

    @torch.no_grad()
    @checked
    def get_attention(
        self,
        adata: AnnData | None = None,
        *,
        groupby: str | None = None,
        layer: str | None = None,
    ) -> pd.DataFrame:
        """Attention that the encoder pays to each program, averaged over groups of cells.

        The share of attention of the inducing points, averaged over points, heads and blocks.
        How it differs between perturbed and control cells is what the analysis of
        arXiv 2602.04901 looks at.

        Parameters
        ----------
        adata
            Cells; by default the training data.
        groupby
            Column of ``obs``; by default the perturbation.
        layer
            Layer to read, such as a predicted one; by default that of the training data.

        Returns
        -------
        Attention, groups by programs; rows add up to one.

        Raises
        ------
        ValueError
            When ``groupby`` or ``layer`` is not there, or the encoder is principal components.
        """
        self._check_encoding()
        encoder = self.module.encoder
        if not isinstance(encoder, ProgramEncoder):
            raise ValueError(
                "Principal components pay no attention: this model was made with "
                "autoencoder='pca'. Take the gene-cluster-aware encoder: SCBIG(adata)."
            )
        adata = self._get_adata(adata)
        key = self._vocabulary.schema.perturbation_key if groupby is None else groupby
        if key not in adata.obs:
            raise ValueError(
                f"groupby={key!r} is not a column of obs. Columns found: {list(adata.obs)}."
            )
        names = list(self._method.priors.programs.names)
        module, chunks = self.module.eval(), []
        for _, x in self._vocabulary.read(adata, layer).chunks(512):
            cells = torch.from_numpy(np.ascontiguousarray(x)).to(module.device)
            maps = encoder.attend(cells - module.gene_mean)
            chunks.append(torch.stack([m.points_to_tokens.mean(1) for m in maps]).mean(0).cpu())
        table = pd.DataFrame(torch.cat(chunks).numpy(), columns=names)
        return table.groupby(adata.obs[key].astype(str).to_numpy()).mean()
