from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import check_adata, check_number, check_target, check_unique, working_copy
from sctandem._random import draw_seed
from sctandem._regulation_keys import WaypointKeys
from sctandem.tl._waypoint_inputs import (
    GRAPH,
    activities,
    find_cells,
    graph_activity,
    lineage_name,
    predicted_change,
    representation,
    terminal_names,
)
from sctandem.tl._waypoint_tables import JOIN, Manifold, edge_table, tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

    from sctandem._random import RNG
    from sctandem.kernels._waypoints import Diffusion

logger = logging.getLogger(__name__)

#: Neighbours of a cell; of a waypoint this part of the waypoints, and so many at least.
N_NEIGHBORS = 30
SHARE, FEWEST = 1 / 8, 10
#: Cells whose distances from all waypoints are held at a time.
BLOCK = 10_000
#: How much the predicted change directs the edges.
STRENGTH = 2.0


def waypoints(
    adata: AnnData,
    root: str | tuple[str, str],
    terminal: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    use_rep: str = "X_pca",
    n_waypoints: int = 500,
    activity: str | Sequence[str] | None = None,
    change: str | Mapping[str, Any] | None = None,
    key_added: str = "waypoints",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Follow lineages from a root over waypoints to terminal cells.

    Needs a representation of the cells, such as that of :func:`scanpy.pp.pca`.

    Parameters
    ----------
    adata
        The object to write to.
    root
        Where lineages begin: the name of a cell, or ``(column, value)`` of ``obs`` for the cell in the middle of a group.
    terminal
        Where they end: names of cells or ``(column, value)``, or a mapping from names of lineages to these. `None` finds terminal
        cells; look at them, and give them where they are known (see Notes). A slash in the name of a lineage becomes an underscore.
    use_rep
        Key of ``obsm``: cells x dimensions, dense and finite.
    n_waypoints
        Waypoints, at most, at least 20. Time grows with the cube.
    activity
        Tests which factors part lineages at branch points: key of ``obsm``, such as ``"tf_activity"``, or a list of genes whose
        expression in ``X`` is taken. By default the activities that came with a regulatory graph given as `change`.
    change
        Predicted change of expression, which directs the edges between waypoints together with pseudotime: ``"regulatory_graph"``, what
        :func:`sctandem.tl.regulatory_graph` has written to ``uns`` (that of a MuData is given itself: ``mdata.uns["regulatory_graph"]``; it has to
        know these cells by their names), or a layer with the change of each gene in ``X``, such as a velocity. NaN leaves a gene out.
    key_added
        Name of the result.
    rng
        Seed of the null of the tests, and of the search for neighbours above 20,000 cells; `None` draws one. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `adata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `adata.obs["<key_added>_pseudotime"]` : :class:`pandas.Series` (dtype ``float64``)
        From 0 at the root to 1. With `terminal`, the probability that a random walk comes to a terminal cell before it comes to the
        root, averaged over lineages by their probabilities: 1 at every terminal cell. Without, the
        way from the root, divided by itself and the way that is still ahead.
    `adata.obs["<key_added>_branch"]` : :class:`pandas.Series` (dtype ``category``)
        Lineages that are open to the cell, joined by ``" | "``.
    `adata.obs["<key_added>_entropy"]` : :class:`pandas.Series` (dtype ``float64``)
        Entropy of the lineage probabilities, in nats.
    `adata.obsm["lineage_probabilities"]` : :class:`pandas.DataFrame` (dtype ``float64``)
        Cells x lineages; rows add up to 1. With another `key_added`, ``"<key_added>_lineage_probabilities"``.
    `adata.uns[key_added]["waypoints"]` : :class:`pandas.DataFrame`
        ``cell``, ``pseudotime`` and ``role`` (root, terminal or waypoint) of the waypoints.
    `adata.uns[key_added]["edges"]` : :class:`pandas.DataFrame`
        ``source``, ``target`` and ``probability`` of steps of walks that go on to a terminal cell; the five most likely from each waypoint.
    `adata.uns[key_added]["terminals"]` : :class:`pandas.DataFrame`
        ``lineage``, ``cell``, ``pseudotime``, ``length`` (of the branch that it adds, as a part of the longest; NaN if given), ``given``.
    `adata.uns[key_added]["branches"]` : :class:`pandas.DataFrame`
        A row a branch point, the first next to the root: ``branch``, ``parent``, ``left``, ``right`` (lineages on either side), ``cell``,
        ``pseudotime``.
    `adata.uns[key_added]["drivers"]` : :class:`pandas.DataFrame`
        With `activity`: ``branch``, ``tf``, ``effect`` (activity on the left minus on the right, at the same pseudotime), ``correlation``,
        ``n_waypoints``, ``p_value``, ``fdr``, by rising p-value within the branch; else empty.
    `adata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with; with `change` also ``agreement``, how far it agrees with pseudotime: 1 where it never leads back along an
        edge, 0 where it says nothing, below 0 where it leads to the root.

    Raises
    ------
    KeyError
        For a cell, column, gene or slot that is not there.
    ValueError
        When the representation is not finite or does not vary, when there are fewer than 20 cells, when the root cannot reach all
        cells over nearest neighbours, for a group without cells, for a terminal cell that is the root or another terminal cell.
    TypeError
        When `adata` is not an AnnData (of a MuData take ``mdata["rna"]``), or an argument is of a wrong kind.

    Notes
    -----
    A diffusion map of the graph of 30 nearest neighbours gives coordinates, components weighted by :math:`(\lambda / (1 - \lambda))^{3/4}`, in which
    waypoints are drawn by max-min distance (as in Palantir). Waypoints, each with an eighth of the others, form a random walk. Lineage probabilities are those of absorption at the
    terminal cells for walks that do not come back to the root: edges are thereby directed away from it (Doob's transform). Each end has 2 % of the waypoints.

    *Change.* An edge is multiplied by :math:`e^{2 a \cos}` of the change and the difference in expression, with :math:`a` the agreement of the change with
    pseudotime, or 0 below that: a change that says nothing directs nothing. That of a regulatory graph is
    predicted less measured expression of its states without what is linear in the measured (regression to the mean). It has a direction where expression lags behind its regulators;
    where each cell is in balance there is none.

    *Pseudotime* without terminal cells rests on commute times, which add up along a tree. Ahead of a cell are the waypoints farther from the root (the mean of the 2 % farthest); one
    to which the way leads past the cell at a distance counts e times less for each 0.3 of the longest way. Ends of short and long lineages are thereby late
    alike. Terminal cells are found as tips of the tree: that farthest from the root, then again and again the
    point farthest from the tree spanned so far, while it adds at least 15 % of the longest branch. Of a short lineage, or one that few
    cells enter, the tip is missed; outliers are taken for tips. Each tip that is wrong takes part of the probabilities.

    Drivers are tested on waypoints from the branch point before to half the way from this one to the end. The null is of patterns that
    are as smooth over the waypoints as the activity: each keeps what it varies by in bands of smoothness and points anywhere in them. Any
    smooth pattern differs between two branches, so that few factors pass; the others are ranked, no more. A small p-value does
    not say that the factor is a cause.

    10,000 cells of 30 dimensions take about 5 s on one core; the steps up to the waypoints grow with the cells, the search for neighbours with their square up to
    20,000 cells, and somewhat faster than they do above.

    References
    ----------
    Setty et al. Characterization of cell fate probabilities in single-cell data with Palantir. Nature Biotechnology 2019.

    Haghverdi et al. Diffusion pseudotime robustly reconstructs lineage branching. Nature Methods 2016.

    Steel. Phylogenetic diversity and the greedy algorithm. Systematic Biology 2005.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> arm, along = rng.integers(3, size=300), rng.random(300)
    >>> points = along[:, None] * np.eye(3)[arm] + 0.02 * rng.normal(size=(300, 3))
    >>> adata = AnnData(obsm={"X_pca": points})
    >>> ends = [str(np.argmax(points[:, i])) for i in range(3)]
    >>> td.tl.waypoints(adata, ends[0], {"left": ends[1], "right": ends[2]}, rng=0)
    >>> adata.obsm["lineage_probabilities"].columns.tolist()
    ['left', 'right']
    """
    check_adata(adata)
    check_target(adata, key_added, copy=copy)
    check_number(n_waypoints, "n_waypoints", low=20, whole=True)
    check_unique(adata.obs_names, "adata.obs_names")
    points = representation(adata, use_rep)
    named = terminal_names(terminal, adata.obs.columns)
    starts = find_cells(adata, root, "root")
    ends = {name: find_cells(adata, what, "terminal") for name, what in (named or {}).items()}
    moved = predicted_change(adata, change)
    activity = graph_activity(adata, change) if activity is None else activity
    factors = activities(adata, activity)
    seed = draw_seed(rng)
    # imported here: nothing else of the package needs it
    from sctandem.kernels._lineages import conditioned, end_regions, lineage_probabilities, progress

    found = _manifold(adata, points, starts, ends, n_waypoints=int(n_waypoints), seed=seed)
    affinity, agreed = (found.walk.affinity, None) if moved is None else _directed(found, *moved)
    region = end_regions(found.commute, [found.root, *found.tips])
    fates, ahead = lineage_probabilities(affinity, region)
    if named:
        time = progress(found.walk.affinity, region, fates)
        when = np.clip(found.walk.mixture @ time, 0, 1)
    else:
        when = _gone(found, np.arange(adata.n_obs))
        time = when[found.cells]
    names = list(named) if named else _names(adata, root, found.cells[found.tips])
    keys = WaypointKeys(key_added)
    tables, per_cell = tables_of(
        found,
        fates,
        (time, when),
        names,
        adata.obs_names,
        keys=keys,
        factors=factors,
        rng=np.random.default_rng(seed),
        given=bool(named),
    )
    tables[keys.edges] = edge_table(conditioned(affinity, ahead), adata.obs_names[found.cells], keys)
    params = {
        "use_rep": use_rep,
        "root": str(adata.obs_names[found.cells[found.root]]),
        "n_waypoints": int(n_waypoints),
        "seed": seed,
    }
    params |= {"activity": activity if isinstance(activity, str) else list(activity)} if activity is not None else {}
    if agreed is not None:
        params |= {"change": change if isinstance(change, str) else GRAPH.key, "agreement": agreed}
    result = working_copy(adata, copy=copy)
    result.obs[keys.pseudotime], result.obs[keys.entropy] = per_cell.time, per_cell.entropy
    result.obs[keys.segment] = per_cell.segment
    result.obsm[keys.probabilities] = pd.DataFrame(per_cell.fates, index=result.obs_names, columns=names)
    result.uns[keys.key] = {keys.params: {**params, "version": version("sctandem")}, **tables}
    return result if copy else None


def _manifold(
    adata: AnnData,
    points: np.ndarray,
    starts: np.ndarray,
    ends: dict[str, np.ndarray],
    *,
    n_waypoints: int,
    seed: int,
) -> Manifold:
    """Learn the manifold, and put root and terminal cells among its waypoints."""
    from sctandem.kernels._lineages import find_terminals
    from sctandem.kernels._waypoints import (
        choose_waypoints,
        commute_times,
        diffusion_map,
        graph_parts,
        neighbour_affinity,
        waypoint_walk,
    )

    affinity = neighbour_affinity(points, N_NEIGHBORS, seed=seed)
    _check_connected(adata, graph_parts(affinity), starts)
    diffusion = diffusion_map(affinity)
    root = _middle(diffusion, starts)
    tips = [_middle(diffusion, cells) for cells in ends.values()]
    _check_apart(adata, root, dict(zip(ends, tips, strict=True)))
    cells = choose_waypoints(diffusion.walk, n_waypoints, np.array([root, *tips]))
    commute = commute_times(diffusion.tree[cells])
    start = int(np.searchsorted(cells, root))
    if ends:
        found, lengths = [int(np.searchsorted(cells, tip)) for tip in tips], np.full(len(tips), np.nan)
    else:
        found, lengths = find_terminals(commute, start)
        lengths = lengths / lengths[0]
    walk = waypoint_walk(diffusion.walk, cells, max(round(SHARE * len(cells)), FEWEST))
    return Manifold(cells, walk, commute, diffusion.tree, start, found, lengths)


def _directed(found: Manifold, now: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, float]:
    """Direct the edges by a predicted change, the more the better it agrees with pseudotime; return how well it does, too."""
    from sctandem.kernels._waypoint_change import agreement, cosines, directed
    from sctandem.kernels._waypoints import waypoint_means

    affinity = found.walk.affinity
    cosine = cosines(*(waypoint_means(found.walk.mixture, values) for values in (now, ahead)))
    agreed = agreement(affinity, cosine, _gone(found, found.cells))
    logger.info("the predicted change agrees with pseudotime by %.2f (1 everywhere, 0 not at all)", agreed)
    return directed(affinity, cosine, STRENGTH * max(agreed, 0)), agreed


def _gone(found: Manifold, cells: np.ndarray) -> np.ndarray:
    """Give for some cells the part of its way that each has gone, when no ends are known."""
    from sctandem.kernels._lineages import share_of_the_way
    from sctandem.kernels._waypoints import commute_times

    points, origin = found.tree[found.cells], found.tree[found.cells[[found.root]]]
    from_root = commute_times(origin, points)[0]
    blocks = (found.tree[cells[start : start + BLOCK]] for start in range(0, len(cells), BLOCK))
    return np.concatenate(
        [share_of_the_way(commute_times(b, origin)[:, 0], commute_times(b, points), from_root) for b in blocks]
    )


def _middle(diffusion: Diffusion, cells: np.ndarray) -> int:
    """Give the cell in the middle of a group."""
    place = diffusion.walk[cells]
    return int(cells[np.square(place - place.mean(axis=0)).sum(axis=1).argmin()])


def _check_connected(adata: AnnData, part: np.ndarray, starts: np.ndarray) -> None:
    """Check that all cells can be reached from the root."""
    if part.max() == 0:
        return
    here = np.bincount(part[starts]).argmax()
    apart = np.flatnonzero(part != here)
    msg = (
        f"{len(apart)} of {len(part)} cells cannot be reached from the root over {N_NEIGHBORS} nearest neighbours (the cells lie in "
        f"{part.max() + 1} parts), such as {adata.obs_names[apart[0]]!r}. Leave them out, or take a representation that connects them."
    )
    raise ValueError(msg)


def _check_apart(adata: AnnData, root: int, tips: dict[str, int]) -> None:
    """Check that root and terminal cells are different cells."""
    seen = {root: "the root"}
    for name, cell in tips.items():
        if cell in seen:
            msg = f"terminal: {name!r} ends at cell {adata.obs_names[cell]!r}, which is {seen[cell]} already."
            raise ValueError(msg)
        seen[cell] = f"the end of {name!r}"


def _names(adata: AnnData, root: Any, cells: np.ndarray) -> list[str]:
    """Name lineages that were found after the group of their terminal cell where the root is a group, else after the cell."""
    if isinstance(root, str):
        return [lineage_name(name) for name in adata.obs_names[cells]]
    groups = np.array(
        [lineage_name(group).replace(JOIN, "_") for group in adata.obs[root[0]].iloc[cells]], dtype=object
    )
    return [
        group if n == 0 else f"{group} ({n + 1})"
        for group, n in zip(groups, pd.Series(groups).groupby(groups).cumcount(), strict=True)
    ]
