"""Which kind of argument is which: public functions and records are checked by annotations.

A function that is :func:`checked` gets values of the types that it names, or does not run. What
else an argument has to be, such as above another, it says itself.

Why no library: pydantic's ``validate_call`` turns text into numbers, or when strict refuses those
of NumPy; typeguard looks at the first item of a list and beartype at one by chance; all three
raise errors of their own, which say what is wrong with a type and not what to write instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache, partial, wraps
from inspect import Signature, signature
from numbers import Real
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from scbig._arguments import (
    MAX_STEPS,
    MAX_WIDTH,
    check_adata,
    check_choice,
    check_flag,
    check_instance,
    check_labels,
    check_names,
    check_number,
    check_path,
    check_seed,
    check_text,
    check_whole,
    list_values,
    refuse,
)

Given = ParamSpec("Given")
Result = TypeVar("Result")

# Text that may be empty.
_FREE_TEXT = ("separator", "assembly", "name", "title", "label", "xlabel", "ylabel", "text")
# Labels may be numbers, which are read as text where the screen is.
_LABELS = ("control",)
# What is read, and refused, where the cells are known.
_READ_LATER = ("guide_to_gene",)
# Numbers of which none is no request.
_FROM_ONE = ("n_cells", "n_draws")
# How objects of scbig are made.
_MAKERS = {
    "GeneEmbedding": "scbig.priors.load_gene_embedding(path)",
    "GeneGraph": "scbig.priors.load_string(links, info)",
    "GeneSets": "scbig.priors.load_gene_sets(path)",
    "GeneAliases": "scbig.priors.load_aliases(path)",
    "Loci": "scbig.priors.load_loci(path, assembly='hg38', coordinates='1-based')",
    "GenePrograms": "scbig.programs.get_gene_programs(adata.uns)",
    "ScreenSchema": "scbig.data.infer_schema(adata)",
    "Split": "scbig.splits.make_split(adata, 'unseen')",
    "DataFrame": "pandas.DataFrame(...)",
}


def checked(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Check the arguments of a public function by their annotations, before it runs."""

    @wraps(function)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        form, hints = _read_signature(function)
        try:
            bound = form.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # whose own message names the function
        for name, value in bound.arguments.items():
            if name in hints and name not in _READ_LATER:
                value = _take_numbers(value) if name in _LABELS else value
                bound.arguments[name] = _check_hint(name, value, hints[name])
        return function(*bound.args, **bound.kwargs)

    return run


def _take_numbers(value: Any) -> Any:
    """Write numbers as text, alone or in a list."""
    if isinstance(value, list | tuple):
        return [_take_numbers(one) for one in value]
    # NumPy's truth values are no numbers of Python.
    is_flag = type(value).__name__ in ("bool", "bool_")
    return str(value) if is_flag or (isinstance(value, Real) and value == value) else value


@cache
def _read_signature(function: Callable[..., Any]) -> tuple[Signature, dict[str, Any]]:
    hints = get_type_hints(function)
    return signature(function), {k: v for k, v in hints.items() if k != "return"}


def check_fields(
    record: object,
    *,
    least: Mapping[str, float] | None = None,
    most: Mapping[str, float] | None = None,
) -> None:
    """Check a frozen dataclass by the types of its fields, in its ``__post_init__``.

    Whole numbers are from 1 to :data:`MAX_WIDTH`, others finite and from 0, unless said
    otherwise. NumPy's scalars become Python's, so that settings can be written as JSON.

    Parameters
    ----------
    record
        The settings.
    least, most
        Other bounds, by name.
    """
    hints = get_type_hints(type(record))
    for field in fields(record):  # type: ignore[arg-type]
        name, value, hint = field.name, getattr(record, field.name), hints[field.name]
        is_whole = int in (hint, *get_args(hint))
        bounds = (least or {}).get(name, int(is_whole)), (most or {}).get(name)
        upper = MAX_WIDTH if is_whole and bounds[1] is None else bounds[1]
        object.__setattr__(record, name, _check_hint(name, value, hint, bounds[0], upper))


def _check_hint(
    name: str, value: Any, hint: Any, least: float | None = None, most: float | None = None
) -> Any:
    """Check a value by an annotation; what is of no known kind passes."""
    origin, options = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        return _check_union(name, value, options, least, most)
    if origin is Literal:
        return check_choice(name, value, options)
    if origin is tuple and options[1:] == (...,):
        listed = list_values(name, value, f"a tuple, such as {name}=(...,)")
        return tuple(_check_hint(name, one, options[0], least, most) for one in listed)
    if isinstance(origin, type):
        return _check_several(name, value, origin, options)
    if hint in (int, float):
        return _check_bounded(name, value, hint, least, most)
    return _check_plain(name, value, hint) if isinstance(hint, type) else value


