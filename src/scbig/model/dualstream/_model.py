"""DualStreamMamba: multi-gene perturbations by state-space models, at linear cost."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from scbig._annotations import checked
from scbig._scvi_arguments import takes_scvi_arguments
from scbig._types import Arrays, Values
from scbig.data import Effects, Perturbations
from scbig.model.dualstream._config import PRESETS, DualStreamConfig
from scbig.model.dualstream._method import AnchoredStreams
from scbig.model.dualstream._module import GeneRecord, compute_occlusion, compute_scan_influence
from scbig.nn import seeded
from scbig.predictor import BasePredictor, Hardware, Vocabulary, choose_preset
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph
from scbig.programs import choose_gene_order

logger = logging.getLogger(__name__)

_INFLUENCES = {"occlusion": compute_occlusion, "kernel": compute_scan_influence}


class DualStreamMamba(BasePredictor):
    """Responses to perturbations of one gene or several, from two streams of gene tokens.

    After Li, Ji, Li and Liu (2025, doi:10.12677/biphy.2025.131001), of which the abstract alone
    was at hand: the rest is our own, and no numbers agree with theirs. Genes stand in one fixed
    order. A biological stream of Mamba blocks reads their embeddings, the control cell and the
    perturbation; a statistical stream is a variational autoencoder of the control cell, whose
    latent becomes tokens of a second stack of blocks; a gate joins the two. The cost grows
    linearly with the number of genes. By default the model is anchored on a regression of the
    effects on the perturbed targets, and learns what the regression misses.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    preset
        ``"default"``, or a :class:`~scbig.model.DualStreamConfig`.
    gene_embedding
        Embedding of genes; co-expression stands beside it in any case.
    gene_graph
        Interactions of genes, whose spectral order the genes are read in; by default that of
        co-expression.
    perturbation_embedding
        Embedding of perturbation targets and genes in place of ``gene_embedding``.
    gene_order
        Names of all genes in the order to read them, in place of the spectral one.
    position_keys
        Columns of ``var`` with chromosome and position, to read genes in the order of the
        genome.
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
    >>> scbig.model.DualStreamMamba.setup_anndata(adata)
    >>> model = scbig.model.DualStreamMamba(adata)
    >>> model.train()
    >>> predicted = model.predict(perturbations=["GENE0001"])
    """

    default_key = "dualstream"
    _method: AnchoredStreams

    @checked
    def __init__(
        self,
        adata: AnnData,
        *,
        preset: str | DualStreamConfig = "default",
        gene_embedding: GeneEmbedding | None = None,
        gene_graph: GeneGraph | None = None,
        perturbation_embedding: GeneEmbedding | None = None,
        gene_order: Sequence[str] | None = None,
        position_keys: tuple[str, str] | None = None,
        missing_embedding: Literal["error", "mean"] = "error",
        aliases: GeneAliases | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(adata, missing_embedding=missing_embedding, seed=seed)
        config = choose_preset(preset, PRESETS, DualStreamConfig)
        vocabulary, cells = self.read_screen()
        genes = vocabulary.genes
        tables = perturbation_embedding, gene_embedding
        vocabulary, coexpression = vocabulary.add_embeddings(cells, tables, aliases, self._seed)
        order, source = choose_gene_order(
            genes, adata.var, coexpression, gene_order, position_keys, gene_graph, aliases
        )
        logger.info("Gene order: %s", source)
        vectors = np.stack([vocabulary.embeddings.get_vector(gene) for gene in genes])
        record = GeneRecord.make(order, vectors, vocabulary.controls.X)
        with seeded(self._seed):
            method = AnchoredStreams(vocabulary, config, record, source)
        self.start(vocabulary, method, locals())

    @property
    def gene_order(self) -> tuple[str, ...]:
        """Genes in the order in which the networks read them."""
        genes = self._vocabulary.genes
        return tuple(genes[i] for i in self.module.patches.order.tolist())

    @takes_scvi_arguments
    @checked
    def train(
        self,
        *,
        max_steps: int | None = None,
        validation: Perturbations | None = None,
        use_refit: bool = True,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        use_progress_bar: bool = True,
        early_stopping: bool = True,
        check_val_every_n_epoch: int | None = None,
    ) -> None:
        """Train the model, or continue to train it.

        The regression is fitted first. The networks then learn what it misses of means on
        training conditions that it was not shown, and stop when held-out *conditions* are
        predicted no better. They are kept only if they better the regression there by more than
        chance (Pearson delta, one-sided paired t-test, p < 0.05) without a larger squared error,
        or in any case with ``use_gate=False``; else the regression predicts alone, which is
        logged. Without an anchor (``use_anchor=False``) the networks always predict.

        What the cells of a condition differ by is learned after that, from its cells: control
        cells are moved until their cloud, whatever its mean, is like that of the perturbed ones.
        It stops on the shape of cells that were set apart, is judged apart from the means, and
        leaves these as they are (``uses_shape``), as in :meth:`scbig.model.SCBIG.train`.

        A model that was trained before goes on from its present weights; its effects are joined
        with those of the present screen, and new targets and contexts are added.

        At the end the model, as it is before the refit, is compared with the baselines on the
        held-out conditions, as in :meth:`scbig.model.SCBIG.train`; see ``comparison_``.

        Parameters
        ----------
        max_steps
            Largest number of steps of the networks, for means and then for shapes; by default
            that of the settings, or none where no condition is held out and the model has an
            anchor.
        validation
            Conditions to stop on; by default a tenth of the conditions, or none of fewer
            than ten. An empty list holds none out.
        use_refit
            Fit the anchor once more, on held-out conditions too, when all choices are made.
        accelerator, devices, use_progress_bar, early_stopping, check_val_every_n_epoch
            See :meth:`scbig.model.SCBIG.train`.

        Raises
        ------
        ValueError
            When the model has no data, or a condition to stop on has no cells.
        """
        hardware = Hardware(
            accelerator, devices, use_progress_bar, early_stopping, check_val_every_n_epoch
        )
        self._train(validation, use_refit=use_refit, max_steps=max_steps, hardware=hardware)

    @classmethod
    def load_method(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> AnchoredStreams:
        return AnchoredStreams.from_plain(vocabulary, effects, values, arrays)

    @checked
    def get_gene_influence(
        self,
        perturbation: str | Sequence[str],
        *,
        method: Literal["occlusion", "kernel"] = "occlusion",
        genes: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Tell which genes the networks read where, on the mean control cell.

        ``"occlusion"`` takes the token of each gene out of the biological stream, together with
        the message that a perturbed gene of it sends to the others, and measures by how much the
        predicted effect of every gene changes, in log1p units. ``"kernel"`` is the scan of the
        biological stream, written as a matrix: the absolute weight with which each position
        reads each other, averaged over heads and blocks and added up over the two directions.
        It is a property of the network and falls with the distance in the gene order; on
        simulated screens it says nothing of regulation, which occlusion does. Genes that share
        a token have their source column in common. Neither proves that a gene regulates another.

        Parameters
        ----------
        perturbation
            A label such as ``"A+B"``, or a sequence of targets.
        method
            ``"occlusion"`` or ``"kernel"``.
        genes
            Genes of the table; all by default, which takes memory for their number squared.

        Returns
        -------
        Influence of each gene (columns) on each gene (rows).

        Raises
        ------
        RuntimeError
            When the model has not been trained.
        ValueError
            When the method or a gene is unknown, or nothing is known of a target.
        """
        effects = self._check_trained()
        if method not in _INFLUENCES:
            raise ValueError(f"method={method!r} is unknown. Choose one of {list(_INFLUENCES)}.")
        known = {gene: i for i, gene in enumerate(self._vocabulary.genes)}
        names = list(known if genes is None else genes)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"{len(unknown)} genes are not among the {len(known)} of the model: "
                f"{unknown[:5]}. Choose among {list(known)[:5]} ..."
            )
        rows = torch.tensor([known[name] for name in names], dtype=torch.long)
        [wanted] = self._vocabulary.schema.read_labels([perturbation]).values()
        targets, context = self._vocabulary.resolve(wanted), np.zeros(1, dtype=np.int64)
        self._check_known(targets)
        device = self.module.device
        condition = self._method.make_condition([targets], context).to(device)
        cell = torch.from_numpy(effects.get_control(context).astype(np.float32)).to(device)
        self.module.eval()
        influence = _INFLUENCES[method](self.module, cell, condition, rows.to(device))
        return pd.DataFrame(influence, index=names, columns=names)
