from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sctandem._checks import (
    check_number,
    check_option,
    check_positive,
    check_target,
    working_copy,
)
from sctandem._keys import AnnealKeys
from sctandem._random import draw_seed
from sctandem._representation import check_representation
from sctandem._text_rows import text_rows

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.kernels._annealing_fit import Annealing
    from sctandem.kernels._annealing_tree import SplitTree

logger = logging.getLogger(__name__)

_METRICS = ("within", "given", "kernel")


def anneal(  # noqa: PLR0913 - what is found can be overruled in several ways
    adata: AnnData,
    use_rep: str = "X_pca",
    *,
    n_clusters: int | None = None,
    temperature: float | None = None,
    min_cells: int | None = None,
    metric: Literal["within", "given", "kernel"] = "within",
    max_cells: int = 10_000,
    consensus: bool | None = None,
    key_added: str = "anneal",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Cluster cells by deterministic annealing, which finds the number of clusters.

    Needs a representation of the cells, such as that of :func:`scanpy.pp.pca` or of a model. No graph of neighbours is used.

    Parameters
    ----------
    adata
        The object to write to.
    use_rep
        Key of ``obsm``: cells x dimensions, dense and finite.
    n_clusters
        Number of clusters, at least 1. `None` finds it.
    temperature
        Takes the clusters as the phases have parted them at this temperature, in squared units of `use_rep` (of the feature
        space with ``metric="kernel"``), whatever the metric otherwise, without asking whether valleys part them. One above the first split is
        warned of, and gives one cluster. Not together with `n_clusters`.
    min_cells
        Also looks for rare clusters of at least so many cells, at least 5, among all the cells that the clusters explain
        badly; 20 finds 50 cells of 100,000. `None` does not look. Not together with `n_clusters`, `temperature` or
        ``metric="kernel"``.
    metric
        How distances are measured.

        - ``"within"``: in a second round, so that the clusters of the first are round.
        - ``"given"``: as in `use_rep`.
        - ``"kernel"``: in a kernel feature space, for a few clusters that are connected but not convex, such as rings. Needs
          empty space between them.
    max_cells
        Clusters are found on this many cells at once, at least 100 or all that there are, drawn where there are more (with parts, more than one and
        a half times as many); all are assigned. Which ones are drawn can matter: give `rng`, or a larger
        number, a second more for each 40,000. Clusters with fewer than about ten of these cells are found with `min_cells` only.
    consensus
        Finds clusters on nine overlapping parts, each two thirds of the cells and at most `max_cells`, and keeps what agrees most with
        what the others found: steadier, and nine times as long. `None` does so up to one and a half times `max_cells`, from where on parts
        would have to be drawn. Not together with `n_clusters`, `temperature` or ``metric="kernel"``; below 100 cells without effect.
    key_added
        Name of the result.
    rng
        Seed of the draw; `None` draws one. It changes nothing where no cells are drawn, unless ``metric="kernel"``, which draws
        landmarks. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.obs[key_added]` : :class:`pandas.Series` (dtype ``category``)
        Cluster of each cell, ``"0"`` the one with most mass.
    `adata.obsm["X_<key_added>"]` : :class:`numpy.ndarray` (dtype ``float32``)
        Memberships, cells x clusters; rows add up to 1.
    `adata.obs["<key_added>_entropy"]` : :class:`pandas.Series` (dtype ``float64``)
        Entropy of the memberships of each cell, in nats.
    `adata.uns[key_added]["tree"]` : :class:`pandas.DataFrame`
        A row a node, the root first: ``node``, ``parent`` (-1 for the root), ``temperature`` (below which it splits, NaN for
        a cluster), ``mass`` (share of the cells that clusters were found on), ``n_cells`` (of these), ``evidence`` (lower 95 %
        bound of the logarithm of peak over valley density between its two sides, small where a shoulder parts them), ``forced``
        (whether only `n_clusters` splits it: no valley or shoulder would) and ``cluster`` (empty for a split).
    `adata.uns[key_added]["phases"]` : :class:`pandas.DataFrame`
        A row a temperature of the last round, falling: ``temperature``, ``n_clusters`` (before any are united),
        ``free_energy`` (a cell).
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When `use_rep` is not there; lists what is.
    ValueError
        When it is not finite, does not vary, or by less than 1e-7 or more than 1e15; when there are fewer cells than clusters, options
        contradict each other, the clusters at `temperature` are more than a tenth of the cells (and than 40), or the result would take the place of `use_rep`. Nothing is written then.
    TypeError
        When `adata` is not an AnnData, or a name is not text.

    Notes
    -----
    A cell belongs to a cluster in proportion to :math:`p_j \exp(-|x - y_j|^2 / T)`. As the temperature :math:`T` falls, a
    cluster splits where twice the largest eigenvalue of its covariance exceeds it. The path is followed to 40 small clusters, or
    to the temperature that is likeliest for what they leave. Of these the two are united, again and again, between which
    the density along their discriminant axis (found without the cell that is placed on it) shows no valley of a tenth at
    95 % confidence, unless one is a sure shoulder of the other: two normals explain cells that were held out by ten nats better than
    any log-concave density. Types that overlap further stay one cluster; a long or skewed cloud is not cut. Which small clusters there are
    depends on few cells; so this is done on nine parts of the cells, and the result of the one is kept whose adjusted Rand indices with the others
    have the largest sum. Rare clusters need such a valley between them and all the cells of the clusters nearest to them. Units of
    ``temperature`` in the tree: variances within clusters with ``metric="within"``, kernel features with ``"kernel"``,
    else those of `use_rep`. Runs on the processor, in single precision, in blocks of cells. Cost: seconds up to `max_cells` (nine times as long with `consensus`),
    then linear: a product with 40 centres a cell, or with 1,000 landmarks.

    References
    ----------
    Rose, K. Deterministic annealing for clustering, compression, classification, regression, and related optimization
    problems. Proceedings of the IEEE 86, 2210-2239 (1998).

    Strehl, A. & Ghosh, J. Cluster ensembles - a knowledge reuse framework for combining multiple partitions. Journal of Machine
    Learning Research 3, 583-617 (2002).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> types = rng.integers(3, size=600)
    >>> adata = AnnData(obsm={"X_pca": 8 * np.eye(3, 10)[types] + rng.normal(size=(600, 10))})
    >>> td.tl.anneal(adata)
    >>> adata.obs["anneal"].nunique()
    3
    """
    points = check_representation(adata, use_rep, "annealing")
    check_target(adata, key_added, copy=copy)
    if use_rep == AnnealKeys(key_added).memberships:
        msg = f"use_rep={use_rep!r} is also where the memberships would go, in its place; choose another key_added than {key_added!r}."
        raise ValueError(msg)
    check_number(max_cells, "max_cells", low=min(100, adata.n_obs), whole=True)
    _check_overrules(n_clusters, temperature, min(len(points), max_cells))
    overruled = n_clusters is not None or temperature is not None
    _check_metric(metric, min_cells, overruled=overruled)
    in_parts = _in_parts(consensus, overruled=overruled or metric == "kernel", n_cells=len(points), max_cells=max_cells)
    seed = draw_seed(rng)
    # imported here: nothing else of the package needs it
    from sctandem.kernels._annealing_fit import anneal as fit

    found = fit(
        points,
        n_clusters=n_clusters,
        temperature=temperature,
        n_rounds=2 if metric == "within" else 1,
        max_points=max_cells,
        min_points=min_cells,
        lift=metric == "kernel",
        shoulders=True,
        consensus=in_parts,
        rng=np.random.default_rng(seed),
    )
    if n_clusters is not None and found.memberships.shape[1] < n_clusters:
        msg = f"n_clusters={n_clusters}, but adata.obsm[{use_rep!r}] has only {found.memberships.shape[1]} clusters that part."
        raise ValueError(msg)
    if temperature is not None and temperature >= found.critical:
        logger.warning(
            "temperature=%g is not below the first split, which is at %.3g in %s, so that all cells are one cluster.",
            temperature, found.critical, "kernel features" if metric == "kernel" else f"squared units of adata.obsm[{use_rep!r}]",
        )  # fmt: skip
    params = {"use_rep": use_rep, "metric": metric, "max_cells": max_cells, "consensus": in_parts, "seed": seed}
    given = {"n_clusters": n_clusters, "temperature": temperature, "min_cells": min_cells}
    params |= {name: value for name, value in given.items() if value is not None}
    result = working_copy(adata, copy=copy)
    _write(result, AnnealKeys(key_added), found, {**params, "version": version("sctandem")})
    return result if copy else None


def _check_overrules(n_clusters: Any, temperature: Any, n_cells: int) -> None:
    """Check what replaces the number that is found."""
    if n_clusters is not None and temperature is not None:
        msg = f"n_clusters={n_clusters!r} and temperature={temperature!r} both say where to stop; give one of them."
        raise ValueError(msg)
    if n_clusters is not None:
        check_positive(n_clusters, "n_clusters", whole=True)
        if n_clusters > n_cells:
            msg = f"n_clusters={n_clusters} is more than the {n_cells} cells that clusters are found on."
            raise ValueError(msg)
    if temperature is not None:
        check_positive(temperature, "temperature")


def _check_metric(metric: Any, min_cells: Any, *, overruled: bool) -> None:
    """Check how distances are measured, and whether rare clusters can be looked for."""
    if metric not in _METRICS:
        msg = f"metric={metric!r} is not one of {', '.join(map(repr, _METRICS))}."
        raise ValueError(msg)
    if min_cells is None:
        return
    check_number(min_cells, "min_cells", low=5, whole=True)
    if overruled or metric == "kernel":
        msg = f"min_cells={min_cells} looks for more clusters: not together with n_clusters, temperature or metric='kernel'."
        raise ValueError(msg)


def _in_parts(consensus: Any, *, overruled: bool, n_cells: int, max_cells: int) -> bool:
    """Say whether clusters are found on parts: as asked, else where the parts hold all cells; never of too few."""
    from sctandem.kernels._annealing_consensus import FEWEST

    if consensus is None:
        return n_cells >= FEWEST and 2 * n_cells <= 3 * max_cells and not overruled
    check_option(consensus, (True, False), "consensus")
    if consensus and overruled:
        msg = "consensus=True chooses among numbers of clusters: not together with n_clusters, temperature or metric='kernel'."
        raise ValueError(msg)
    return bool(consensus) and n_cells >= FEWEST


def _write(adata: AnnData, keys: AnnealKeys, found: Annealing, params: dict[str, Any]) -> None:
    """Write all slots."""
    shares = found.memberships
    names = [str(i) for i in range(shares.shape[1])]
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    adata.obs[keys.key] = pd.Categorical.from_codes(shares.argmax(axis=1), names)
    adata.obs[keys.entropy] = np.maximum(-np.einsum("ij,ij->i", shares, logs, dtype=np.float64), 0)
    adata.obsm[keys.memberships] = shares
    phases = {
        keys.temperature: found.phases[:, 0],
        keys.n_clusters: found.phases[:, 1].astype(np.int64),
        keys.free_energy: found.phases[:, 2],
    }
    adata.uns[keys.key] = {
        keys.params: params,
        keys.tree: _tree_table(found.tree, found.forced, keys),
        keys.phases: text_rows(pd.DataFrame(phases)),
    }


def _tree_table(tree: SplitTree, forced: np.ndarray | None, keys: AnnealKeys) -> pd.DataFrame:
    """Give the tree as a table."""
    columns = {
        keys.node: np.arange(len(tree.parent)),
        keys.parent: tree.parent,
        keys.temperature: tree.temperature,
        keys.mass: tree.n_points / tree.n_points[0],
        keys.n_cells: tree.n_points,
        keys.evidence: np.maximum(tree.evidence, -1e3),  # too few cells to say: no number that files refuse
        keys.forced: np.zeros(len(tree.parent), dtype=bool) if forced is None else forced,
        keys.cluster: np.array([str(leaf) if leaf >= 0 else "" for leaf in tree.leaf], dtype=object),
    }
    return text_rows(pd.DataFrame(columns))
