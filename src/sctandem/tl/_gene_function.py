from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import (
    check_complete,
    check_modalities,
    check_n_cells,
    check_number,
    check_positive,
    check_same_cells,
    check_slot,
    check_slot_names,
    check_target,
    check_unique,
    nonempty,
    working_copy,
)
from sctandem._chromatin_keys import PEAK_PLACES, PEAK_ROLES, GeneFunctionKeys
from sctandem._keys import GeneWindowKeys
from sctandem._open_chromatin import cell_column, cell_numbers, check_no_genes, read_counts
from sctandem._text_rows import text_rows
from sctandem.genome._place import annotation, has_places, match_measured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData
    from mudata import MuData
    from scipy import sparse

    from sctandem.kernels._gene_function import PeakEffects

logger = logging.getLogger(__name__)

#: A peak that reaches into this part of the gene is its promoter, bp from the transcription start site.
PROMOTER = (-1000, 500)
#: A peak that is open in a smaller share of the cells, or whose log accessibility varies by less, is never called silent.
LEAST_OPEN, LEAST_VARIATION = 0.02, 0.2
#: Cells with counts in both modalities, at least.
LEAST_CELLS = 50


def gene_function(
    mdata: MuData,
    genes: str | Path | pd.DataFrame | None = None,
    *,
    batch_key: str | None = None,
    size_factor_key: str | None = None,
    min_effect: float = 0.2,
    fdr: float = 0.1,
    modalities: Mapping[str, str] | None = None,
    windows_key: str = "gene_windows",
    key_added: str = "gene_function",
    copy: bool = False,
) -> MuData | None:
    r"""Say of each peak around each gene what it does: activate, repress, nothing although it is open, or undecided.

    Needs :func:`sctandem.pp.gene_windows`, and counts in ``X`` of both modalities.

    Parameters
    ----------
    mdata
        Expression and accessibility of the same cells.
    genes
        Where the genes lie (a file or table, as in :func:`sctandem.pp.gene_windows`), to tell the gene's body. By default the coordinates
        in the ``var`` of the expression, where there are any.
    batch_key
        Column of ``obs`` (of `mdata` or the expression) with the batch, which is regressed out beside the depths.
    size_factor_key
        Column of ``obs`` with the library size of each cell's RNA in counts; `None` for the total counts. Needed where the genes are
        a selection.
    min_effect
        The smallest effect that means something: change of the natural logarithm of expression per standard deviation of the peak's
        log accessibility over cells. A silent peak does less.
    fdr
        False discovery rate, of activators and repressors together and of silent peaks, between 0 and 1.
    modalities
        From the roles ``"rna"`` and ``"atac"`` to the names of the modalities in `mdata`. By default the same.
    windows_key
        The `key_added` of :func:`sctandem.pp.gene_windows`.
    key_added
        Name of the result.
    copy
        Return a copy with the result instead of writing it to `mdata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `mdata.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row per gene and peak of its window, in the order of the genes and from 5' to 3' of each: ``gene``, ``peak`` (category),
        ``distance`` (int64, bp to the middle of the peak, negative upstream), ``place`` (category; ``"promoter"``: reaches into
        -1,000 to +500 bp of the TSS, ``"gene body"``: overlaps it, ``"distal"``), ``role`` (category; ``"activator"``, ``"repressor"``,
        ``"silent"``, ``"undecided"``), ``openness`` (float64, share of cells with a count), ``variation`` (float64, standard deviation
        over cells of the natural-log accessibility that cells have in common with others), ``effect`` and ``se`` (float64; natural-log expression per standard
        deviation, *given the other peaks of the window*), ``score`` (float64, the effect shrunken towards what is expected of such a peak: the
        best to rank by), ``pvalue``, ``fdr`` (float64; that there is no effect), ``silent_fdr`` (float64; that the effect reaches
        `min_effect`). NaN in ``effect``, ``se``, ``pvalue`` and ``fdr`` for genes and peaks with too few counts.
    `mdata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with; ``spread``, the standard deviation of the statistics of peaks of other chromosomes (1 where the standard
        errors are right; they are multiplied by it where it is larger); ``n_bodies``, genes whose body is known.

    Raises
    ------
    KeyError
        When the windows, a modality or a column is missing.
    ValueError
        For values that are not counts, library sizes that are not above 0, cells that differ between the modalities, fewer than 50
        cells with counts in both, or windows of other genes or peaks. Nothing is written then.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Notes
    -----
    Cells are described by 20 components of their chromatin, from which the depth of both modalities and the batch are regressed out.
    Each gene and each peak becomes a profile: its change along these components, by the likelihood of its counts, with the noise that
    the counts imply. Single cells are never pooled or smoothed, which would make correlations of noise. The profile of a gene is the sum of those
    of its peaks times their effects, of a part with other causes (its covariance is learned from all genes), and of noise. The effect of one peak is
    estimated by generalised least squares with all others of the window left random: peaks that open together share the credit, and their errors grow.

    Effects are expected around what peaks that open alike, at like distance and with like neighbours between, do to genes of *other*
    chromosomes. This expectation sets the direction of the test (one-sided) and the weight of the pair in the Benjamini-Hochberg procedure;
    it never enters the estimate of its own gene's p-value. The p-value is the rank among the statistics of peaks of other chromosomes that are as
    open. Where all genes lie on one chromosome nothing is expected, and the test is two-sided.

    ``"silent"`` is a statement with evidence: the peak is open in at least 2 % of the cells, its accessibility varies (0.2 or more), and two one-sided tests
    (`silent_fdr`) exclude an effect of `min_effect` or more. A peak that opens alike in all cells can tell nothing and is undecided.

    On five simulated multiomes of 2,000 cells and 4,000 peaks (``python -m benchmarks gene_activity --part function``) 226 pairs were called at
    10 %, 7.5 % of them falsely, and of 10,712 silent ones 5 % had an effect of `min_effect` or more (9 % of all pairs have). Ranked by ``score``, true links
    reach an average precision of 0.43; correlation over cells reaches 0.29, over neighbours of cells 0.32, distance 0.25, and correlation over
    neighbours times ``exp(-distance / length)`` 0.36 (at the best length, in hindsight). Where links depend on distance and nothing else,
    as in the world ``no_grammar`` of the benchmark, that product ranks better (0.56 to 0.58) than ``score`` (0.44 to 0.52). :func:`sctandem.tl.peak_gene_links` ranks a little
    better (0.45 on the same), takes a hundred times as long and calls 11 pairs. In sparse data little can be said: in 2,641 A549 cells with 300 open peaks each
    nothing was called, though the best-ranked peaks of genes known to follow the treatment are positive.

    All roles are associations: a peak that only opens together with an enhancer of the
    same window is told from it as far as their responses differ, and one outside all windows is not seen. The error rate of ``"silent"`` is that of effects of `min_effect`: smaller
    ones there may be.
    Cost: seconds for 2,000 cells, 4,000 peaks; memory for the counts, and 20 x 20 numbers a gene.

    References
    ----------
    Stuart et al., Single-cell chromatin state analysis with Signac, Nature Methods 18 (2021), for the comparison with other chromosomes.
    Genovese, Roeder & Wasserman, False discovery control with p-value weighting, Biometrika 93 (2006). Schuirmann, A comparison of
    the two one-sided tests procedure, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987).

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=300, n_genes=60, n_peaks=600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.tl.gene_function(mdata, batch_key="batch")
    >>> td.get.gene_function(mdata)["role"].cat.categories.tolist()
    ['activator', 'repressor', 'silent', 'undecided']
    """
    named = check_modalities(mdata, modalities)
    check_target(mdata, key_added, copy=copy)
    check_positive(min_effect, "min_effect")
    check_number(fdr, "fdr", low=0, high=1)
    check_slot_names({"batch_key": batch_key, "size_factor_key": size_factor_key, "windows_key": windows_key})
    inputs = _read(mdata, named, batch_key=batch_key, size_factor_key=size_factor_key, windows_key=windows_key)
    bodies = _gene_bodies(mdata.mod[named["rna"]], genes, inputs.places)

    from sctandem.kernels._cell_functions import cell_functions
    from sctandem.kernels._gene_function import equivalence, peak_effects

    cells = cell_functions(inputs.rna, inputs.atac, library=inputs.library, batch=inputs.batch)
    openness = np.asarray((inputs.atac > 0).mean(axis=0)).ravel()
    effects = peak_effects(inputs.windows, cells, openness, chromosome=inputs.chromosome)
    variation = np.linalg.norm(cells.response, axis=1)[inputs.windows.peak]
    open_ = openness[inputs.windows.peak]
    called = effects.fdr <= fdr
    candidate = (open_ >= LEAST_OPEN) & (variation >= LEAST_VARIATION) & ~called & ~np.isnan(effects.effect)
    silent = equivalence(effects.effect, effects.se, min_effect, candidate=candidate)
    keys = GeneFunctionKeys(key_added)
    result = {
        keys.params: _params(
            named, inputs, effects, {"min_effect": float(min_effect), "fdr": float(fdr)}, n_bodies=len(bodies)
        )
        | {
            name: value
            for name, value in (
                ("batch_key", batch_key),
                ("size_factor_key", size_factor_key),
                ("windows_key", windows_key),
            )
            if value is not None
        },
        keys.table: inputs.pairs.assign(
            **{
                keys.place: _place(inputs, bodies),
                keys.role: _role(effects, silent, fdr),
                keys.openness: open_,
                keys.variation: variation,
                keys.effect: effects.effect,
                keys.se: effects.se,
                keys.score: effects.score,
                keys.pvalue: effects.pvalue,
                keys.fdr: effects.fdr,
                keys.silent_fdr: silent,
            }
        ),
    }
    target = working_copy(mdata, copy=copy)
    target.uns[keys.key] = result
    return target if copy else None


