"""The models that the command line can train, and which options fit which."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from scbig.cli._options import Training
from scbig.data import ScreenSchema, infer_schema
from scbig.model import SCBIG, STRAND, DualStreamMamba
from scbig.model.strand import infer_locus_schema

# Options that make up what a constructor calls by another name.
OPTIONS_OF = {
    "gene_graph": ("string_links", "string_info"),
    "gene_sets": ("pathways",),
    "encoder": ("locus_embedding",),
    "loci": ("loci", "assembly", "coordinates"),
}
GENE_PRIORS = ("gene_embedding", "gene_graph", "gene_sets", "aliases")
LOCUS_PRIORS = ("loci", "fasta", "encoder")


@dataclass(frozen=True)
class ModelSpec:
    """A model as the command line makes and trains it.

    Attributes
    ----------
    model_class
        The class.
    init, train
        Names of :class:`Training` that its constructor and its ``train`` have arguments for.
    priors
        Prior knowledge that its constructor has arguments for.
    needs
        Those of them that it cannot do without.
    infer
        Recognises the conventions of a screen, see :func:`scbig.data.infer_schema`.
    """

    model_class: Any
    init: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    priors: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    infer: Callable[..., ScreenSchema] = infer_schema

    @property
    def options(self) -> frozenset[str]:
        """Names of its options that are not common to all models."""
        of_priors = [OPTIONS_OF.get(name, (name,)) for name in self.priors]
        return frozenset((*self.init, *self.train, *(o for options in of_priors for o in options)))

    def make(self, adata: Any, training: Training, known: dict[str, Any]) -> Any:
        """Construct the model on a screen that was set up.

        Parameters
        ----------
        adata
            The screen.
        training
            What was asked for.
        known
            Prior knowledge by the names of the constructor's arguments.

        Returns
        -------
        The model, untrained.

        Raises
        ------
        ValueError
            When prior knowledge is missing that it needs.
        """
        for name in self.needs:
            if name not in known:
                option = OPTIONS_OF.get(name, (name,))[0].replace("_", "-")
                raise ValueError(f"{self.model_class.__name__} needs --{option}.")
        chosen = {name: getattr(training, name) for name in self.init}
        return self.model_class(adata, seed=training.seed, **chosen, **known)


MODELS = {
    "scbig": ModelSpec(
        SCBIG, ("preset", "missing_embedding"), ("max_epochs", "max_steps"), GENE_PRIORS
    ),
    "dualstream": ModelSpec(
        DualStreamMamba,
        ("missing_embedding",),
        ("max_steps",),
        ("gene_embedding", "gene_graph", "aliases"),
    ),
    "strand": ModelSpec(STRAND, (), ("max_steps",), LOCUS_PRIORS, ("loci",), infer_locus_schema),
}


def check_options(context: typer.Context, name: str) -> None:
    """Refuse options that were given and do not fit the model.

    Parameters
    ----------
    context
        Context of the command.
    name
        Name of the model.

    Raises
    ------
    ValueError
        When an option belongs to another model; the message says to which.
    """
    specific = frozenset().union(*(spec.options for spec in MODELS.values()))
    for option in sorted((specific - MODELS[name].options) & set(context.params)):
        source = context.get_parameter_source(option)
        # By name: typer may bring a click of its own, whose members are others.
        if source is not None and source.name == "COMMANDLINE":
            fitting = [other for other, spec in MODELS.items() if option in spec.options]
            raise ValueError(
                f"--{option.replace('_', '-')} does not fit --model {name}; it is for "
                f"{', '.join(fitting)}."
            )


def find_model(folder: Path) -> ModelSpec:
    """Find the class of a saved model.

    Parameters
    ----------
    folder
        Folder of the model.

    Returns
    -------
    The class and its options.

    Raises
    ------
    FileNotFoundError
        When there is no model.
    ValueError
        When it is of a class that is no model, such as a baseline.
    """
    file = folder / "model.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no model saved by scbig: {file.name} is missing.")
    name = json.loads(file.read_text(encoding="utf-8")).get("class")
    for spec in MODELS.values():
        if spec.model_class.__name__ == name:
            return spec
    known = [spec.model_class.__name__ for spec in MODELS.values()]
    raise ValueError(f"{folder} holds {name}; this command predicts with one of {known}.")
