"""Loads scvi-tools first, without what tqdm says of notebooks that lack ipywidgets."""

import warnings


def _load() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import scvi  # noqa: F401


_load()