@dataclass(frozen=True)
class _Inputs:
    """What is read from the object: counts of the cells that have some in both modalities, and the windows."""

    seen: np.ndarray
    rna: sparse.csr_matrix
    atac: sparse.csr_matrix
    library: np.ndarray
    batch: np.ndarray | None
    windows: Any
    pairs: pd.DataFrame
    width: np.ndarray
    places: pd.DataFrame
    chromosome: np.ndarray


def _read(
    mdata: MuData,
    named: dict[str, str],
    *,
    batch_key: str | None,
    size_factor_key: str | None,
    windows_key: str,
) -> _Inputs:
    """Read and check counts, columns and windows."""
    from sctandem.kernels import Windows

    slots = GeneWindowKeys(windows_key)
    windows = check_slot(mdata.uns, windows_key, "mdata.uns", "td.pp.gene_windows(mdata)")
    check_same_cells(mdata, [named["rna"], named["atac"]])
    rna, atac = mdata.mod[named["rna"]], mdata.mod[named["atac"]]
    check_no_genes(atac.var, f"mdata[{named['atac']!r}]")
    seen, counts = np.ones(rna.n_obs, dtype=bool), []
    for name in (named["rna"], named["atac"]):
        check_unique(mdata.mod[name].var_names, f"mdata[{name!r}].var_names")
        counts.append(read_counts(mdata.mod[name], f"mdata[{name!r}]"))
        seen &= nonempty(counts[-1], f"mdata[{name!r}].X")[0]
    library = None
    if size_factor_key is not None:
        library = cell_numbers(mdata, named["rna"], size_factor_key, argument="size_factor_key")
    if library is not None and not (np.isfinite(library[seen]) & (library[seen] > 0)).all():
        bad = library[seen][~(np.isfinite(library[seen]) & (library[seen] > 0))][0]
        msg = (
            f"size_factor_key={size_factor_key!r} holds {bad}: library sizes are counts above 0; leave out such cells."
        )
        raise ValueError(msg)
    purpose = "telling what peaks do from cells with counts in both modalities"
    check_n_cells(int(seen.sum()), LEAST_CELLS, purpose, "mdata")
    batch = None
    if batch_key is not None:
        column = cell_column(mdata, named["rna"], batch_key)[seen]
        check_complete(column, f"batch_key={batch_key!r}", "give these a batch, or leave them out")
        batch = pd.get_dummies(column.astype(str), dtype=np.float64).to_numpy()[:, 1:]
    pairs = windows[slots.pairs]
    gene = rna.var_names.get_indexer(pairs[slots.gene].astype(str))
    peak = atac.var_names.get_indexer(pairs[slots.peak].astype(str))
    if len(pairs) == 0 or (gene < 0).any() or (peak < 0).any():
        n = int(((gene < 0) | (peak < 0)).sum())
        msg = (
            f"mdata.uns[{windows_key!r}] has {len(pairs)} pairs, {n} of them of genes or peaks that mdata does not hold: it was made of "
            "other data. Run td.pp.gene_windows(mdata) again."
        )
        raise ValueError(msg)
    distance, width = pairs[slots.distance].to_numpy(), pairs[slots.width].to_numpy()
    order = np.lexsort((distance, gene))
    columns = [slots.gene, slots.peak, slots.distance]
    expression, accessibility = (matrix[seen] for matrix in counts)
    places = windows[slots.genes]
    chromosome = places[slots.chrom].astype(str).reindex(rna.var_names).fillna("").to_numpy(str)
    return _Inputs(
        seen=seen,
        rna=expression,
        atac=accessibility,
        library=np.asarray(expression.sum(1), dtype=np.float64).ravel() if library is None else library[seen],
        batch=batch,
        windows=Windows.build(gene, peak, distance=distance, width=width, n_genes=rna.n_vars),
        pairs=text_rows(pairs[columns].iloc[order]),
        width=width[order],
        places=places,
        chromosome=chromosome,
    )


