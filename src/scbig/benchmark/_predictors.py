"""What the benchmark must know of a predictor, and the check that a class is one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from anndata import AnnData

from scbig._protocols import Predictor
from scbig.benchmark._resources import Resources

Make = Callable[[AnnData, Resources, int], Predictor]
Train = Callable[[Predictor, Sequence[str] | None], None]

METHODS = ("setup_anndata", "train", "predict", "save", "load")


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
