"""Messages of the library in the words of a command: options in place of arguments in Python."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import typer

# A value as Python writes it: text, a list or tuple, or a word.
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\([^()]*\)|\{[^{}]*\}|\.\.\.|[\w.+-]*\w)"
# A call whose arguments are options by now, of whatever object: train(--max-steps 10).
_CALL = re.compile(
    r"(?<![\w'\"])[\w.]+\((?:(?:adata|path|\.\.\.), )?(--[\w-]+[^()]*?)(?:, \.\.\.)?\)"
)
# A line that changes the cells.
_LINE = re.compile(r"(?<!in Python: )(?<![\w'\";.])adata(?:\.\w+(?:\[[^\]]*\])?)? = ")
_AROUND = (
    " (In Python, before it: import anndata; adata = anndata.read_h5ad('FILE.h5ad'); and after "
    "it: adata.write_h5ad('NEW.h5ad'))"
)


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes
    ----------
    flag
        How it is written, such as ``--perturbation-key``.
    is_switch
        Whether it stands alone.
    is_repeated
        Whether it is given again for each of several values.
    """

    flag: str
    is_switch: bool = False
    is_repeated: bool = False


def list_options(context: typer.Context) -> dict[str, Option]:
    """List the options of the running command by the names of the arguments in Python."""
    options = {}
    for parameter in context.command.params:
        if not parameter.name or not (flags := [o for o in parameter.opts if o[:2] == "--"]):
            continue
        is_switch = bool(getattr(parameter, "is_flag", False))
        options[parameter.name] = Option(flags[0], is_switch, bool(parameter.multiple))
    if "overwrite" in options:
        options["use_overwrite"] = options["overwrite"]
    return options


def make_translator(options: Mapping[str, Option]) -> Callable[[str], str]:
    """Make a function that puts options in place of the arguments that a message names.

    Parameters
    ----------
    options
        By the name of the argument.
    """
    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True))
    given = re.compile(rf"(?<![\w'\".-])({names})=({_VALUE})")
    # Names of several words are arguments in prose, too; columns and layers stand in quotes.
    several = "|".join(sorted((n for n in options if "_" in n), key=len, reverse=True))
    named = re.compile(rf"(?<![\w'\"\[.-])({several})(?![\w'\"\](=-])")

    def translate(text: str) -> str:
        text = _say_python(text)
        if names:
            text = given.sub(lambda found: write_option(options[found[1]], found[2]), text)
        if "control" in options:
            text = text.replace("the argument control", options["control"].flag)
        if several:
            text = named.sub(lambda found: options[found[1]].flag, text)
        return _CALL.sub(lambda found: found[1].replace(", --", " --"), text)

    return translate


def _say_python(text: str) -> str:
    """Say of lines that change the cells where they are run, and what stands around them."""
    said = _LINE.sub(r"in Python: \g<0>", text)
    return f"{said}{_AROUND}" if said != text else text


def write_option(option: Option, value: str) -> str:
    """Write an argument as an option.

    Parameters
    ----------
    option
        The option.
    value
        Its value, as Python writes it.
    """
    if option.is_switch:
        return option.flag if value == "True" else f"no {option.flag}"
    if value == "None":
        return f"no {option.flag}"
    if value[:1] == "{":
        return f"{option.flag} FILE.csv, with the lines {_write_rows(value)}"
    values = _read_values(value)
    if option.is_repeated:
        return " ".join(f"{option.flag} {shlex.quote(one)}" for one in values)
    text = ",".join(values)
    return f"{option.flag} {text if text in ('...', 'NAME') else shlex.quote(text)}"


def _read_values(value: str) -> list[str]:
    """List the values that Python would read; several targets of one are joined by ``+``."""
    try:
        found = ast.literal_eval(value.replace("[...]", "..."))
    except (ValueError, SyntaxError):
        return [value]
    if found is Ellipsis:
        return ["..."]
    if isinstance(found, int | float):
        return [value]
    listed: Iterable[object] = found if isinstance(found, list | tuple) else [found]
    return [_write_value(one) for one in listed]


def _write_rows(value: str) -> str:
    """Write a dictionary as the lines of a file, which has a table in its place."""
    try:
        table = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        table = {}
    return ", ".join(repr(f"{k},{v}") for k, v in [("guide", "gene"), *table.items()])


def _write_value(value: object) -> str:
    if value is Ellipsis:
        return "..."
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
