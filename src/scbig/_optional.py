"""What is loaded, and when: scbig as pip has it, its extras, and rooms on their first use."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from types import ModuleType
from typing import Any

# The name for pip. On the public index `scbig` is another project, with the same import name.
DISTRIBUTION = "scbig-perturb"
STRANGER = "scbig"

_AUTHOR = "Author: The scbig developers"
# Both distributions keep their files in one folder: to remove either tears holes in the other.
_MEND = f"pip uninstall {STRANGER} && pip install --force-reinstall --no-deps"


def get_version() -> str:
    """Look up the version of the installed scbig.

    Warns where another distribution of the same import name is installed. To look for it costs
    next to nothing: the folders of `sys.path` have been listed for the version already.

    Returns
    -------
    The version.

    Raises
    ------
    ImportError
        When scbig was not installed, with the command that installs it.
    """
    own, other = _find(DISTRIBUTION), _find(STRANGER)
    if other is not None and _is_ours(other):
        # Made from a clone before the rename, for nothing was released under that name.
        _warn(
            f"scbig is installed under its former name {STRANGER!r}, which does no harm. "
            f"Rename it, in the folder of the clone: {_MEND} -e .",
            UserWarning,
        )
        own = own or other
    elif other is not None:
        _warn(
            f"Another project of the same import name is installed, {STRANGER!r}, and may have "
            f"replaced files of scbig. Mend both: {_MEND} {DISTRIBUTION} (or . in a clone)",
            RuntimeWarning,
        )
    if own is None:
        raise ImportError("scbig is not installed. In the folder of its clone: pip install -e .")
    return own.version


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Parameters
    ----------
    module
        Name of the module to import.
    extra
        The extra of scbig that installs it.

    Returns
    -------
    The imported module.

    Raises
    ------
    ImportError
        When the module is missing, with the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ImportError(
            f"{module} is not installed. Install it with: pip install '{DISTRIBUTION}[{extra}]'"
        ) from error


def load_lazily(
    room: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` of a room whose names load on first use.

    Parameters
    ----------
    room
        Its ``__name__``.
    homes
        By name, the module that has it.

    Returns
    -------
    Both functions.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return load, lambda: sorted(homes)


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _is_ours(found: Distribution) -> bool:
    """Whether we made it. A half-removed distribution has no metadata, and is not ours."""
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    return _AUTHOR in text.splitlines()


def _warn(message: str, category: type[Warning]) -> None:
    # Past this function, `get_version` and `scbig/__init__.py`: the line that imports scbig.
    warnings.warn(message, category, stacklevel=4)
