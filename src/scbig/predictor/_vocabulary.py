"""What a predictor knows of its screens, and what of it travels with a saved model."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._types import Arrays, Values
from scbig.data import (
    CellMatrices,
    Expression,
    ScreenCells,
    ScreenSchema,
    Targets,
    check_finite,
    controls_from_plain,
    controls_to_plain,
    get_gene_names,
    join_controls,
    make_controls,
    make_screen,
    match_genes,
    read_matrices,
    read_responding,
)
from scbig.priors import (
    GeneAliases,
    GeneEmbedding,
    TargetEmbeddings,
    choose_embedding,
    index_targets,
    make_target_embeddings,
    refuse_unknown,
)
from scbig.programs import make_coexpression_embedding

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Names that a predictor knows, the conventions of its screens, and control cells.

    Attributes
    ----------
    schema
        Where screens keep their labels.
    genes
        Gene names, in the order of the predictor.
    targets, contexts
        Names of the targets and contexts seen; new ones are appended.
    is_log1p
        Whether integer values are taken for log1p values.
    controls
        Control cells to predict from when no data are given.
    counts_layer
        Layer with the counts of screens; ``None`` for ``"counts"``, where it is there.
    target_sum
        What raw counts are normalised to; ``None`` for 10,000.
    embeddings
        Embeddings of perturbation targets; none where targets are not compared.
    """

    schema: ScreenSchema
    genes: tuple[str, ...]
    targets: tuple[str, ...]
    contexts: tuple[str, ...]
    is_log1p: bool
    controls: AnnData
    counts_layer: str | None = None
    target_sum: float | None = None
    embeddings: TargetEmbeddings = field(default_factory=TargetEmbeddings)

    def __post_init__(self) -> None:
        """Let the schema read labels by all names that are known."""
        others = [name for table in self.embeddings.tables for name in table.names]
        schema = self.schema.with_names((*self.genes, *self.targets), others)
        object.__setattr__(self, "schema", schema)

    @cached_property
    def expected_expression(self) -> np.ndarray:
        """Mean of the control cells, assumed of genes that data lack, shape ``(n_genes,)``."""
        return np.asarray(self.controls.X.mean(axis=0), dtype=np.float32).ravel()

    def read(self, adata: AnnData, layer: str | None = None) -> Expression:
        """Read the predictor's genes of some data, in its order.

        Parameters
        ----------
        adata
            Annotated data.
        layer
            Layer to read; by default that of the screens.

        Returns
        -------
        Their expression; genes that they lack have their mean over control cells.

        Raises
        ------
        ValueError
            When there is no such layer, it has values that are not finite, or too many genes are
            missing.
        """
        layer = self.schema.layer if layer is None else layer
        if layer is not None and layer not in adata.layers:
            found = [name for name in adata.layers if name is not None]
            raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
        check_finite(adata, layer)
        return self._read(adata, layer, None).expression

    def _read(self, adata: AnnData, layer: str | None, counts_layer: str | None) -> CellMatrices:
        names = get_gene_names(adata, self.schema.gene_key)
        match = match_genes(names, self.genes, resolve=self.resolve_gene)
        given = () if match.is_identity else (match.columns, self.expected_expression)
        return read_matrices(
            adata, layer, counts_layer, *given, is_log1p=self.is_log1p, target_sum=self.target_sum
        )

    def read_screen(self, adata: AnnData, responder_key: str | None = None) -> ScreenCells:
        """Read the cells of a screen, and who of them responds where it is given.

        Contexts that are new are numbered after the known ones.
        """
        is_responding = read_responding(adata.obs, self.schema, responder_key)
        screen = make_screen(adata.obs, self.schema, self.contexts, resolve=self.resolve)
        # A further screen may have none of that name.
        counts_layer = self.counts_layer if self.counts_layer in adata.layers else None
        found = self._read(adata, self.schema.layer, counts_layer)
        return ScreenCells(found.expression, screen, found.base, found.counts, is_responding)

    def extend(self, cells: ScreenCells, obs: pd.DataFrame, rng: np.random.Generator) -> Self:
        """Append what a further screen has and the earlier ones had not.

        Parameters
        ----------
        cells
            The further screen, whose contexts begin with the known ones.
        obs
            Annotation of its cells.
        rng
            Draws the control cells of new contexts.

        Returns
        -------
        A vocabulary with the targets, contexts and control cells of both.
        """
        screen = cells.screen
        new = tuple(target for target in screen.targets if target not in self.targets)
        if not new and screen.contexts == self.contexts:
            return self
        own = obs[self.schema.obs_keys]
        controls = make_controls(cells, own, self.genes, rng, known=self.contexts)
        return replace(
            self,
            targets=self.targets + new,
            contexts=screen.contexts,
            controls=join_controls(self.controls, controls),
        )

    def add_embeddings(
        self,
        cells: ScreenCells,
        tables: Sequence[GeneEmbedding | None],
        aliases: GeneAliases | None,
        seed: int,
    ) -> tuple[Self, GeneEmbedding]:
        """Embed the targets: by the first table given, and co-expression, which is returned."""
        table = choose_embedding(*tables)
        rng = np.random.default_rng(seed)
        coexpression = make_coexpression_embedding(cells.expression, cells.screen, self.genes, rng)
        embeddings = make_target_embeddings(table, coexpression, self.targets, aliases)
        return replace(self, embeddings=embeddings), coexpression

    def describe(self) -> str:
        """Say what is known, in one or two sentences."""
        sizes = f"{len(self.genes)} genes, {len(self.targets)} targets"
        known = f"{sizes}, contexts: {', '.join(self.contexts)}."
        tables = self.embeddings.describe()
        return f"{known} Target embeddings: {tables}." if tables else known

    def resolve(self, targets: Targets) -> Targets:
        """Return targets under the names that they were trained with."""
        aliases = self.embeddings.aliases
        if aliases is None:
            return targets
        seen = set(self.targets)
        return tuple(sorted({aliases.resolve(target, seen) or target for target in targets}))

    def resolve_gene(self, gene: str, known: set[str]) -> str | None:
        """Return the name of a gene among known ones, or ``None``."""
        aliases = self.embeddings.aliases
        return None if aliases is None else aliases.resolve(gene, known)

    def check_known(self, targets: Collection[str], seen: Collection[str], name: str) -> None:
        """Raise when a target was not seen and has no embedding; ``name`` is the predictor's."""
        tables = self.embeddings
        if unknown := sorted(t for t in targets if t not in seen and t not in tables):
            raise refuse_unknown(unknown, seen, tables, name)

    def index_targets(self, targets: Sequence[Targets]) -> np.ndarray:
        """Number targets among those seen, ``(B, T)``; -1 where unseen and at padding."""
        return index_targets(targets, self.targets)

    def index_contexts(self, context: np.ndarray) -> np.ndarray:
        """Numbers of contexts, ``-1`` for those that were not seen, shape ``(B,)``."""
        context = np.asarray(context)
        is_seen = (context >= 0) & (context < len(self.contexts))
        return np.where(is_seen, context, -1).astype(np.int64)

    def to_plain(self) -> tuple[Values, Arrays]:
        """Return values for JSON and arrays for safetensors."""
        controls, arrays = controls_to_plain(self.controls)
        tables, aliases = self.embeddings.tables, self.embeddings.aliases
        arrays |= {f"embedding.{i}": table.vectors for i, table in enumerate(tables)}
        values = {
            "schema": self.schema.to_dict(),
            "genes": list(self.genes),
            "targets": list(self.targets),
            "contexts": list(self.contexts),
            "is_log1p": self.is_log1p,
            "counts_layer": self.counts_layer,
            "target_sum": self.target_sum,
            "controls": controls,
            "embeddings": [{"names": list(t.names), "source": t.source} for t in tables],
            "aliases": None if aliases is None else aliases.to_dict(),
        }
        return values, arrays

    @classmethod
    def from_plain(cls, values: Values, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild what :meth:`to_plain` returned."""
        tables = [
            GeneEmbedding(tuple(table["names"]), arrays[f"embedding.{i}"], table["source"])
            for i, table in enumerate(values["embeddings"])
        ]
        aliases = values["aliases"]
        return cls(
            schema=ScreenSchema.from_dict(values["schema"]),
            genes=tuple(values["genes"]),
            targets=tuple(values["targets"]),
            contexts=tuple(values["contexts"]),
            is_log1p=values["is_log1p"],
            counts_layer=values.get("counts_layer"),
            target_sum=values.get("target_sum"),
            controls=controls_from_plain(values["controls"], dict(arrays)),
            embeddings=TargetEmbeddings(
                tuple(tables), None if aliases is None else GeneAliases(aliases)
            ),
        )


def read_vocabulary(
    adata: AnnData,
    schema: ScreenSchema,
    rng: np.random.Generator,
    *,
    is_log1p: bool,
    counts_layer: str | None = None,
    target_sum: float | None = None,
) -> tuple[Vocabulary, ScreenCells]:
    """Read a registered screen for the first time; ``rng`` draws the controls that travel."""
    genes = tuple(map(str, get_gene_names(adata, schema.gene_key)))
    found = read_matrices(
        adata, schema.layer, counts_layer, is_log1p=is_log1p, target_sum=target_sum
    )
    screen = make_screen(adata.obs, schema)
    cells = ScreenCells(found.expression, screen, found.base, found.counts)
    controls = make_controls(cells, adata.obs[schema.obs_keys], genes, rng)
    targets, contexts = screen.targets, screen.contexts
    known = schema, genes, targets, contexts, is_log1p, controls, counts_layer, target_sum
    return Vocabulary(*known), cells
