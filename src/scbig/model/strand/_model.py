"""STRAND: predict perturbed cells from the DNA of the perturbed place."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal

from anndata import AnnData
from scvi.model.base import BaseModelClass

from scbig._constants import REGISTRY
from scbig.data import ScreenSchema
from scbig.model.base import CellLatent
from scbig.model.strand._build import make_blueprint, make_latent
from scbig.model.strand._config import STRANDConfig
from scbig.model.strand._reading import PlaceReader
from scbig.model.strand._setup import choose_key, choose_separator
from scbig.model.strand._state import State
from scbig.model.strand._training import TrainMixin
from scbig.priors import DNAEncoder, Genome, Loci
from scbig.train import get_default_seed, seeded


class STRAND(TrainMixin, BaseModelClass):
    """Perturbation responses from the DNA around the perturbed places.

    After arXiv 2602.10156: a perturbation is a place in the genome, so that two start sites of
    a gene have different predictions and places that were never perturbed can be asked for. An
    encoder reads the DNA of a place; a diffusion bridge, anchored on a regression, carries
    control cells to perturbed ones. The labels of the screen are locus ids, guides or genes.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    loci
        The places, measured or not; see :func:`scbig.priors.load_loci`.
    fasta
        Their genome, or its path. An encoder that knows loci by their ids needs none.
    encoder
        Frozen encoder of DNA, such as :class:`~scbig.priors.TableEncoder` or
        :class:`~scbig.priors.HuggingFaceEncoder`; by default a built-in one is trained.
    cache_dir
        Folder that keeps what the encoder returned.
    latent
        Trained latent space of cells; by default principal components. See the user guide.
    config
        Settings, the switches of ablations among them.
    missing_locus
        What to do about a target that has no locus: raise an ``"error"``, or take it for one
        ``"unknown"`` place.
    seed
        Seed of everything random; by default ``scvi.settings.seed``, or else 0.

    Examples
    --------
    >>> adata, loci, fasta = scbig.data.simulate_locus_screen("simulated")  # doctest: +SKIP
    >>> scbig.model.STRAND.setup_anndata(adata, locus_key="locus")  # doctest: +SKIP
    >>> model = scbig.model.STRAND(adata, loci=loci, fasta=fasta)  # doctest: +SKIP
    >>> model.train()  # doctest: +SKIP
    >>> predicted = model.predict(perturbations=["TARGET001-P1"])  # doctest: +SKIP
    """

    default_key = "strand"

    def __init__(
        self,
        adata: AnnData,
        *,
        loci: Loci,
        fasta: str | PathLike[str] | Genome | None = None,
        encoder: DNAEncoder | None = None,
        cache_dir: str | PathLike[str] | None = None,
        latent: CellLatent | None = None,
        config: STRANDConfig | None = None,
        missing_locus: Literal["error", "unknown"] = "error",
        seed: int | None = None,
    ) -> None:
        super().__init__(adata)
        if missing_locus not in ("error", "unknown"):
            raise ValueError(
                f"missing_locus={missing_locus!r} is unknown. Choose 'error' or 'unknown'."
            )
        self._seed = get_default_seed() if seed is None else int(seed)
        config = STRANDConfig() if config is None else config
        twins = tuple(dict.fromkeys(locus.gene or locus.id for locus in loci))
        reader = PlaceReader(config, encoder, cache_dir, twins)
        blueprint = make_blueprint(
            adata,
            self._registered_schema,
            reader,
            reader.read(loci, fasta),
            strict=missing_locus == "error",
        )
        self._encoder = encoder
        self._fingerprint = None if encoder is None else encoder.fingerprint
        with seeded(self._seed):
            space = make_latent(latent, len(blueprint.genes), config)
            self._set_state(State(blueprint, blueprint.make_module(space), None))
        self._n_steps = 0
        self.comparison_ = None
        self._record_init_params(locals())

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        locus_key: str | None = None,
        layer: str | None = None,
        perturbation_key: str | None = None,
        control: str | None = None,
        context_keys: Sequence[str] = (),
        separator: str | None = None,
        gene_key: str | None = None,
        is_log1p: bool = False,
    ) -> None:
        """Register a screen.

        As for all models (:meth:`scbig.model.SCBIG.setup_anndata`); the labels are loci.

        Parameters
        ----------
        adata
            Log1p-normalised expression of single cells with labels of loci.
        locus_key
            Column of ``obs`` with locus ids, guides or genes; ``"locus"`` if there is one.
        perturbation_key
            The same under the name that all models have for it; give one of the two.
        layer, control, context_keys, gene_key, is_log1p
            See :meth:`scbig.model.SCBIG.setup_anndata`.
        separator
            What stands between the loci of a label; recognised by default. Where guides are
            named as ``GENE_+_95907328.23-P1P2``, whose ``+`` is a strand, there is none.

        Raises
        ------
        ValueError
            When labels or expression cannot be read, or two columns are named.
        """
        key = choose_key(adata, locus_key, perturbation_key)
        super().setup_anndata(
            adata,
            layer=layer,
            perturbation_key=key,
            control=control,
            context_keys=context_keys,
            separator=choose_separator(adata, key, separator),
            gene_key=gene_key,
            is_log1p=is_log1p,
        )

    @property
    def _registered_schema(self) -> ScreenSchema:
        registry = self.adata_manager.get_state_registry(REGISTRY.PERTURBATION)
        return ScreenSchema.from_dict(dict(registry["schema"]))
