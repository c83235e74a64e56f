"""What command line and benchmark know of each predictor, and how others bring their own.

Options, help texts and prior knowledge follow from the records here. A predictor of somebody else
is given as such a record or as a class, by itself, by an import path or by an entry point: nothing
is registered, so no run changes what another one finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import Parameter, signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

# Nothing heavy: the help of the command line is made of this file.
if TYPE_CHECKING:
    from anndata import AnnData

    from scbig._protocols import Predictor

# The second is scbig.benchmark.Resources, or whatever has its get_given().
Make = Callable[["AnnData", Any, int], "Predictor"]
Train = Callable[["Predictor", "Sequence[str] | None"], None]

GROUP = "scbig.predictors"
METHODS = ("setup_anndata", "train", "predict", "save", "load")

#: Options of the command line that make up each kind of prior knowledge.
PRIOR_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gene_embedding": ("gene_embedding",),
        "gene_graph": ("string_links", "string_info"),
        "gene_sets": ("pathways",),
        "aliases": ("aliases",),
        "loci": ("loci", "assembly", "coordinates"),
        "fasta": ("fasta",),
        "encoder": ("locus_embedding",),
    }
)
#: Options of `scbig train` that some constructors or ``train`` have as arguments, and others not.
MODEL_OPTIONS = ("preset", "missing_embedding", "max_epochs", "max_steps")


@dataclass(frozen=True)
class PredictorSpec:
    """A predictor as command line and benchmark know it.

    Attributes
    ----------
    name
        Name on the command line and in the tables.
    predictor_class
        Class that follows the protocol of models and baselines, or its import path
        ``"package.module:NAME"``, which is followed when the predictor is used.
    make
        How a benchmark makes it, from the training cells, which ``setup_anndata`` has seen, the
        resources and a seed. By default the constructor is called with the cells and with those
        of ``seed``, the resources and ``init_settings`` that it has an argument for.
    train
        How a benchmark trains it, given the predictor and the validation conditions (``None``
        leaves the choice to it). By default
        ``predictor.train(validation=..., use_refit=True)``, with ``train_settings``.
    help
        What it is, in a few words.
    is_floor
        Whether others have to beat it.
    tasks
        Tasks that it is made for, as those of splits; all where none is named.
    is_model
        Whether `scbig train` makes it.
    needs
        Prior knowledge that it cannot do without, by the names of its constructor's arguments.
    priors
        Prior knowledge that it has arguments for, among :data:`PRIOR_OPTIONS`.
    options
        The :data:`MODEL_OPTIONS` that its constructor or its ``train`` has arguments for, each
        with what it counts, such as ``{"max_steps": "the flow"}``, if it counts.
    init_settings, train_settings
        Further arguments of its constructor and its ``train`` in a benchmark.
    infer
        Import path of what recognises the conventions of its screens on the command line.

    ``priors`` and ``options`` are read off the class where they are ``None``; they are written
    down where help must not wait for the class. Of a class that lacks something of the protocol a
    ``ValueError`` says what.

    Examples
    --------
    >>> from scbig.baselines import Additive
    >>> spec = PredictorSpec("sum_of_effects", Additive, is_floor=True)
    """

    name: str
    predictor_class: type[Predictor] | str
    make: Make | None = None
    train: Train | None = None
    _: KW_ONLY
    help: str = ""
    is_floor: bool = False
    tasks: tuple[str, ...] = ()
    is_model: bool = True
    needs: tuple[str, ...] = ()
    priors: tuple[str, ...] | None = None
    options: Mapping[str, str] | None = field(default=None, hash=False)
    init_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    train_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    infer: str = "scbig.data:infer_schema"

    def __post_init__(self) -> None:
        if not isinstance(self.predictor_class, str):
            _check_class(self.predictor_class)

    @property
    def class_name(self) -> str:
        """Name of the class, which is not loaded for it."""
        found = self.predictor_class
        return found.rpartition(":")[2] if isinstance(found, str) else found.__name__

    def load_class(self) -> type[Predictor]:
        """Return the class, imported if need be."""
        found = self.predictor_class
        return _check_class(load_object(found)) if isinstance(found, str) else found

    def get_priors(self) -> tuple[str, ...]:
        """Return the prior knowledge that it has arguments for."""
        if self.priors is not None:
            return self.priors
        return tuple(select_arguments(self.load_class(), PRIOR_OPTIONS))

    def get_options(self) -> frozenset[str]:
        """Return its options of `scbig train` that are not common to all models."""
        own: Iterable[str] = self.options or ()
        if self.options is None:
            offered, loaded = dict.fromkeys(MODEL_OPTIONS), self.load_class()
            own = (*select_arguments(loaded, offered), *select_arguments(loaded.train, offered))
        of_priors = (option for name in self.get_priors() for option in PRIOR_OPTIONS[name])
        return frozenset((*own, *of_priors))

    def find_missing(self, resources: Any) -> list[str]:
        """List the resources that it needs and that are not there.

        Parameters
        ----------
        resources
            What there is.
        """
        return [name for name in self.needs if name not in resources.get_given()]

    def make_predictor(self, adata: AnnData, resources: Any, seed: int) -> Predictor:
        """Construct the predictor for a benchmark, or say which resource is not there.

        Parameters
        ----------
        adata
            Training cells.
        resources
            What there is to know beside them.
        seed
            Seed of the predictor.
        """
        if missing := self.find_missing(resources):
            raise ValueError(
                f"The predictor {self.name!r} needs the resource(s) {missing}: "
                f"Resources({missing[0]}=...), {name_option(missing[0])} on the command line."
            )
        if self.make is not None:
            return self.make(adata, resources, seed)
        return self.construct(adata, {"seed": seed, **resources.get_given(), **self.init_settings})

    def construct(self, adata: AnnData, arguments: Mapping[str, Any]) -> Predictor:
        """Call the constructor with those of some arguments that it has.

        Parameters
        ----------
        adata
            Training cells.
        arguments
            Values by name.
        """
        predictor_class: Callable[..., Predictor] = self.load_class()
        return predictor_class(adata, **select_arguments(predictor_class, arguments))

    def train_predictor(self, predictor: Predictor, validation: Sequence[str] | None) -> None:
        """Train the predictor for a benchmark, choosing on the validation conditions.

        Parameters
        ----------
        predictor
            What was made.
        validation
            Conditions to choose on; ``None`` leaves the choice to it.
        """
        if self.train is not None:
            self.train(predictor, validation)
        else:
            predictor.train(validation=validation, use_refit=True, **self.train_settings)

    def describe(self) -> dict[str, Any]:
        """Say which class and functions these are, ready for JSON."""
        named = {}
        parts = {"class": self.load_class(), "make": self.make, "train": self.train}
        for name, part in parts.items():
            if part is not None:
                shown = part if hasattr(part, "__qualname__") else type(part)  # of an object
                named[name] = f"{shown.__module__}.{shown.__qualname__}"
        settings = {"init": dict(self.init_settings), "training": dict(self.train_settings)}
        given = {name: value for name, value in settings.items() if value}
        return named | given | {"is_floor": self.is_floor}


# Class and help of the floors, which are the baselines of every table.
_FLOORS = {
    "no_change": ("NoChange", "the control cells"),
    "train_mean": ("TrainMean", "the mean effect of the training conditions"),
    "additive": ("Additive", "the sum of effects"),
    "ridge": ("RidgeIndicator", "ridge regression on which targets are perturbed"),
    "kernel_ridge": ("KernelRidge", "kernel ridge regression on embeddings of the targets"),
    "nearest_condition": ("NearestCondition", "the condition with the most similar targets"),
}
# One target without an embedding must not cost the scores of all the others.
_LENIENT = MappingProxyType({"missing_embedding": "mean"})
_QUIET = MappingProxyType({"use_progress_bar": False})

_FLOOR: dict[str, Any] = {"is_floor": True, "is_model": False, "init_settings": _LENIENT}
# Floors for cells, where the conditions are known.
_OF_SEEN = _FLOOR | {"tasks": ("seen",)}

_REGRESSION = PredictorSpec(
    "effect_regression",
    "scbig.model:EffectRegression",
    help="perturbed genes, by the regression that networks are anchored on",
    priors=("gene_embedding", "aliases"),
    options=MappingProxyType({"missing_embedding": ""}),
    init_settings=_LENIENT,
)

#: The predictors of scbig, in the order of the tables: the floors, the regression inside SCBIG
#: without its networks, and the models.
CATALOGUE: tuple[PredictorSpec, ...] = (
    *(
        PredictorSpec(name, f"scbig.baselines:{found}", help=words, **_FLOOR)
        for name, (found, words) in _FLOORS.items()
    ),
    PredictorSpec("own_mean", "scbig.baselines:OwnMean", help="its own mean effect", **_OF_SEEN),
    replace(
        _REGRESSION,
        name="shifted",
        predictor_class="scbig.model._effect_regression:Shifted",
        help="the regression, as a shift of control cells",
        **_OF_SEEN,
    ),
    # Under this name it stands in the stored tables.
    replace(_REGRESSION, name="scbig_anchor", is_model=False),
    PredictorSpec(
        "scbig",
        "scbig.model:SCBIG",
        help="perturbed genes, by gene programs and a flow",
        priors=("gene_embedding", "gene_graph", "gene_sets", "aliases"),
        options=MappingProxyType(
            {"preset": "", "missing_embedding": ""}
            | {"max_epochs": "the autoencoder", "max_steps": "the flow"}
        ),
        init_settings=_LENIENT,
        train_settings=_QUIET,
    ),
    PredictorSpec(
        "dualstream",
        "scbig.model:DualStreamMamba",
        help="perturbed genes, by two streams of gene tokens",
        # It has no use for pathways.
        priors=("gene_embedding", "gene_graph", "aliases"),
        options=MappingProxyType(
            {"preset": "", "missing_embedding": "", "max_steps": "the streams"}
        ),
        init_settings=_LENIENT,
        train_settings=_QUIET,
    ),
    PredictorSpec(
        "strand",
        "scbig.model:STRAND",
        help="perturbed loci, by their DNA",
        needs=("loci",),
        priors=("loci", "fasta", "encoder"),
        options=MappingProxyType({"preset": "", "max_steps": "the bridge"}),
        train_settings=_QUIET,
        infer="scbig.data:infer_locus_schema",
    ),
)
# Trained by itself under the name of its class; in tables it is `scbig_anchor`.
TRAINED_ONLY: tuple[PredictorSpec, ...] = (_REGRESSION,)


def get_names() -> tuple[str, ...]:
    """Return the names that :func:`find_spec` knows: those of scbig, then the entry points."""
    return tuple(dict.fromkeys([*(spec.name for spec in CATALOGUE), *get_entry_points()]))


def find_spec(wanted: str | type[Predictor] | PredictorSpec) -> PredictorSpec:
    """Find what is known of a predictor, or say what is wrong with it.

    It is wanted by a name as in :func:`get_names`, by the import path ``"package.module:NAME"`` of
    a class or spec, as a class, which goes by its ``default_key``, or as the spec itself.
    """
    if not isinstance(wanted, str):
        return _make_spec(wanted)
    for spec in (*CATALOGUE, *TRAINED_ONLY):
        if spec.name == wanted:
            return spec
    if ":" in wanted:
        return _make_spec(load_object(wanted))
    if found := get_entry_points().get(wanted):
        return _make_spec(found.load(), wanted)
    raise ValueError(
        f"There is no predictor {wanted!r}. Choose among {list(get_names())}, write "
        "package.module:NAME for a class or spec of your own, or install a package that has it as "
        f"an entry point of the group {GROUP!r}."
    )


def load_object(path: str) -> Any:
    """Import what a path such as ``"package.module:NAME"`` names, or say what is missing."""
    place, _, name = path.partition(":")
    try:
        module = import_module(place)
    except ModuleNotFoundError as error:
        # A module that is there may itself lack something, which is another matter.
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise
        raise ImportError(
            f"{path}: there is no module {error.name!r}. Install it, or put its folder into the "
            "environment variable PYTHONPATH."
        ) from error
    if not hasattr(module, name):
        raise ImportError(f"{path}: the module {place!r} has no {name!r}.")
    return getattr(module, name)


def select_arguments(function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some arguments that a function or constructor names."""
    wanted = signature(function).parameters
    return {name: value for name, value in offered.items() if name in wanted}


