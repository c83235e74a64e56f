"""Loci that a model learns of after it was made, and embeddings of all."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data import Perturbations
from scbig.model.strand._fit import compute_latents
from scbig.model.strand._inference import InferenceMixin, is_place
from scbig.model.strand._reading import PlaceReader
from scbig.model.strand._score import embed_all
from scbig.priors import DNAEncoder, Genome, Loci

Fasta = str | PathLike[str] | Genome


class LocusMixin(InferenceMixin):
    """Further loci, and representations of loci and cells."""

    _encoder: DNAEncoder | None
    _fingerprint: str | None

    def predict(
        self,
        adata: AnnData | None = None,
        *,
        perturbations: Perturbations | None = None,
        key_added: str | None = None,
        n_cells: int | None = None,
        n_samples: int = 1,
        seed: int | None = None,
        loci: Loci | None = None,
        fasta: Fasta | None = None,
    ) -> AnnData:
        """Predict perturbed expression and write it into a layer.

        As for all models (:meth:`scbig.model.SCBIG.predict`), with two arguments for loci that
        the model was not made with. It knows them from then on.

        Parameters
        ----------
        adata, key_added, n_cells, n_samples, seed
            See :meth:`scbig.model.SCBIG.predict`.
        perturbations
            Locus ids, guides, genes (all loci of one at once), places such as
            ``"chr8:127735434"`` (1-based), or several joined by the separator.
        loci
            New loci.
        fasta
            Genome of new loci and places.

        Returns
        -------
        The object that was written into.

        Raises
        ------
        RuntimeError
            When the model has not been trained.
        ValueError
            When a locus is unknown or has no DNA; the message names it.
        """
        if loci is not None:
            self.add_loci(loci, fasta=fasta)
        if fasta is not None and (places := self._find_new_places(perturbations)):
            assembly = self._blueprint.places.loci.assembly
            self.add_loci(Loci.from_text(places, assembly=assembly), fasta=fasta)
        return super().predict(
            adata,
            perturbations=perturbations,
            key_added=key_added,
            n_cells=n_cells,
            n_samples=n_samples,
            seed=seed,
        )

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
            The encoder that the model was made with, where it was loaded from a folder; the
            built-in one is part of the model. A table may hold other loci than before.

        Raises
        ------
        ValueError
            When there is nothing to read of a locus, or it was made with another encoder.
        """
        places = self._blueprint.places
        new = places.without_known(loci)
        if not new:
            return
        reader = PlaceReader(
            self._blueprint.config, self._get_encoder(encoder), None, self._blueprint.twins
        )
        added = reader.read(Loci(tuple(new), loci.assembly, loci.source), fasta)
        self._blueprint = replace(self._blueprint, places=places.join(added))

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

        Raises
        ------
        ValueError
            When a locus is unknown.
        """
        self._check_trained()
        wanted = list(self._blueprint.places.loci.ids) if ids is None else list(ids)
        self._blueprint.places.loci.match(wanted)
        # No context in particular.
        context = np.full(len(wanted), -1)
        condition = self._blueprint.make_condition([(label,) for label in wanted], context)
        vectors = embed_all(self.module, self._blueprint.given, condition)
        return pd.DataFrame(vectors.numpy(), index=pd.Index(wanted, name="locus"))

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
        Latents, shape ``(n_cells, n_latent)``.
        """
        self._check_trained()
        return compute_latents(self.module, self._read(self._get_adata(adata), layer))

    def _find_new_places(self, perturbations: Perturbations | None) -> list[str]:
        schema, known = self._schema, self._blueprint.places
        wanted = [perturbations] if isinstance(perturbations, str) else perturbations or []
        targets = [
            target
            for label in wanted
            for target in (schema.parse(label) if isinstance(label, str) else label)
        ]
        return [t for t in dict.fromkeys(targets) if not known.knows(t) and is_place(t)]

    def _get_encoder(self, given: DNAEncoder | None) -> DNAEncoder | None:
        kind, encoder = self._blueprint.kind, given or self._encoder
        if kind != "tokens":
            return None
        if encoder is None:
            raise ValueError(
                "The model was loaded, and the encoder of its loci was not saved with it. Give "
                f"it: add_loci(loci, encoder=...). Its fingerprint was {self._fingerprint!r}."
            )
        # A table that has grown has another fingerprint, and is the same for what it had.
        if encoder.width and encoder.fingerprint != self._fingerprint:
            raise ValueError(
                f"The model was made with the encoder {self._fingerprint!r}; this one is "
                f"{encoder.fingerprint!r}. Give the same model, layer, width and bins."
            )
        return encoder
