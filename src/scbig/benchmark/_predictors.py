"""The predictors that a benchmark runs, and where they are found."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from inspect import Parameter, signature
from typing import Any

from anndata import AnnData

from scbig._protocols import Predictor
from scbig.baselines import FLOORS
from scbig.benchmark._settings import CEILING, Resources
from scbig.model import SCBIG, STRAND, DualStreamMamba

Make = Callable[[AnnData, Resources, int], Predictor]
Train = Callable[[Predictor, Sequence[str] | None], None]

METHODS = ("setup_anndata", "train", "predict", "save", "load")
logger = logging.getLogger(__name__)
GROUP = "scbig.predictors"
GENE_RESOURCES = ("gene_embedding", "gene_graph", "gene_sets", "aliases")


@dataclass(frozen=True)
class PredictorSpec:
    """A predictor as the benchmark runs it.

    Attributes
    ----------
    name
        Name in the tables.
    predictor_class
        Class that follows the protocol of models and baselines.
    make
        Called with the training cells, which ``setup_anndata`` has seen, the resources and a
        seed; returns the predictor. By default the constructor is called with the cells and
        with those of ``seed``, ``gene_embedding``, ``gene_graph``, ``gene_sets`` and
        ``aliases`` that it has an argument for.
    train
        Called with the predictor and the validation conditions (``None`` leaves the choice to
        it). By default ``predictor.train(validation=..., use_refit=True)``.
    is_floor
        Whether others have to beat it.
    needs
        Names of the :class:`Resources` that it cannot do without.

    Raises
    ------
    ValueError
        When the class lacks something of the protocol; the message lists what.

    Examples
    --------
    >>> from scbig.baselines import Additive
    >>> spec = PredictorSpec("sum_of_effects", Additive, is_floor=True)
    """

    name: str
    predictor_class: type[Predictor]
    make: Make | None = None
    train: Train | None = None
    is_floor: bool = False
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if problems := find_problems(self.predictor_class):
            shown = getattr(self.predictor_class, "__qualname__", repr(self.predictor_class))
            raise ValueError(
                f"{shown} is no predictor: {'; '.join(problems)}. "
                "scbig._protocols.Predictor shows what is expected."
            )

    def make_predictor(self, adata: AnnData, resources: Resources, seed: int) -> Predictor:
        """Construct the predictor.

        Parameters
        ----------
        adata
            Training cells, set up.
        resources
            Prior knowledge.
        seed
            Seed of everything random.

        Returns
        -------
        The predictor, untrained.

        Raises
        ------
        ValueError
            When it needs a resource that is not there.
        """
        if missing := self.find_missing(resources):
            raise ValueError(
                f"The predictor {self.name!r} needs the resource(s) {missing}: "
                f"Resources({missing[0]}=...), --{missing[0]} on the command line."
            )
        if self.make is not None:
            return self.make(adata, resources, seed)
        offered = {"seed": seed, **resources.get_given()}
        wanted = signature(self.predictor_class).parameters
        return self.predictor_class(
            adata, **{name: value for name, value in offered.items() if name in wanted}
        )  # type: ignore[call-arg]

    def find_missing(self, resources: Resources) -> list[str]:
        """List the resources that it needs and that are not there.

        Parameters
        ----------
        resources
            Prior knowledge.

        Returns
        -------
        Their names.
        """
        return [name for name in self.needs if getattr(resources, name) is None]

    def train_predictor(self, predictor: Predictor, validation: Sequence[str] | None) -> None:
        """Train the predictor.

        Parameters
        ----------
        predictor
            What :meth:`make_predictor` returned.
        validation
            Labels of the conditions to choose on; ``None`` leaves the choice to the predictor.
        """
        if self.train is not None:
            self.train(predictor, validation)
        else:
            predictor.train(validation=validation, use_refit=True)

    def describe(self) -> dict[str, Any]:
        """Say which class and functions these are, ready for JSON."""
        parts = {"class": self.predictor_class, "make": self.make, "train": self.train}
        named = {name: _get_name(part) for name, part in parts.items() if part is not None}
        return named | {"is_floor": self.is_floor}


def _get_name(part: Any) -> str:
    """Name a class or function; of an object that can be called, its class."""
    part = part if hasattr(part, "__qualname__") else type(part)
    return f"{part.__module__}.{part.__qualname__}"


def find_problems(candidate: Any) -> list[str]:
    """List what a class lacks to be a predictor.

    Parameters
    ----------
    candidate
        Anything.

    Returns
    -------
    What is missing; nothing for a predictor.
    """
    if not isinstance(candidate, type):
        return [f"it is of type {type(candidate).__name__}, where a class is expected"]
    problems = [] if hasattr(candidate, "default_key") else ["it has no attribute default_key"]
    for name in METHODS:
        method = getattr(candidate, name, None)
        if not callable(method):
            problems.append(f"it has no method {name}()")
        elif missing := _find_missing_arguments(method, getattr(Predictor, name)):
            problems.append(f"{name}() lacks the argument(s) {', '.join(missing)}")
    return problems


def _find_missing_arguments(method: Callable, expected: Callable) -> list[str]:
    """Arguments that the protocol names and a method does not take."""
    parameters = signature(method).parameters
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        return []
    return [name for name in signature(expected).parameters if name not in parameters]


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
