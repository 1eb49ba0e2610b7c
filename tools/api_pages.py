"""Writes docs/api/*.md from the `__all__` of the sub-packages: run it when a public name comes or goes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

API = Path(__file__).parent.parent / "docs" / "api"

#: Page -> title, text, packages.
PAGES = {
    "datasets": (
        "Data sets: `td.datasets`",
        "Downloads with checksums and licences, and a simulator that needs no download.",
        ["datasets"],
    ),
    "io": ("Input: `td.io`", "Read files into MuData.", ["io"]),
    "pp": ("Preparation: `td.pp`", "Turn a MuData into what the models read.", ["pp"]),
    "model": (
        "Models: `td.model`",
        "Models of scvi-tools. Beside the methods listed on their pages they have those of every scvi-tools model: `save`,\n"
        "`load`, `history`, `is_trained`, `view_anndata_setup` and so on.",
        ["model"],
    ),
    "tl": ("Tools: `td.tl`", "Run a method on an object and write its slots.", ["tl"]),
    "pl": (
        "Plots: `td.pl`",
        "Draw what the tools have written. Plots return their axes and read slots only.",
        ["pl"],
    ),
    "get": ("Tables: `td.get`", "Read what the tools have written, as tables.", ["get"]),
    "genome": ("Genome: `td.genome`", "What needs a genome and no AnnData: tables in, tables out.", ["genome"]),
    "train": (
        "Training: `td.train`",
        "Settings of a training run, and the parts of it that a model may replace.",
        ["train"],
    ),
    "data": (
        "Batches and collections: `td.data`",
        "Count data as batches of sparse tensors; files of many studies as one collection on disk, see [](../user_guide/collections.md).",
        ["data"],
    ),
    "nn": ("Layers and likelihoods: `td.nn`", "Torch only; see [](../user_guide/fast_counts.md).", ["nn"]),
    "base": (
        "Shared bases: `td.module.base`, `td.model.base`",
        "What the models of the package are built from; its interface may change between versions.",
        ["module.base", "model.base"],
    ),
    "module": ("Modules: `td.module`", "The networks behind the models.", ["module"]),
    "kernels": ("Kernels: `td.kernels`", "Maths on arrays, without AnnData and without torch.", ["kernels"]),
}


def block(package: str) -> str:
    """The list of a package's names, from which Sphinx makes a table and a page a name."""
    names = import_module(package).__all__
    if not names:
        return ""
    lines = [f".. currentmodule:: {package}", "", ".. autosummary::", "   :toctree: generated", ""]
    return "\n".join(["", "```{eval-rst}", *lines, *(f"   {name}" for name in names), "```", ""])


def page(name: str) -> str:
    """The text of a page."""
    title, text, packages = PAGES[name]
    return f"# {title}\n\n{text}\n" + "".join(block(f"sctandem.{package}") for package in packages)


if __name__ == "__main__":
    for name in PAGES:
        (API / f"{name}.md").write_text(page(name))
