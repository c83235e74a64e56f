"""The predictors that can be named: those of scbig, and those of other packages."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from anndata import AnnData

from scbig._protocols import Predictor
from scbig.baselines import FLOORS
from scbig.benchmark._predictors import PredictorSpec
from scbig.benchmark._resources import Resources
from scbig.benchmark._settings import CEILING
from scbig.model import SCBIG, STRAND, DualStreamMamba

logger = logging.getLogger(__name__)

GROUP = "scbig.predictors"
GENE_RESOURCES = ("gene_embedding", "gene_graph", "gene_sets", "aliases")


def _make_scbig(adata: AnnData, resources: Resources, seed: int) -> SCBIG:
    # One target without an embedding must not cost the scores of all the others.
    given = _select(resources, GENE_RESOURCES)
    return SCBIG(adata, missing_embedding="mean", seed=seed, **given)


def _make_dualstream(adata: AnnData, resources: Resources, seed: int) -> DualStreamMamba:
    # It has no use for pathways.
    given = _select(resources, [name for name in GENE_RESOURCES if name != "gene_sets"])
    return DualStreamMamba(adata, missing_embedding="mean", seed=seed, **given)


def _select(resources: Resources, names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in resources.get_given().items() if name in names}


def _train_quietly(predictor: Predictor, validation: Sequence[str] | None) -> None:
    predictor.train(validation=validation, use_progress_bar=False)  # type: ignore[call-arg]


def _train_anchor(predictor: Predictor, validation: Sequence[str] | None) -> None:
    """Fit the regression that anchors SCBIG, and leave autoencoder and flow as they are."""
    settings = {"max_epochs": 0, "max_steps": 0, "use_progress_bar": False}
    predictor.train(validation=validation, **settings)  # type: ignore[arg-type]


def get_predictors() -> dict[str, PredictorSpec]:
    """Return the predictors that come with scbig.

    Returns
    -------
    By name: the baselines, which are the floors of every table, the models ``scbig``,
    ``dualstream`` and ``strand``, and ``scbig_anchor``, the regression inside SCBIG without its
    networks.
    """
    specs = [PredictorSpec(cls.default_key, cls, is_floor=True) for cls in FLOORS]
    specs += [
        PredictorSpec("scbig_anchor", SCBIG, _make_scbig, _train_anchor),
        PredictorSpec("scbig", SCBIG, _make_scbig, _train_quietly),
        PredictorSpec("dualstream", DualStreamMamba, _make_dualstream, _train_quietly),
        PredictorSpec("strand", STRAND, train=_train_quietly, needs=("loci",)),
    ]
    return {spec.name: spec for spec in specs}


def get_predictor_names(resources: Resources | None = None) -> tuple[str, ...]:
    """Return the names that :func:`run` knows, those of other packages included.

    Parameters
    ----------
    resources
        Leave those of scbig's own predictors out that need a resource which is not there.

    Returns
    -------
    The predictors of scbig, then the entry points of the group ``scbig.predictors``.
    """
    own = [
        name
        for name, spec in get_predictors().items()
        if resources is None or not spec.find_missing(resources)
    ]
    return tuple(dict.fromkeys([*own, *_get_entry_points()]))


def resolve_predictors(
    wanted: Iterable[str | type[Predictor] | PredictorSpec],
) -> tuple[PredictorSpec, ...]:
    """Turn names, classes and specs into specs.

    Where no floor is among them, all are added: scores without floors say little.

    Parameters
    ----------
    wanted
        Names as in :func:`get_predictor_names`, classes, which go by their ``default_key``, or
        specs.

    Returns
    -------
    The specs, floors first, as they are quick.

    Raises
    ------
    ValueError
        When a name is unknown or there twice, or a class is no predictor.
    """
    known, others = get_predictors(), _get_entry_points()
    specs = [_resolve(one, known, others) for one in wanted]
    if not any(spec.is_floor for spec in specs):
        floors = [spec for spec in known.values() if spec.is_floor]
        logger.info("Added the floors %s.", ", ".join(spec.name for spec in floors))
        specs = [*floors, *specs]
    names = [spec.name for spec in specs]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Predictors of the same name: {doubled}. Name each once.")
    if CEILING in names:
        raise ValueError(f"A predictor cannot be named {CEILING!r}: that row is the ceiling.")
    return tuple(sorted(specs, key=lambda spec: not spec.is_floor))


def _resolve(
    wanted: Any, known: Mapping[str, PredictorSpec], others: Mapping[str, EntryPoint]
) -> PredictorSpec:
    if isinstance(wanted, PredictorSpec):
        return wanted
    if not isinstance(wanted, str):
        return PredictorSpec(str(getattr(wanted, "default_key", "")), wanted)
    if wanted in known:
        return known[wanted]
    if wanted in others:
        return _load(others[wanted])
    raise ValueError(
        f"There is no predictor {wanted!r}. Choose among {[*known, *others]}, or install a "
        f"package that has it as an entry point of the group {GROUP!r}."
    )


def _load(entry: EntryPoint) -> PredictorSpec:
    found: Any = entry.load()
    if isinstance(found, PredictorSpec):
        return found
    return PredictorSpec(entry.name, found)


def _get_entry_points() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
