"""What a user gives for an argument, checked where it enters: one validator for each kind.

Each returns what it was given, as plain Python where NumPy has scalars of its own, or raises
:class:`InvalidArgumentError`, which says what was given and what is taken.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from anndata import AnnData

Kind = TypeVar("Kind")

MAX_SEED = 2**32 - 1
MAX_STEPS = 10**9
# Nothing learned is that wide; more is a slip, which would take all memory before it failed.
MAX_WIDTH = 2**14
# A part of a path that file systems take, in bytes.
_MAX_NAME = 255


class InvalidArgumentError(ValueError, TypeError):
    """An argument of a wrong type or out of range.

    It is both errors, so that whoever expects either of them catches it.
    """


def show(value: object, n_letters: int = 80) -> str:
    """Write a value in one short line, for a message.

    Parameters
    ----------
    value
        What was given.
    n_letters
        Most letters that are shown of it.

    Returns
    -------
    The beginning of its ``repr``.
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= n_letters else f"{text[: n_letters - 4]} ..."


def refuse(name: str, value: object, wanted: str) -> InvalidArgumentError:
    """Make the error that says what was given for an argument, and what is taken."""
    is_plain = value is None or isinstance(value, str | bool | int | float | Real)
    kind = "" if is_plain else f" is of type {type(value).__name__}"
    return InvalidArgumentError(f"{name}={show(value)}{kind}. Give {wanted}.")


def refuse_ignored(why: str, **given: object) -> None:
    """Raise where an argument was given that would be ignored.

    Parameters
    ----------
    why
        What it is for, and what to do.
    given
        Arguments, by name; ``None`` is not given.
    """
    for name, value in given.items():
        if value is not None:
            raise InvalidArgumentError(f"{name}={show(value)} would be ignored: {why}")


