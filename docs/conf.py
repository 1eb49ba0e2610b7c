"""Settings of the documentation. Built by `make docs`, with warnings as errors and without the network."""

from __future__ import annotations

import inspect
import os
import re
import warnings
from importlib.metadata import metadata

project = "sctandem"
author = "the sctandem developers"
copyright = f"2026, {author}"
version = release = metadata(project)["Version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
templates_path = ["_templates"]
default_role = "literal"
nitpicky = True

# Names of this package must resolve. Names of others are links only where their inventories may be fetched
# (SCTANDEM_INTERSPHINX=1), so that the build needs no network and does not fail with someone else's server.
nitpick_ignore_regex = [(r"py:.*", r"(?!sctandem\.).*")]
# what one function gives, and nobody makes: its docstring says what it holds
nitpick_ignore = [
    ("py:class", "sctandem.genome._chipexo.ChipexoSites"),
    ("py:class", "sctandem.kernels._streamed_moments.Components"),
    ("py:class", "sctandem.module.base._take_over.FeatureMap"),
    ("py:class", "sctandem.nn._perturbation.CountBall"),
    ("py:class", "sctandem.train._checkpoint.TrainingPart"),
]
if os.environ.get("SCTANDEM_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "mudata": ("https://mudata.readthedocs.io/en/latest/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "python": ("https://docs.python.org/3/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "scvi": ("https://docs.scvi-tools.org/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

# what the extension for type hints uses of Sphinx is its own affair
warnings.filterwarnings("ignore", message=r"'sphinx_autodoc_typehints\.", category=DeprecationWarning)
warnings.filterwarnings("ignore", message=r"'sphinx_autodoc_typehints\.", category=PendingDeprecationWarning)

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # sphinx_autodoc_typehints writes them into the list of parameters
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
always_use_bars_union = True
typehints_defaults = "braces"
typehints_document_rtype = False  # the section Returns says it, slot by slot

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are committed with their outputs
suppress_warnings = ["mystnb.unknown_mime_type"]  # progress bars
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_theme_options = {"show_toc_level": 2, "use_download_button": False}


def skip_foreign_members(_app, _what, _name, member, skip, _options) -> bool:
    """Leave methods that come with scvi-tools to the documentation of scvi-tools."""
    function = getattr(member, "__func__", getattr(member, "fget", member))
    if inspect.isfunction(function) and not function.__module__.startswith(project):
        return True
    return skip


def write_slots_as_code(_app, _what, _name, _obj, _options, lines: list[str]) -> None:
    """Mend what napoleon makes of a slot in the section Returns: code within bold, which reStructuredText cannot nest."""
    lines[:] = [re.sub(r"\*\*`+([^`]+)`+\*\*", r"``\1``", line) for line in lines]


def setup(app) -> None:
    """Connect what is defined above."""
    app.connect("autodoc-process-docstring", write_slots_as_code, priority=900)  # after napoleon
    app.connect("autodoc-skip-member", skip_foreign_members)
