"""The notebook of the demonstration: written here, executed, and the source of every figure and number."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbformat import NotebookNode


@dataclass(frozen=True)
class Settings:
    """What the notebook is told: its first cell of code."""

    DATA: str | None = None
    GENES: str | None = None
    GROUPBY: str | None = None
    BATCH: str | None = None
    SIZE_FACTOR: str | None = None
    LAYER: str | None = None
    RNA: str = "rna"
    ATAC: str = "atac"
    CHECKOUT: str = ".."
    DRAFT: bool = False

    @property
    def simulated(self) -> bool:
        """Whether the data are simulated, so that the truth is known."""
        return self.DATA is None


def build(settings: Settings) -> NotebookNode:
    """Write the notebook, without outputs. The metadata of a cell of code hold the step, for the terminal."""
    import nbformat.v4 as nbf

    notebook = nbf.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "title": "Expression from chromatin",
        }
    )
    for heading, text, source in _cells(settings):
        notebook.cells.append(nbf.new_markdown_cell(f"{heading}\n\n{text}".strip()))
        if source:
            metadata = {"step": heading.lstrip("# ")}
            if source.startswith("DATA ="):
                metadata["tags"] = ["parameters"]
            notebook.cells.append(nbf.new_code_cell(source, metadata=metadata))
    return notebook


def _cells(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Give heading, text and code of every step."""
    what = "a simulated multiome, whose regulation is known" if settings.simulated else "your multiome"
    yield (
        "# Expression from chromatin",
        ("**DRAFT: the numbers mean nothing.** " if settings.DRAFT else "")
        + f"TAPE learns from {what} to predict the expression of each gene from the accessibility of its peaks, and which peaks "
        "drive which genes. It is judged on cells and genes that it never saw, beside simple answers. Everything in this folder "
        "comes from this notebook.",
        "\n".join(f"{name} = {value!r}" for name, value in asdict(settings).items()),
    )
    yield (
        "## Preparations",
        "",
        """import logging
import sys
import warnings

sys.path.insert(0, CHECKOUT)  # the baselines and the comparisons lie in the checkout, not in the package
warnings.filterwarnings("ignore", category=FutureWarning)  # of the packages underneath
warnings.filterwarnings("ignore", message="IProgress not found")

import pandas as pd
from benchmarks import _demo_data, _demo_figures, _demo_tables
from benchmarks._measure import peak_memory_mb
from IPython.display import display

import sctandem as td

logging.basicConfig(format="note: %(message)s", stream=sys.stdout)
logging.getLogger("sctandem.pp").setLevel(logging.ERROR)  # said below
pd.set_option("display.max_rows", 100)""",
    )
    yield from _data(settings)
    yield from _model(settings)
    yield from _results(settings)


def _data(settings: Settings) -> Iterator[tuple[str, str, str]]:
    if settings.simulated:
        text = (
            "Types of cells along a branching lineage, donors, batches and two conditions. Transcription factors open peaks, and "
            "peaks drive genes by a grammar of side, order and pairs, so that neither distance nor correlation tells the links."
        )
        size = "400, 120, 1200" if settings.DRAFT else "2000, 600, 6000"
        code = f"mdata = td.datasets.simulate_multiome({size}, rng=0)"
    else:
        text = "Counts of genes and of peaks in the same cells."
        code = "mdata = _demo_data.read(DATA, rna=RNA, atac=ATAC, layer=LAYER, genes=GENES)"
        code += """
_demo_data.check_column(mdata, BATCH, "--batch")
_demo_data.check_column(mdata, SIZE_FACTOR, "--size-factor")"""
    code += """
groupby = _demo_data.choose_groups(mdata, GROUPBY)
rna, atac = mdata["rna"], mdata["atac"]
print(f"{mdata.n_obs:,} cells, {rna.n_vars:,} genes, {atac.n_vars:,} peaks; groups by {groupby!r}:")
print(", ".join(f"{group} ({n:,})" for group, n in mdata.obs[groupby].value_counts(sort=False).items()))"""
    yield "## Data", text, code
    yield (
        "## Windows",
        "The peaks within 100 kb of each transcription start site, in order, with distances signed in the direction of "
        "transcription. The genes of one or two whole chromosomes are hidden from the model, where there are genes to spare.",
        """td.pp.gene_windows(mdata, GENES, upstream=100_000, downstream=100_000)
chromosomes, hidden = _demo_data.genes_to_hide(mdata)
windows = mdata.uns["gene_windows"]["genes"]
print(f"{len(windows):,} of {rna.n_vars:,} genes are placed; {windows.n_peaks.median():.0f} peaks a window (median)")
print(f"hidden: {len(hidden)} genes of {', '.join(chromosomes)}" if hidden else "too few genes to hide any")
print(_demo_data.note_on_sizes(mdata, SIZE_FACTOR, hidden))
for caution in _demo_data.cautions(mdata):
    print(caution)""",
    )


