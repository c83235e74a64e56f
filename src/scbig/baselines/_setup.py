"""`setup_anndata` of the baselines: what was recognised is remembered in `uns`."""

import logging
from collections.abc import Sequence
from typing import Any

from anndata import AnnData

from scbig._constants import UNS
from scbig.data import ExpressionField, PerturbationField, ScreenSchema, infer_schema

logger = logging.getLogger(__name__)


class SetupMixin:
    """Registers screens with a baseline, as the models do."""

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        perturbation_key: str | None = None,
        control: str | None = None,
        context_keys: Sequence[str] = (),
        separator: str | None = None,
        gene_key: str | None = None,
        is_log1p: bool = False,
    ) -> None:
        """Register a screen; the usual conventions are recognised.

        What was recognised is kept in ``adata.uns["scbig_setup"]``.

        Parameters
        ----------
        adata
            Log1p-normalised expression of single cells with perturbation labels. May be backed.
        layer, perturbation_key, control, context_keys, separator, gene_key, is_log1p
            As for :meth:`scbig.model.SCBIG.setup_anndata`.

        Raises
        ------
        ValueError
            When labels or expression cannot be read, or can be read in two ways; the message
            says what was found, where, and what mends it.
        """
        schema = infer_schema(
            adata,
            layer=layer,
            perturbation_key=perturbation_key,
            control=control,
            context_keys=context_keys,
            separator=separator,
            gene_key=gene_key,
        )
        # The checks of the models: what they refuse, baselines refuse.
        PerturbationField(schema).validate_field(adata)
        ExpressionField(layer, gene_key, is_log1p=is_log1p).validate_field(adata)
        # Files hold neither None nor empty lists; what is left out is read back as such.
        plain = {name: value for name, value in schema.to_dict().items() if value}
        adata.uns[UNS.SETUP] = plain | {"is_log1p": is_log1p}
        logger.info(schema.describe())


def read_setup(adata: AnnData, class_name: str) -> tuple[ScreenSchema, bool]:
    """Return the schema that `setup_anndata` kept, and whether integers are log1p values.

    Raises
    ------
    ValueError
        When the screen was not set up.
    """
    if UNS.SETUP not in adata.uns:
        raise ValueError(
            f"The data were not set up: uns[{UNS.SETUP!r}] is missing. "
            f"Set them up first: {class_name}.setup_anndata(adata)."
        )
    values: dict[str, Any] = {"context_keys": [], **adata.uns[UNS.SETUP]}
    is_log1p = bool(values.pop("is_log1p"))
    return ScreenSchema.from_dict(values), is_log1p
