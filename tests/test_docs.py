"""Every public name is on its API page and documents each of its parameters."""

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import scbig

API = Path(__file__).parents[1] / "docs" / "api"
ROOMS = [name for name in scbig.__all__ if name != "__version__"]


def get_public_members() -> Iterator[tuple[str, str, object]]:
    for room in ROOMS:
        module = import_module(f"scbig.{room}")
        yield from ((room, name, getattr(module, name)) for name in module.__all__)


def get_callables() -> Iterator[tuple[str, Callable, str]]:
    """Give every public function, constructor and method: its name, itself, its docstring."""
    for room, name, member in get_public_members():
        if not (inspect.isroutine(member) or isinstance(member, type)):
            continue  # a type alias or a constant
        yield f"{room}.{name}", member, get_docstring(member)
        if isinstance(member, type):
            for method in get_own_methods(member):
                yield f"{room}.{name}.{method}", getattr(member, method), join(member, method)


def get_docstring(member: object) -> str:
    """Docstring; of a class also that of the base that its constructor comes from."""
    docstring = inspect.getdoc(member) or ""
    if isinstance(member, type) and "__init__" not in vars(member):
        owner = next(base for base in member.__mro__ if "__init__" in vars(base))
        if owner.__module__.startswith("scbig."):
            docstring += "\n\n" + (inspect.getdoc(owner) or "")
    return docstring


def join(cls: type, method: str) -> str:
    """Docstrings of a method and of those that it overrides, which it need not repeat."""
    owners = [base for base in cls.__mro__ if method in vars(base)]
    found = [inspect.getdoc(getattr(base, method)) for base in owners]
    return "\n\n".join(filter(None, found))


def get_own_methods(cls: type) -> list[str]:
    """Public methods that scbig itself defines, in the class or in a mixin of ours."""
    owners = [base for base in cls.__mro__ if base.__module__.startswith("scbig.")]
    names = {name for base in owners for name in vars(base) if not name.startswith("_")}
    return sorted(
        name
        for name in names
        # Python 3.13 takes a cached property for a routine too.
        if inspect.isroutine(getattr(cls, name, None))
        and callable(getattr(cls, name))
        and getattr(getattr(cls, name), "__module__", "").startswith("scbig.")
    )


def get_documented(docstring: str) -> set[str]:
    """Names in the Parameters section of a numpy-style docstring (or a record's Attributes)."""
    names: set[str] = set()
    for section in ("Parameters", "Attributes"):
        pattern = rf"^{section}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}\n|\Z)"
        for body in re.findall(pattern, docstring, flags=re.MULTILINE | re.DOTALL):
            for line in re.findall(r"^\S.*$", body, flags=re.MULTILINE):
                names.update(part.strip(" *") for part in line.split(" : ")[0].split(","))
    return names


def get_expected(function: Callable) -> set[str]:
    if getattr(function, "_is_protocol", False):
        return set()  # has no constructor of its own
    parameters = inspect.signature(function).parameters
    return set(parameters) - {"self", "cls"}


CALLABLES = list(get_callables())


@pytest.mark.parametrize("room", ROOMS)
def test_api_page_lists_the_room(room: str):
    page = (API / f"{room}.md").read_text("utf-8")
    listed = re.findall(rf"^   {room}\.(\w+)$", page, flags=re.MULTILINE)
    module = import_module(f"scbig.{room}")
    listed += [name for home, name in get_links(page) if is_same(home, module, name)]
    assert sorted(listed) == sorted(module.__all__)


def get_links(page: str) -> set[tuple[str, str]]:
    """Rooms and names that a page refers to."""
    return set(re.findall(r"\{(?:class|func|data)\}`~?scbig\.(\w+)\.(\w+)`", page))


def is_same(home: str, module: ModuleType, name: str) -> bool:
    """Whether a room exports what has its entry on the page of another room."""
    other = import_module(f"scbig.{home}")
    is_in_both = name in module.__all__ and name in other.__all__
    return other is not module and is_in_both and getattr(module, name) is getattr(other, name)


def test_api_index_lists_the_rooms():
    page = (API / "index.md").read_text("utf-8")
    assert [room for room in ROOMS if f"({room}.md)" not in page] == []


@pytest.mark.parametrize(
    ("name", "function", "docstring"), CALLABLES, ids=[name for name, *_ in CALLABLES]
)
def test_parameters_are_documented(name: str, function: Callable, docstring: str):
    assert len(docstring) > 20, f"{name} has no docstring"
    missing = get_expected(function) - get_documented(docstring)
    assert missing == set(), f"{name} does not document {sorted(missing)}"


def test_sections_are_read():
    lines = ["Title.", "", "Parameters", "----------", "a, b", "    Text: more.", "*c : int", ""]
    docstring = "\n".join([*lines, "Returns", "-------", "d", "", "Attributes", "----------", "e"])
    assert get_documented(docstring) == {"a", "b", "c", "e"}
