"""Optional dependencies: a missing extra becomes an ImportError with the line that mends it."""

from importlib import import_module
from types import ModuleType


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
            f"{module} is not installed. Install it with: pip install 'scbig[{extra}]'"
        ) from error