def _gene_bodies(rna: AnnData, genes: str | Path | pd.DataFrame | None, places: pd.DataFrame) -> pd.DataFrame:
    """Return start and end of the genes whose body is known: all intervals of the annotation that hold the gene's start."""
    slots = GeneWindowKeys()
    nothing = pd.DataFrame({"start": [], "end": []}, dtype=np.int64)
    if genes is None and not has_places(rna.var):
        logger.warning(
            "no coordinates of genes: peaks in the bodies of genes are called distal; give them as genes=..."
        )
        return nothing
    match = match_measured(annotation(rna.var, genes, "the expression's var")[1], rna.var)
    names = pd.Series(rna.var_names, index=match.keys)
    rows = match.genes[match.genes[match.by].isin(match.keys)]
    rows = rows.assign(gene=names[~names.index.duplicated()].reindex(rows[match.by]).to_numpy())
    tss = places[slots.tss].reindex(rows["gene"]).to_numpy(np.float64)
    rows = rows[(rows["start"] <= tss) & (tss < rows["end"])]
    return rows.groupby("gene").agg(start=("start", "min"), end=("end", "max"))


def _place(inputs: _Inputs, bodies: pd.DataFrame) -> pd.Categorical:
    """Say where each peak lies."""
    slots = GeneWindowKeys()
    gene, distance = inputs.pairs[slots.gene].astype(str), inputs.pairs[slots.distance].to_numpy()
    low, high = distance - inputs.width / 2, distance + inputs.width / 2
    tss = inputs.places[slots.tss].reindex(gene).to_numpy()
    backward = (inputs.places[slots.strand].reindex(gene) == "-").to_numpy()
    span = bodies.reindex(gene).to_numpy(np.float64) - tss[:, None]
    first, last = np.where(backward, -span[:, 1], span[:, 0]), np.where(backward, -span[:, 0], span[:, 1])
    promoter = (high > PROMOTER[0]) & (low < PROMOTER[1])
    body = (high > first) & (low < last)  # never where the body is not known
    return pd.Categorical.from_codes(np.where(promoter, 0, np.where(body, 1, 2)), list(PEAK_PLACES))


def _role(effects: PeakEffects, silent: np.ndarray, fdr: float) -> pd.Categorical:
    """Decide on the role: an effect goes before silence, and what is neither is undecided."""
    called = effects.fdr <= fdr
    codes = np.select([called & (effects.effect > 0), called & (effects.effect < 0), silent <= fdr], [0, 1, 2], 3)
    return pd.Categorical.from_codes(codes, list(PEAK_ROLES))


def _params(
    named: dict[str, str], inputs: _Inputs, effects: PeakEffects, given: dict[str, float], *, n_bodies: int
) -> dict[str, Any]:
    """Lay out what the result was made with."""
    return {
        **given,
        **named,
        "n_cells": int(inputs.library.size),
        "n_tested": int(np.isfinite(effects.pvalue).sum()),
        "n_bodies": int(n_bodies),
        "spread": float(effects.spread),
        "version": version("sctandem"),
    }