def name_option(prior: str) -> str:
    """Name the first option of the command line that gives some prior knowledge."""
    return "--" + PRIOR_OPTIONS.get(prior, (prior,))[0].replace("_", "-")


def find_problems(candidate: Any) -> list[str]:
    """List what anything lacks to be the class of a predictor."""
    from scbig._protocols import Predictor

    if not isinstance(candidate, type):
        return [f"it is of type {type(candidate).__name__}, where a class is expected"]
    problems = [] if hasattr(candidate, "default_key") else ["it has no attribute default_key"]
    for name in METHODS:
        method = getattr(candidate, name, None)
        if not callable(method):
            problems.append(f"it has no method {name}()")
            continue
        taken = signature(method).parameters
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken.values()):
            continue
        expected = signature(getattr(Predictor, name)).parameters
        if missing := [argument for argument in expected if argument not in taken]:
            problems.append(f"{name}() lacks the argument(s) {', '.join(missing)}")
    return problems


def _check_class(candidate: Any) -> type[Predictor]:
    if problems := find_problems(candidate):
        shown = getattr(candidate, "__qualname__", type(candidate).__name__)
        raise ValueError(
            f"{shown} is no predictor: {'; '.join(problems)}. "
            "docs/developer/adding_a_model.md shows what is expected."
        )
    return candidate


def _make_spec(found: Any, name: str | None = None) -> PredictorSpec:
    if isinstance(found, PredictorSpec):
        return found
    for spec in CATALOGUE:
        # What is a floor by its name is one by its class.
        if spec.is_floor and spec.load_class() is found:
            return spec
    return PredictorSpec(str(getattr(found, "default_key", "") if name is None else name), found)


def get_entry_points() -> dict[str, EntryPoint]:
    """Return what installed packages bring, by name and not loaded."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}
