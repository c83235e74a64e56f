"""STRAND: predict perturbed cells from the DNA of the perturbed place."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig._arguments import refuse_ignored
from scbig._scvi_arguments import takes_scvi_arguments
from scbig._types import Arrays, Values
from scbig.data import (
    Effects,
    Guides,
    Perturbations,
    Targets,
    find_locus_labels,
    read_folder,
    take_labels,
)
from scbig.model.strand._config import PRESETS, STRANDConfig
from scbig.model.strand._method import Fasta, LocusBridge
from scbig.nn import CellLatent, seeded
from scbig.predictor import BasePredictor, Hardware, Vocabulary, choose_preset
from scbig.priors import DNAEncoder, Loci, LocusSource


class STRAND(BasePredictor):
    """Perturbation responses from the DNA around the perturbed places.

    After arXiv 2602.10156: a perturbation is a place in the genome, so that two start sites of
    a gene have different predictions and places that were never perturbed can be asked for. An
    encoder reads the DNA of a place, and mean effects are regressed on what it reads; a
    diffusion bridge, anchored on this regression, carries control cells to perturbed ones. The
    labels of the screen are locus ids, guides or genes.

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
    preset
        ``"default"``, or a :class:`~scbig.model.STRANDConfig` with the switches of ablations.
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
    perturbs_genes = False
    _method: LocusBridge

    @checked
    def __init__(
        self,
        adata: AnnData,
        *,
        loci: Loci,
        fasta: Fasta | None = None,
        encoder: DNAEncoder | None = None,
        cache_dir: str | PathLike[str] | None = None,
        latent: CellLatent | None = None,
        preset: str | STRANDConfig = "default",
        missing_locus: Literal["error", "unknown"] = "error",
        seed: int | None = None,
    ) -> None:
        super().__init__(adata, seed=seed)
        config = choose_preset(preset, PRESETS, STRANDConfig)
        genes = tuple(dict.fromkeys(locus.gene or locus.id for locus in loci))
        fingerprint = None if encoder is None else encoder.fingerprint
        settings = config.window, config.sequence, config.target, genes
        source = LocusSource(*settings, encoder, fingerprint, cache_dir)
        table = source.read(loci, fasta)
        vocabulary, is_strict = self.read_screen()[0], missing_locus == "error"
        if is_strict:
            table.loci.match(vocabulary.targets)
        with seeded(self._seed):
            method = LocusBridge(vocabulary, config, source, table, latent, is_strict=is_strict)
        self.start(vocabulary, method, locals())

    @classmethod
    @checked
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        locus_key: str | None = None,
        layer: str | None = None,
        perturbation_key: str | None = None,
        control: str | Sequence[str] | None = None,
        context_keys: Sequence[str] = (),
        separator: str | None = None,
        gene_key: str | None = None,
        is_log1p: bool = False,
        counts_layer: str | None = None,
        target_sum: float | None = None,
        responder_key: str | None = None,
        borrow_controls: str | Mapping[str, Any] | None = None,
        guide_to_gene: Guides | None = None,
    ) -> None:
        """Register a screen as for all models; the labels are loci.

        Parameters
        ----------
        adata
            Log1p-normalised expression of single cells with labels of loci.
        locus_key, perturbation_key
            Column of ``obs`` with locus ids, guides or genes; ``"locus"`` if there is one.
        layer, control, context_keys, gene_key, is_log1p
            See :meth:`scbig.model.SCBIG.setup_anndata`.
        counts_layer, target_sum, responder_key, borrow_controls
            See the same.
        guide_to_gene
            Locus, or label of controls, of each guide, as there.
        separator
            What stands between the loci of a label; recognised by default. Guides as
            ``GENE_+_95907328.23-P1P2``, whose ``+`` is a strand, have none.

        Raises
        ------
        ValueError
            When labels or expression cannot be read, or two columns are named.
        """
        key, separator = find_locus_labels(
            adata, locus_key=locus_key, perturbation_key=perturbation_key, separator=separator
        )
        super().setup_anndata(
            adata,
            layer=layer,
            perturbation_key=key,
            control=control,
            context_keys=context_keys,
            separator=separator,
            gene_key=gene_key,
            is_log1p=is_log1p,
            counts_layer=counts_layer,
            target_sum=target_sum,
            responder_key=responder_key,
            borrow_controls=borrow_controls,
            guide_to_gene=guide_to_gene,
        )

    @takes_scvi_arguments
    @checked
    def train(
        self,
        *,
        max_locus_steps: int | None = None,
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

        Two stages: the encoder of loci with a regression on the mean effects of conditions, then
        the bridge on pairs of control and perturbed cells. The first stops when held-out loci
        are predicted no better, the second when the bridges of their cells are. An anchored
        bridge is kept only if it betters the regression on the held-out loci by more than chance
        (Pearson delta, one-sided paired t-test, p < 0.05) without a larger squared error;
        otherwise the regression predicts alone, which is logged. A model that was trained before
        keeps its latent space; new contexts are added.

        At the end the model is compared with the floors on the held-out loci; see
        ``comparison_``. They chose when training stopped, which flatters the model.

        Parameters
        ----------
        max_locus_steps
            Largest number of steps of the first stage; by default that of the settings.
        max_steps
            Largest number of steps of the bridge; by default that of the settings, or none where
            no condition is held out and the bridge is anchored, as an unchecked one can do harm.
        validation
            Conditions to stop on; by default a tenth of the genes, each with all of its loci and
            whatever overlaps them, or none of fewer than ten. An empty list holds none out.
        use_refit
            For the protocol of all models: STRAND has no closed form to fit once more.
        accelerator, devices, use_progress_bar, early_stopping, check_val_every_n_epoch
            See :meth:`scbig.model.SCBIG.train`.

        Raises
        ------
        ValueError
            Without data, or where a perturbation has no locus, or one to stop on no cells.
        """
        if self._method.config.transport == "regression":
            max_steps = 0  # at most so many: there is no bridge to train
        elif max_steps is None and self.uses_networks:
            # A bridge that predicts has to follow the vectors of loci, which are trained again.
            max_steps = self._method.n_steps
        self._train(
            validation,
            use_refit=use_refit,
            first_budget=max_locus_steps,
            max_steps=max_steps,
            hardware=Hardware(
                accelerator, devices, use_progress_bar, early_stopping, check_val_every_n_epoch
            ),
        )

    def _choose_validation(self, conditions: Sequence[Targets]) -> Sequence[Targets]:
        return self._method.choose_validation(conditions, np.random.default_rng(self._seed))

    def _check_known(self, targets: Collection[str]) -> None:
        self._method.table.check(targets, is_strict=self._method.is_strict)

    _check_trainable = _check_known

    @checked
    def predict(
        self,
        adata: AnnData | Perturbations | None = None,
        *,
        perturbations: Perturbations | None = None,
        key_added: str | None = None,
        n_cells: int | None = None,
        contexts: Perturbations | None = None,
        sampling: bool = True,
        n_draws: int | None = None,
        seed: int | None = None,
        borrow_controls: str | Mapping[str, Any] | None = None,
        overwrite: bool = False,
        loci: Loci | None = None,
        fasta: Fasta | None = None,
    ) -> AnnData:
        """Predict perturbed expression and write it into a layer, as for all models.

        Loci that the model was not made with can be given; it knows them from then on.

        Parameters
        ----------
        adata, key_added, n_cells, contexts, sampling, n_draws, seed, overwrite, borrow_controls
            See :meth:`scbig.model.SCBIG.predict`.
        perturbations
            Locus ids, guides, genes (all loci of one at once), places such as
            ``"chr8:127735434"`` (1-based), or several joined by the separator.
        loci
            New loci.
        fasta
            Genome of new loci and places.
        """
        adata, perturbations = take_labels(adata, perturbations)
        self._read_loci([] if perturbations is None else perturbations, loci, fasta)
        return super().predict(
            adata,
            perturbations=perturbations,
            key_added=key_added,
            n_cells=n_cells,
            contexts=contexts,
            sampling=sampling,
            n_draws=n_draws,
            seed=seed,
            borrow_controls=borrow_controls,
            overwrite=overwrite,
        )

    @checked
    def predict_effects(
        self,
        perturbations: Perturbations,
        *,
        contexts: Perturbations | None = None,
        loci: Loci | None = None,
        fasta: Fasta | None = None,
    ) -> AnnData:
        """Predict the effects of conditions as a table, as for all models.

        Parameters
        ----------
        perturbations, contexts, loci, fasta
            See :meth:`predict`.
        """
        self._read_loci(perturbations, loci, fasta)
        return super().predict_effects(perturbations, contexts=contexts)

    def _read_loci(self, asked: Perturbations, loci: Loci | None, fasta: Fasta | None) -> None:
        """Read new loci, and the places that are asked for."""
        if loci is not None:
            self.add_loci(loci, fasta=fasta)
        elif isinstance(asked, list) and not asked:
            refuse_ignored("it is of loci=... or perturbations=[...]: name some.", fasta=fasta)
        if fasta is not None:
            self._method.add_places(self._vocabulary.schema.read_labels(asked).values(), fasta)

    @checked
    def add_loci(
        self, loci: Loci, *, fasta: Fasta | None = None, encoder: DNAEncoder | None = None
    ) -> None:
        """Read further loci, which can then be predicted and travel with the model.

        Parameters
        ----------
        loci
            The loci, of the model's assembly; those that it knows are left as they are.
        fasta
            Their genome.
        encoder
            The encoder of a model that was loaded; the built-in one is part of the model. A table
            may hold other loci than before.

        Raises
        ------
        ValueError
            When there is nothing to read of a locus, or it was made with another encoder.
        """
        self._method.add_loci(loci, fasta, encoder)

    @checked
    def get_locus_embedding(self, ids: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the vectors of loci.

        Parameters
        ----------
        ids
            Locus ids, guides or genes; by default all loci. A gene with several loci has the
            vector of the set.

        Returns
        -------
        Loci by features, as they are before any context changes them.
        """
        self._check_trained()
        loci = self._method.table.loci
        wanted = list(loci.ids) if ids is None else [ids] if isinstance(ids, str) else list(ids)
        loci.match(wanted)
        vectors = self._method.embed([(label,) for label in wanted], np.full(len(wanted), -1))
        return pd.DataFrame(vectors.numpy(), index=pd.Index(wanted, name="locus"))

    @checked
    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None
    ) -> np.ndarray:
        """Encode cells into latents, shape ``(n_cells, n_latent)``.

        Parameters
        ----------
        adata, layer
            See :meth:`scbig.model.SCBIG.get_latent_representation`.
        """
        self._check_trained()
        expression = self._vocabulary.read(self._get_adata(adata), layer)
        return self._method.module.compute_latents(expression)

    @classmethod
    @checked
    def load(
        cls,
        dir_path: str | PathLike[str],
        adata: AnnData | None = None,
        *,
        latent: CellLatent | None = None,
    ) -> Self:
        """Load what :meth:`save` wrote; loci are known again without genome or encoder.

        Parameters
        ----------
        dir_path, adata
            See :meth:`scbig.model.SCBIG.load`.
        latent
            A latent space of the class and sizes that the model was made with, where it was not
            made of principal components; its weights are read from the folder.
        """
        values, arrays = read_folder(dir_path, cls.__name__)
        return cls._restore(values, arrays, adata, partial(LocusBridge.from_plain, latent=latent))

    @classmethod
    def load_method(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> LocusBridge:
        return LocusBridge.from_plain(vocabulary, effects, values, arrays, None)
