"""SCBIG: predict perturbed cells from control cells, by an anchored flow between programs."""

from typing import Literal

from anndata import AnnData
from scvi.model.base import BaseModelClass

from scbig._constants import REGISTRY
from scbig.data import ScreenSchema
from scbig.model.scbig._build import Builder, Priors
from scbig.model.scbig._config import SCBIGConfig, get_config
from scbig.model.scbig._io import StateMixin
from scbig.model.scbig._representation import RepresentationMixin
from scbig.model.scbig._training import TrainMixin
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets
from scbig.programs import GenePrograms
from scbig.train import get_default_seed, seeded


class SCBIG(TrainMixin, StateMixin, RepresentationMixin, BaseModelClass):
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
        ``"default"``, ``"paper"``, or a :class:`~scbig.model.SCBIGConfig`.
    programs
        Gene programs; by default those in ``adata.uns["scbig_programs"]``, or else made from
        the priors given, or else from the data.
    n_programs
        Number of programs where they are made; fewer for data of few genes.
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

    def __init__(
        self,
        adata: AnnData,
        *,
        preset: str | SCBIGConfig = "default",
        programs: GenePrograms | None = None,
        n_programs: int = 32,
        gene_embedding: GeneEmbedding | None = None,
        gene_graph: GeneGraph | None = None,
        gene_sets: GeneSets | None = None,
        perturbation_embedding: GeneEmbedding | None = None,
        missing_embedding: Literal["error", "mean"] = "error",
        aliases: GeneAliases | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(adata)
        config = get_config(preset)
        if missing_embedding not in ("error", "mean"):
            raise ValueError(
                f"missing_embedding={missing_embedding!r} is unknown. Choose 'error' or 'mean'."
            )
        self._seed = get_default_seed() if seed is None else int(seed)
        self._missing_embedding = missing_embedding
        priors = Priors(
            programs=programs,
            n_programs=n_programs,
            gene_embedding=gene_embedding,
            gene_graph=gene_graph,
            gene_sets=gene_sets,
            perturbation_embedding=perturbation_embedding,
            aliases=aliases,
        )
        with seeded(self._seed):
            state = Builder(adata, self._registered_schema, priors, self._seed).build(config)
        self._set_state(state)
        self._n_steps = 0
        self.comparison_ = None
        self._record_init_params(locals())

    @property
    def uses_networks(self) -> bool:
        """Whether the flow predicts; otherwise the regression does alone."""
        return not self.module.is_anchor_alone

    @property
    def _registered_schema(self) -> ScreenSchema:
        registry = self.adata_manager.get_state_registry(REGISTRY.PERTURBATION)
        return ScreenSchema.from_dict(dict(registry["schema"]))