def _check_plain(name: str, value: Any, hint: type) -> Any:
    if hint is bool:
        return check_flag(name, value)
    if hint is str and name not in _FREE_TEXT:
        return check_text(name, value)
    if hint.__name__ == "AnnData":
        return check_adata(value, name)
    if getattr(hint, "_is_protocol", False):
        return _check_protocol(name, value, hint)
    if hint is object:
        return value
    maker = _MAKERS.get(hint.__name__)
    what = "text" if hint is str else f"an object of class {hint.__name__}"
    return check_instance(name, value, hint, f"{what}, such as {name}={maker}" if maker else what)


def _check_protocol(name: str, value: Any, hint: type) -> Any:
    wanted = [part for part in {**vars(hint), **hint.__annotations__} if not part.startswith("_")]
    if lacking := [part for part in wanted if not hasattr(value, part)]:
        raise refuse(name, value, f"a {hint.__name__}, which has {', '.join(lacking)}, too")
    return value


def _check_bounded(
    name: str, value: Any, hint: type, least: float | None, most: float | None
) -> int | float:
    if hint is float:
        lowest = -math.inf if least is None else least
        return check_number(name, value, least=lowest, most=math.inf if most is None else most)
    if name == "seed":
        return check_seed(value)
    usual = 1 if name in _FROM_ONE else 0 if name.startswith("n_") else -MAX_STEPS
    lowest = usual if least is None else least
    return check_whole(name, value, least=int(lowest), most=None if most is None else int(most))


def _check_union(
    name: str, value: Any, options: tuple[Any, ...], least: float | None, most: float | None
) -> Any:
    if value is None and NoneType in options:
        return None
    options = tuple(option for option in options if option is not NoneType)
    if len(options) == 1:
        return _check_hint(name, value, options[0], least, most)
    kinds = [get_origin(option) or option for option in options]
    if PathLike in kinds or Path in kinds:
        return (
            check_path(name, value)
            if isinstance(value, str | PathLike)
            else _check_class(name, value, kinds)
        )
    several = [one for one in options if _is_several(get_origin(one)) and get_args(one)]
    plain = tuple(one for one in options if get_origin(one) is None and isinstance(one, type))
    if several and not isinstance(value, str) and isinstance(value, plain):
        return value
    if str in kinds and isinstance(value, str):
        return check_text(name, value)
    if set(kinds) == {str, Mapping} and not isinstance(value, Mapping):
        raise refuse(name, value, "text, or a dict")
    if len(several) == 1 and set(kinds) <= {str, get_origin(several[0])}:
        return _check_several(name, value, get_origin(several[0]), get_args(several[0]))
    if any(kind.__name__ == "AnnData" for kind in kinds) and several:
        return value  # labels in the place of data are told apart by the function
    if len(several) == 2 and Mapping in kinds:
        is_fit = isinstance(value, Mapping)
        [option] = [one for one in several if (get_origin(one) is Mapping) == is_fit]
        return _check_several(name, value, get_origin(option), get_args(option))
    return _check_class(name, value, kinds)


def _check_class(name: str, value: Any, kinds: list[Any]) -> Any:
    """Check that an object is of one of the classes; of protocols nothing is known."""
    real = tuple(k for k in kinds if isinstance(k, type) and not getattr(k, "_is_protocol", False))
    if len(real) == len(kinds) and not isinstance(value, real):
        is_path = PathLike in real or Path in real
        paths = (str, PathLike, Path) if is_path else ()
        names = ("a path" if k in paths else k.__name__ for k in real)
        raise refuse(name, value, f"one of: {', '.join(dict.fromkeys(names))}")
    return value


def _is_several(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Iterable)


def _check_several(name: str, value: Any, kind: type, inner: tuple[Any, ...]) -> Any:
    """Check what holds several values; names are checked one by one, and so are objects."""
    if issubclass(kind, Mapping):
        parts = check_instance(name, value, Mapping, "a dict")  # type: ignore[type-abstract]
        for part in parts.values() if inner[1:] else ():
            _check_hint(name, part, inner[1])
        return parts
    if not _is_several(kind) or not inner:
        return value
    if inner == (str,):
        names = check_names(name, value)
        return value if isinstance(value, list) else names
    if kind is tuple:
        listed = list_values(name, value, f"a tuple of {len(inner)} values")
        if len(listed) != len(inner):
            raise refuse(name, value, f"a tuple of {len(inner)} values")
        return tuple(map(partial(_check_hint, name), listed, inner))
    if get_origin(inner[0]) in (UnionType, Union):
        are_labels = {get_origin(one) or one for one in get_args(inner[0])} == {str, Sequence}
        if are_labels:
            return check_labels(name, value)
        return list_values(name, value, f"a list, such as {name}=[...]")
    listed = list_values(name, value, f"a list, such as {name}=[...]")
    if _is_several(get_origin(inner[0])) and (text := [o for o in listed if isinstance(o, str)]):
        # Or else it would be taken for a list of letters.
        raise refuse(name, text[0], "lists of them, such as [('A',), ('A', 'B')]")
    return [_check_hint(name, one, inner[0]) for one in listed]
