"""`setup_anndata`, alike for all predictors, and what scvi-tools' base class cannot do here."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NoReturn

import rich.pretty  # noqa: F401 - scvi-tools 1.4 uses it in view_anndata_setup unimported
from anndata import AnnData
from scvi.data import AnnDataManager
from scvi.data._constants import _SCVI_UUID_KEY
from scvi.model.base import BaseModelClass

from scbig._annotations import checked
from scbig._arguments import check_adata, check_number, show
from scbig._console import hush_libraries
from scbig._constants import REGISTRY
from scbig.data import (
    ExpressionField,
    Guides,
    Lending,
    PerturbationField,
    ScreenSchema,
    check_matrices,
    describe_labels,
    infer_schema,
    lend_controls,
    read_guides,
    read_lending,
    read_matrices,
    read_responding,
    report_targets,
    warn_of_empty,
)

logger = logging.getLogger(__name__)


class NotOffered:
    """A verb of scvi-tools' base class that has no meaning for predictors of perturbations.

    Parameters
    ----------
    reason
        Why, and what to use instead.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__} has no {self._name}: {self._reason}")


_NO_POSTERIOR = "it has no posterior of normalised expression. Use predict(perturbations=[...])."
_OWN_FORMAT = "models are saved in a format of their own. Use load(path)."
_OWN_READING = "screens are read by setup_anndata(adata), backed files too."


class RegisteredModel(BaseModelClass):
    """Registers screens with a class of predictors."""

    registry_: dict[str, Any]
    #: Whether targets are genes, which may be among those measured.
    perturbs_genes: ClassVar[bool] = True

    get_normalized_expression: ClassVar = NotOffered(_NO_POSTERIOR)
    get_normalized_function_name: ClassVar = NotOffered(_NO_POSTERIOR)
    differential_abundance: ClassVar = NotOffered(_NO_POSTERIOR)
    convert_legacy_save: ClassVar = NotOffered(_OWN_FORMAT)
    load_registry: ClassVar = NotOffered(_OWN_FORMAT)
    view_setup_args: ClassVar = NotOffered(_OWN_FORMAT)
    setup_annbatch: ClassVar = NotOffered(_OWN_READING)

    @classmethod
    @hush_libraries()
    @checked
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
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
        borrow_controls: Lending | None = None,
        guide_to_gene: Guides | None = None,
    ) -> None:
        """Register a screen; the usual conventions are recognised.

        Parameters
        ----------
        adata
            Expression of single cells with perturbation labels: log1p-normalised, or raw counts,
            which are normalised as they are read. May be backed. Random draws go by the order of
            cells: the same cells in another order give other predictions, by chance.
        layer
            Layer with the expression; ``None`` for ``X``.
        perturbation_key
            Column of ``obs`` with the labels; recognised among ``perturbation``, ``condition``,
            ``perturbation_name`` and others.
        control
            Label of the control cells; recognised among ``control``, ``ctrl``,
            ``non-targeting``, ``NT`` and others, numbered ones (``non-targeting_00001``) too. Of
            several, ``predict`` writes the first.
        context_keys
            Columns of ``obs`` within which controls are matched to perturbed cells, such as cell
            line or batch. Every context needs control cells, or ``borrow_controls``.
        separator
            What stands between the targets of a label such as ``A+B``; recognised by default.
            An empty string says that no label is a combination, and all are names as they are.
        gene_key
            Column of ``var`` with gene names, where ``var_names`` are other identifiers.
        is_log1p
            Take integer values for log1p values, and not for raw counts.
        counts_layer
            Layer with the counts behind the expression; ``layers["counts"]`` is taken where it is
            there. Without, counts are recovered from the expression.
        target_sum
            Sum that raw counts of a cell are normalised to before log1p; 10,000 by default.
        responder_key
            Column of ``obs`` that tells which cells respond, as Mixscape writes it: probabilities
            (``mixscape_class_p_ko``), or classes that end in ``KO`` or ``NP``
            (``mixscape_class``). Without, shares of responders are estimated.
        borrow_controls
            Whose control cells serve contexts that have none: ``"nearest"``, the context that
            agrees in most ``context_keys`` and then in mean expression; ``"pooled"``, those of
            all others; or names, ``{"day 7": "day 0"}``. What differs between the contexts is then
            part of the effects.
        guide_to_gene
            Where labels name guides: the gene of each, or the label of controls. A dictionary, a
            series, or a frame whose first two columns are guides and genes.

        Raises
        ------
        ValueError
            When labels or expression cannot be read, or can be read in two ways; the message
            says what was found, where, and what mends it.
        """
        check_adata(adata, takes_views=False)
        # As a saved model keeps it.
        context_keys = [context_keys] if isinstance(context_keys, str) else list(context_keys)
        # And as such files can hold it.
        guide_to_gene = read_guides(
            guide_to_gene, adata.obs, perturbation_key, adata.var.get(gene_key, adata.var_names)
        )
        guide_to_gene = dict(guide_to_gene) or None
        borrow_controls = read_lending(borrow_controls)
        if target_sum is not None:
            target_sum = check_number("target_sum", target_sum, is_open=True)
        setup_args = BaseModelClass._get_setup_method_args(**locals())
        schema = infer_schema(
            adata,
            layer=layer,
            perturbation_key=perturbation_key,
            control=control,
            context_keys=context_keys,
            separator=separator,
            gene_key=gene_key,
            guide_to_gene=guide_to_gene,
        )
        read = partial(read_matrices, adata, layer, counts_layer, is_log1p=is_log1p)
        schema = lend_controls(
            adata, schema, borrow_controls, lambda: read(target_sum=target_sum).expression
        )
        read_responding(adata.obs, schema, responder_key)
        fields = [PerturbationField(schema), ExpressionField(layer, gene_key, is_log1p=is_log1p)]
        manager = AnnDataManager(fields=fields, setup_method_args=setup_args)
        manager.register_fields(adata)
        check_matrices(adata, layer, counts_layer, is_log1p=is_log1p, target_sum=target_sum)
        warn_of_empty(adata, schema)
        cls.register_manager(manager)
        for line in (schema.describe(), *describe_labels(adata.obs, schema).splitlines()):
            logger.info(line)
        if cls.perturbs_genes:
            report_targets(adata, schema)

    @classmethod
    def _check_registered(cls, adata: AnnData) -> AnnData:
        """Raise unless data were set up for this class."""
        check_adata(adata, takes_views=False)
        key = adata.uns.get(_SCVI_UUID_KEY)
        manager = cls._setup_adata_manager_store.get(key)
        if manager is None or manager.adata is not adata:
            other = ", or is a copy of data that were" if manager else ""
            raise ValueError(
                f"adata, {show(adata)}, was not set up for {cls.__name__}{other}. "
                f"Run first: {cls.__name__}.setup_anndata(adata)"
            )
        return adata

    def _check_unchanged(self) -> None:
        """Raise when data that were set up can be read no more; users write into them."""
        manager, adata = self.adata_manager, self.adata
        known = manager.get_state_registry(REGISTRY.PERTURBATION)
        schema = ScreenSchema.from_dict(dict(known["schema"]))
        if lost := [key for key in schema.obs_keys if key not in adata.obs]:
            raise ValueError(
                f"adata has lost the columns {lost} of obs since setup_anndata. Put them back, or "
                f"set the data up again. Columns found: {list(adata.obs)}."
            )
        for field in manager.fields:
            field.validate_field(adata)