def _model(settings: Settings) -> Iterator[tuple[str, str, str]]:
    batch = "'batch'" if settings.simulated else "BATCH"
    if settings.DRAFT:
        make = (
            "from sctandem.module import TAPEConfig\nfrom sctandem.nn import WindowConfig\n\n"
            "# a draft: quick, and not to be believed\n"
            "config = TAPEConfig(windows=WindowConfig(n_members=1, n_steps=60))\n"
            "model = td.model.TAPE(mdata, heldout_genes=hidden, config=config)"
        )
    else:
        make = "model = td.model.TAPE(mdata, heldout_genes=hidden)"
    yield (
        "## Training",
        "On 80 % of the cells. The others, and the hidden genes, have no part in it.",
        f"""td.model.TAPE.setup_mudata(mdata, batch_key={batch}, size_factor_key=SIZE_FACTOR)
{make}
model.train(train_size=0.8, rng=0, progress=True)
print(f"{{len(model.train_indices):,}} cells to learn from, {{len(model.validation_indices):,}} held out")""",
    )
    yield (
        "## Prediction",
        "Expected counts per 10,000 of every gene in every cell, from chromatin alone; and for each gene, over held-out cells, "
        "whether the prediction is worth more than its mean and than the nearest cells. A gene whose prediction is no better "
        "than its mean should be used as if it were its mean. *Better than kNN* means: smaller errors than both, significantly so "
        "(false discovery rate 5 %) after a shift of all predictions of a gene to the reference's mean, and a positive gain. Hidden "
        "genes get no verdict; in the file they are *not scored*.",
        """td.tl.predict_expression(mdata, model, rng=0)
display(_demo_tables.verdict_table(mdata, hidden))
td.get.expression_skill(mdata).sort_values("pearson", ascending=False).head(10).round(3)""",
    )
    yield (
        "## Links",
        "The weight of each peak for each gene, its sign, and a false discovery rate. A link is an association that fits the order "
        "and the distance of the peaks; it does not prove that the peak acts. With some 2,000 cells expect few links below a false "
        "discovery rate of 0.1; look at those between 0.1 and 0.2 as well, and remember that up to one in five of them may be false.",
        """td.tl.peak_gene_links(mdata, model, rng=0)
td.get.peak_gene_links(mdata).head(10).round(4)""",
    )


