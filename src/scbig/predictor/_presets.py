"""Settings by the name of a preset, alike for all models."""

from collections.abc import Mapping
from typing import TypeVar

Config = TypeVar("Config")


def choose_preset(
    preset: str | Config, presets: Mapping[str, Config], config_class: type[Config]
) -> Config:
    """Return the settings of a preset, or the settings that are given.

    Parameters
    ----------
    preset
        Name of a preset, or settings.
    presets
        Settings by name.
    config_class
        Class of the settings.

    Returns
    -------
    The settings.

    Raises
    ------
    ValueError
        When there is no such preset.
    """
    if isinstance(preset, config_class):
        return preset
    if not isinstance(preset, str) or preset not in presets:
        raise ValueError(
            f"preset={preset!r} is unknown. Choose one of {list(presets)}, "
            f"or give a {config_class.__name__}."
        )
    return presets[preset]
