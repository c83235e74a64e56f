"""Sphinx settings. `make docs` builds offline, nitpicky, with warnings as errors."""

import os
from importlib import import_module

import scbig

project = "scbig"
author = "The scbig developers"
copyright = "2026, The scbig developers"
version = release = scbig.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "scanpydoc.elegant_typehints",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "scripts"]

html_theme = "sphinx_book_theme"
html_title = "scbig"
html_theme_options = {
    "repository_url": "https://github.com/scbig/scbig",
    "path_to_docs": "docs",
    "use_repository_button": True,
}

# Tutorials carry their outputs (`make notebooks` runs them); the build only renders them.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = True
napoleon_use_param = True
typehints_defaults = "braces"
always_use_bars_union = True

# Other projects' inventories come from the internet, so they are only asked for where there is
# one. Names outside scbig, and private ones, may stay plain text; ours must resolve.
if os.environ.get("READTHEDOCS") or os.environ.get("SCBIG_INTERSPHINX"):
    intersphinx_mapping = {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/pandas-docs/stable/", None),
        "python": ("https://docs.python.org/3/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "scvi-tools": ("https://docs.scvi-tools.org/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!scbig\b).*"),
    (r"py:.*", r"scbig\.(.*\.)?_.*"),
]


def get_public_names() -> dict[str, str]:
    """Where each class of scbig is defined -> where its readers find it."""
    names = {}
    for room in scbig.__all__:
        if room == "__version__":
            continue
        module = import_module(f"scbig.{room}")
        for name in module.__all__:
            member = getattr(module, name)
            if isinstance(member, type):
                defined = f"{member.__module__}.{member.__qualname__}"
                # Of two rooms that export a class, the page of the first one has it.
                names.setdefault(defined, f"scbig.{room}.{name}")
    return names


qualname_overrides = get_public_names()