def _results(settings: Settings) -> Iterator[tuple[str, str, str]]:
    yield (
        "## Against simple answers",
        "Log-normalised counts of held-out cells. *Learned from*: genes that the model was trained on. *Hidden*: genes of whole "
        "chromosomes, of which the model saw only the windows, where any were hidden; the mean, neighbours and ridge regression "
        "cannot predict a gene without its counts. The distance-weighted gene score predicts the former by one line a gene, the latter by one line for "
        "all genes. Pearson and AUROC (of detection) are means over genes, RMSE is over all values, in the same unit: log1p of counts per 10,000. "
        + (
            "The ceiling is what knowing the true rates would give: the rest is sampling noise. It has no RMSE (n/a), because the "
            "logarithm of a mean is not the mean of logarithms."
            if settings.simulated
            else ""
        ),
        """heldout = _demo_tables.predict_heldout(mdata, model, size_factor=SIZE_FACTOR)
skill = _demo_tables.skill_table(heldout)
display(skill)
print(_demo_tables.note_on_rmse(skill))""",
    )
    if settings.simulated:
        yield (
            "## Links against the truth",
            "Average precision of telling the true links from all other pairs within the windows. The decay of *correlation x "
            "exp(-distance)* is the one that does best here, chosen with the truth at hand.",
            """scored = _demo_tables.link_scores(mdata, model)
precision = _demo_tables.precision_table(scored)
precision""",
        )
    yield (
        "## Number of links",
        "At each false discovery rate"
        + (", and the share of them that is true." if settings.simulated else ".")
        + " Hidden genes have none.",
        """links = _demo_tables.link_counts(mdata)
links""",
    )
    yield (
        "## Figure 1: what drives a gene",
        "Arcs lead from the start site of the gene to its peaks, as high as their weight; below, the accessibility of the peaks "
        "in each group of cells." + (" Triangles mark the peaks that truly drive it." if settings.simulated else ""),
        """gene, fdr = _demo_figures.gene_to_show(mdata)
figure = _demo_figures.links_of_gene(mdata, gene, groupby, fdr=fdr)
_demo_figures.save(figure, "links.png", draft=DRAFT)""",
    )
    yield (
        "## Figure 2: predicted against measured",
        "Held-out cells, the six genes that are predicted best.",
        """figure = td.pl.predicted_expression(mdata, groupby=groupby, size_factor_key=SIZE_FACTOR)
_demo_figures.save(figure, "predicted_expression.png", draft=DRAFT)""",
    )
    yield (
        "## Figure 3: skill gene by gene",
        "",
        """figure = _demo_figures.skill_per_gene(heldout)
_demo_figures.save(figure, "skill_per_gene.png", draft=DRAFT)""",
    )
    if settings.simulated:
        yield (
            "## Figure 4: links against the truth",
            "",
            """figure = _demo_figures.precision_recall(scored)
_demo_figures.save(figure, "links_precision_recall.png", draft=DRAFT)""",
        )
    else:
        yield (
            "## Figure 4: programmes",
            "Scores of sets of genes from predicted and from measured expression, over held-out cells: the phases of the cell "
            "cycle where they are measured, and the markers of each group of cells.",
            """sets = _demo_data.programmes(mdata, groupby, size_factor=SIZE_FACTOR)
td.tl.programme_skill(mdata, sets, size_factor_key=SIZE_FACTOR, rng=0)
display(td.get.programme_skill(mdata).round(3))
_demo_figures.save(td.pl.programme_skill(mdata).figure, "programmes.png", draft=DRAFT)""",
        )
    tables = [
        '"Held-out cells: ours against simple answers": skill',
        '"Genes by verdict": _demo_tables.verdict_table(mdata, hidden)',
    ]
    tables.append('"Peak-gene links": links')
    if settings.simulated:
        tables.append('"Links against the truth": precision')
    listed = "".join(f"    {table},\n" for table in tables)
    yield (
        "## Files",
        "",
        f"""tables = {{
{listed}}}
notes = [*_demo_tables.legend(skill), *_demo_tables.legend_of_verdicts(mdata, hidden), _demo_tables.note_on_rmse(skill)]
notes += [_demo_data.note_on_sizes(mdata, SIZE_FACTOR, hidden), *_demo_data.cautions(mdata)]
_demo_tables.write(tables, "tables.txt", notes=notes, draft=DRAFT)
mdata.write_h5mu("demo.h5mu")
print(f"at most {{peak_memory_mb() / 1000:.1f}} GB of memory")""",
    )
