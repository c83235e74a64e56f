"""Which options were given on the command line, and are they of any use there?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from scbig.benchmark.catalogue import PredictorSpec
from scbig.cli._options import MODELS, ScreenFile


def is_given(context: typer.Context, option: str) -> bool:
    """Whether an option was given, and is not its default.

    Parameters
    ----------
    context
        Context of the command.
    option
        Name of its parameter.
    """
    source = context.get_parameter_source(option)
    # By name: typer may bring a click of its own, whose members are others.
    return source is not None and source.name == "COMMANDLINE"


def refuse_unused(context: typer.Context, options: tuple[str, ...], why: str) -> None:
    """Raise where one of some options was given that would be ignored.

    Parameters
    ----------
    context
        Context of the command.
    options
        Names of their parameters.
    why
        What they are for, and what to do.

    Raises
    ------
    ValueError
        When one was given.
    """
    for option in options:
        if is_given(context, option):
            flag = _get_flag(context, option)
            raise ValueError(f"{flag} would be ignored: {why}")


def take_file(context: typer.Context, file: ScreenFile) -> ScreenFile:
    """Note whether a sum was given to normalise to, and refuse modalities where there are none."""
    check_reading(context, file.path)
    return replace(file, is_sum_given=is_given(context, "target_sum"))


def check_reading(context: typer.Context, data: Path | None) -> None:
    """Refuse options of how a file is read where there is none, or one without modalities."""
    if data is None:
        refuse_unused(context, ("normalize", "target_sum", "modality"), "it is for --data FILE.")
    elif data.suffix == ".h5ad":
        refuse_unused(context, ("modality",), f"{data.name} has none, as .h5mu files have.")


def check_loci(context: typer.Context) -> None:
    """Refuse what is told of a table of loci where there is none."""
    if context.params["loci"] is None:
        refuse_unused(context, ("assembly", "coordinates"), "it is of the table --loci FILE.")


def _get_flag(context: typer.Context, option: str) -> str:
    for parameter in context.command.params:
        if parameter.name == option:
            return str(parameter.opts[0])
    return f"--{option.replace('_', '-')}"


def check_options(context: typer.Context, spec: PredictorSpec) -> None:
    """Refuse options that were given and do not fit the model.

    Parameters
    ----------
    context
        Context of the command.
    spec
        The model.

    Raises
    ------
    ValueError
        When an option belongs to another model; the message says to which.
    """
    specific = frozenset().union(*(model.get_options() for model in MODELS))
    for option in sorted((specific - spec.get_options()) & set(context.params)):
        if is_given(context, option):
            fitting = [model.name for model in MODELS if option in model.get_options()]
            raise ValueError(
                f"--{option.replace('_', '-')} does not fit --model {spec.name}; it is for "
                f"{', '.join(fitting)}."
            )