def check_whole(
    name: str, value: object, *, least: int = 1, most: int | None = None, hint: str = ""
) -> int:
    """Check a whole number; NumPy's are taken, True and False are none.

    Parameters
    ----------
    name, value
        The argument.
    least, most
        Its bounds; no upper one by default.
    hint
        What else is taken, or how it is written.
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or not least <= value or (most is not None and value > most):  # type: ignore[operator]
        lower = "" if least == -MAX_STEPS else f" from {least}"
        upper = "" if most is None else f" to {most}"
        raise refuse(name, value, f"a whole number{lower}{upper}{hint}")
    return int(value)  # type: ignore[call-overload]


def check_budget(name: str, value: object) -> int | None:
    """Check a number of epochs or steps of training; ``None`` is the default of a method.

    Parameters
    ----------
    name, value
        The argument.
    """
    if value is None:
        return None
    return check_whole(name, value, least=0, most=MAX_STEPS, hint=", or None for the default")


def check_seed(value: object, name: str = "seed") -> int:
    """Check a seed that all generators take.

    Parameters
    ----------
    value
        What a user gave.
    name
        Name of the argument.
    """
    return check_whole(name, value, least=0, most=MAX_SEED, hint=f", such as {name}=0")


def check_number(
    name: str,
    value: object,
    *,
    least: float = 0,
    most: float = math.inf,
    is_open: bool = False,
    hint: str = "",
) -> float:
    """Check a finite number; NumPy's are taken, True and False are none.

    Parameters
    ----------
    name, value
        The argument.
    least, most
        Its bounds.
    is_open
        Whether the lower bound itself is refused.
    hint
        What else is taken, or how it is written.
    """
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    number = float(value) if is_real else math.nan  # type: ignore[arg-type]
    if not (math.isfinite(number) and least <= number <= most) or (is_open and number == least):
        where = f" from {least:g}" if math.isfinite(least) else ""
        where = f" above {least:g}" if is_open else where
        upper = f" to {most:g}" if math.isfinite(most) else ""
        raise refuse(name, value, f"a finite number{where}{upper}{hint}")
    return value if isinstance(value, int | float) else number


def check_flag(name: str, value: object) -> bool:
    """Check a switch; NumPy's is taken, 0 and 1 are none.

    Parameters
    ----------
    name, value
        The argument.
    """
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise refuse(name, value, "True or False")
    return bool(value)


def check_text(name: str, value: object, what: str = "a name, as text that is not empty") -> str:
    """Check a name.

    Parameters
    ----------
    name, value
        The argument.
    what
        What it stands for.
    """
    if not isinstance(value, str) or not value.strip():
        raise refuse(name, value, what)
    return str(value)


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Check that one of the known choices was made.

    Parameters
    ----------
    name, value
        The argument.
    choices
        What can be chosen.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgumentError(f"{name}={show(value)} is unknown. Choose one of {[*choices]}.")
    return str(value)


def list_values(name: str, value: object, wanted: str) -> list[Any]:
    """List what holds several values; text, bytes and tables hold none, nor do mappings.

    Parameters
    ----------
    name, value
        The argument.
    wanted
        What is taken.
    """
    is_one = isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) == 0
    if is_one or not isinstance(value, Iterable) or hasattr(value, "columns"):
        raise refuse(name, value, wanted)
    return [*value]


def check_names(name: str, value: object, what: str = "names") -> tuple[str, ...]:
    """Check names, of which there may be one, several or none; ``None`` is none.

    Parameters
    ----------
    name, value
        The argument.
    what
        What they name.
    """
    if value is None:
        return ()
    wanted = f"{what} as text, such as {name}=['...']"
    names = [value] if isinstance(value, str) else list_values(name, value, wanted)
    if not all(isinstance(one, str) and one.strip() for one in names):
        if all(isinstance(one, str) for one in names):
            raise InvalidArgumentError(f"{name}={show(value)} has an empty text. Give {wanted}.")
        raise refuse(name, value, wanted)
    # A column that is named twice would be there twice in what is written.
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice and name == "context_keys":
        raise InvalidArgumentError(f"{name}={show(value)} has {twice} twice. Name each once.")
    return tuple(map(str, names))


def check_labels(name: str, value: object) -> Any:
    """Check perturbations, or contexts: labels, or sequences of targets (of values).

    Parameters
    ----------
    name, value
        The argument.
    """
    wanted = "labels, such as ['A', 'A+B'], or sequences of targets, [('A', 'B')], all as text"
    if isinstance(value, str):
        return value
    listed = list_values(name, value, wanted)
    # Contexts are named by values of columns, which may be numbers.
    kinds = str | Integral if name == "contexts" else str
    for one in listed:
        is_text = isinstance(one, str)
        is_list = isinstance(one, Iterable) and getattr(one, "ndim", 1) == 1
        if not is_text and not (is_list and all(isinstance(part, kinds) for part in one)):
            raise InvalidArgumentError(
                f"{name}={show(value)}: {show(one)} stands where a perturbation is named. "
                f"Give {wanted}."
                if name != "contexts"
                else f"{name}={show(value)}: {show(one)} names no context. Give names, such as "
                "contexts=['K562'], or values of several columns, [('K562', 'day 2')]."
            )
    return [str(one) if isinstance(one, str) else one for one in listed]


def check_array(name: str, value: object) -> Any:
    """Read numbers into an array of float64.

    Parameters
    ----------
    name, value
        The argument.
    """
    import numpy as np

    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise refuse(name, value, f"an array of numbers ({error})") from error
    return array


def check_instance(name: str, value: object, kind: type[Kind], hint: str) -> Kind:
    """Check that an object is of a class.

    Parameters
    ----------
    name, value
        The argument.
    kind
        The class.
    hint
        What is taken, and how it is made.
    """
    if not isinstance(value, kind):
        raise refuse(name, value, hint)
    return value


def check_path(name: str, value: object) -> Path:
    """Check that a path can be one; whether something is there is another question.

    Parameters
    ----------
    name, value
        The argument.
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise refuse(name, value, "a path, as text or a pathlib.Path")
    path = Path(value)
    if any(len(os.fsencode(part)) > _MAX_NAME for part in path.parts):
        raise refuse(name, value, f"a path whose parts have at most {_MAX_NAME} letters each")
    return path


def check_adata(value: object, name: str = "adata", *, takes_views: bool = True) -> AnnData:
    """Check that an AnnData was given, or say how what was given becomes one.

    Parameters
    ----------
    value
        What a user gave.
    name
        Name of the argument.
    takes_views
        Whether it may be a part of other data, which cannot be written into.
    """
    from anndata import AnnData

    if isinstance(value, AnnData):
        if value.is_view and not takes_views:
            # A view of a backed file cannot be copied without naming another file.
            verb = "to_memory" if value.isbacked else "copy"
            raise InvalidArgumentError(
                f"{name} is a view of other data, {show(value)}. Make it data of its own: "
                f"{name} = {name}.{verb}()"
            )
        return value
    kind = type(value).__name__
    if isinstance(value, str | os.PathLike):
        wanted = f"the data themselves: {name} = anndata.read_h5ad({str(value)!r})"
    elif kind == "MuData":
        raise InvalidArgumentError(
            f"A MuData was given; it holds {list(value.mod)}. Take the modality with the "  # type: ignore[attr-defined]
            f"expression: {name} = scbig.data.from_mudata(mdata, modality='...')"
        )
    elif kind in ("DataFrame", "ndarray") or kind.startswith(("csr_", "csc_")):
        wanted = f"an AnnData with labels in obs: {name} = anndata.AnnData(X, obs=..., var=...)"
    else:
        wanted = f"an AnnData, such as {name} = anndata.read_h5ad('screen.h5ad')"
    raise refuse(name, value, wanted)
