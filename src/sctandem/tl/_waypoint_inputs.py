"""What `tl.waypoints` is given: cells, a representation, activities and changes, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._blocks import as_dense
from sctandem._checks import check_key, check_layer, check_type, check_unique, listed
from sctandem._regulation_keys import RegulatoryGraphKeys
from sctandem._representation import dense_representation
from sctandem.tl._waypoint_tables import JOIN

if TYPE_CHECKING:
    from anndata import AnnData

#: Fewest cells from which a manifold is learned.
FEWEST = 20
#: Slots of the regulatory graph.
GRAPH = RegulatoryGraphKeys()


def representation(adata: AnnData, use_rep: str) -> np.ndarray:
    """Return the representation, checked, in double precision."""
    points = dense_representation(adata, use_rep, "waypoints", fewest=FEWEST, without="no way from one to another")
    return points.astype(np.float64)


def find_cells(adata: AnnData, what: Any, name: str) -> np.ndarray:
    """Return the cells that are meant: one by its name, or those with a value in a column of `obs`."""
    if isinstance(what, str):
        if what not in adata.obs_names:
            hint = f"A group is given as (column, value), with a column of adata.obs: {listed(adata.obs.columns)}."
            msg = f"{name}={what!r} is no cell: adata.obs_names has {listed(adata.obs_names, 3)}. {hint}"
            raise KeyError(msg)
        at = np.flatnonzero(adata.obs_names == what)
        if len(at) > 1:
            msg = f"{name}={what!r} is the name of {len(at)} cells; call `adata.obs_names_make_unique()` first."
            raise ValueError(msg)
        return at
    if not isinstance(what, tuple) or len(what) != 2:
        msg = f"{name}={what!r} is neither the name of a cell nor (column of adata.obs, value)."
        raise TypeError(msg)
    column = check_key(adata.obs, what[0], "adata.obs")
    at = np.flatnonzero((column.astype(str) == str(what[1])).to_numpy())
    if not len(at):
        msg = f"{name}={what!r}: no cell has {what[1]!r} in adata.obs[{what[0]!r}], which has {listed(column.astype(str).unique(), 20)}."
        raise ValueError(msg)
    return at


def terminal_names(terminal: Any, columns: pd.Index) -> dict[str, Any] | None:
    """Return the lineages and what ends them, or `None` where they are to be found. `columns` are those of `obs`."""
    if terminal is None:
        return None
    if isinstance(terminal, tuple) and len(terminal) == 2 and terminal[0] in columns:
        msg = f"terminal={terminal!r} is one group; ends go into a list: terminal=[{terminal!r}, ...]."
        raise TypeError(msg)
    if isinstance(terminal, str) or not isinstance(terminal, Mapping | Sequence):
        msg = f"terminal={terminal!r} is neither a list of cells or (column, value), nor leads from lineages to them."
        raise TypeError(msg)
    if not len(terminal):
        msg = "terminal is empty; None finds terminal cells."
        raise ValueError(msg)
    if isinstance(terminal, Mapping):
        named = [(lineage_name(name), what) for name, what in terminal.items()]
    else:
        named = [
            (lineage_name(what[1] if isinstance(what, tuple) and len(what) == 2 else what), what) for what in terminal
        ]
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        msg = f"terminal has a lineage twice: {listed(names)}."
        raise ValueError(msg)
    joined = [name for name in names if JOIN in name]
    if joined:
        msg = f"the lineage {joined[0]!r} has {JOIN!r} in its name, which joins lineages in the result: name it otherwise, terminal={{<name>: ...}}."
        raise ValueError(msg)
    return dict(named)


def lineage_name(name: Any) -> str:
    """Give the name of a lineage, which becomes that of a column: a slash, which files cannot hold, becomes an underscore."""
    return str(name).replace("/", "_")


def activities(adata: AnnData, activity: Any) -> tuple[np.ndarray, list[str]] | None:
    """Return activities, cells x factors, and the names of the factors.

    `activity` is a key of `obsm`, or a list of genes; `None` takes nothing.
    """
    if activity is None:
        return None
    if isinstance(activity, str):
        slot = f"adata.obsm[{activity!r}]"
        if activity not in adata.obsm:
            msg = (
                f"adata.obsm has no {activity!r}; it has {listed(adata.obsm)}. A list of genes takes their expression."
            )
            raise KeyError(msg)
        table = adata.obsm[activity]
        names = list(map(str, table.columns)) if isinstance(table, pd.DataFrame) else None
        values = as_dense(table.to_numpy() if isinstance(table, pd.DataFrame) else table).astype(np.float64)
        names = names or [str(i) for i in range(values.shape[1])]
    else:
        names, slot = [str(gene) for gene in activity], "adata.X"
        missing = [gene for gene in names if gene not in adata.var_names]
        if missing or not names:
            msg = f"activity: {listed(missing) if missing else 'no genes at all'}; not in adata.var_names ({listed(adata.var_names, 3)})."
            raise KeyError(msg)
        values = as_dense(adata[:, names].X).astype(np.float64)
    if not np.isfinite(values).all():
        msg = f"{slot} has NaN or infinite values; leave those factors out."
        raise ValueError(msg)
    return values, names


def predicted_change(adata: AnnData, change: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return expression and what it is predicted to change by, cells x genes; genes without a prediction (NaN) are left out.

    `change` is a layer, a regulatory graph in `uns`, or that graph itself; `None` predicts nothing.
    """
    if change is None:
        return None
    if isinstance(change, Mapping):
        return _of_graph(adata, change, "change")
    check_type(change, str, "change", hint="It names a layer or a regulatory graph in uns, or is that graph.")
    if change in adata.layers:
        return _moving(as_dense(adata.X), as_dense(check_layer(adata, change, "adata")), f"adata.layers[{change!r}]")
    if change in adata.uns:
        return _of_graph(adata, adata.uns[change], f"adata.uns[{change!r}]")
    msg = (
        f"neither adata.layers nor adata.uns has {change!r}; layers are {listed(adata.layers)}. `td.tl.regulatory_graph` writes "
        f"'{GRAPH.key}' to uns; that of a MuData is given as change=mdata.uns['{GRAPH.key}']."
    )
    raise KeyError(msg)


def graph_activity(adata: AnnData, change: Any) -> str | None:
    """Return the key in `obsm` of the activities that belong to a regulatory graph given as `change`, if they are there."""
    if change is None or (isinstance(change, str) and change in adata.layers):
        return None
    key = (RegulatoryGraphKeys(change) if isinstance(change, str) else GRAPH).activities
    return key if key in adata.obsm else None


def _of_graph(adata: AnnData, graph: Any, slot: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what a regulatory graph measured and where it draws that, cells x genes, from its states."""
    from sctandem.kernels._waypoint_change import pull

    found = graph.get(GRAPH.expression) if isinstance(graph, Mapping) else None
    needed = (GRAPH.measured, GRAPH.predicted, GRAPH.state, GRAPH.cells)
    if not isinstance(found, Mapping) or not set(needed) <= set(found):
        msg = f"{slot} is no regulatory graph: it has no measured and predicted expression, as `td.tl.regulatory_graph` writes."
        raise ValueError(msg)
    measured, predicted = (np.asarray(found[name], dtype=np.float64) for name in needed[:2])
    # by name: uns stays as it is where cells are left out, put in another order or renamed
    known = pd.Index(np.asarray(found[GRAPH.cells]).astype(str))
    check_unique(known, f"{slot}[{GRAPH.expression!r}][{GRAPH.cells!r}]")
    at = known.get_indexer(adata.obs_names.astype(str))
    if (at < 0).any():
        absent = adata.obs_names[at < 0]
        msg = (
            f"{slot} knows nothing of {len(absent)} of {adata.n_obs} cells of adata, such as {absent[0]!r}; run "
            "`td.tl.regulatory_graph` on these cells."
        )
        raise ValueError(msg)
    state = np.asarray(found[GRAPH.state])[at]
    now, ahead = _moving(measured, pull(measured, predicted), slot)
    return now[state], ahead[state]


def _moving(now: np.ndarray, ahead: np.ndarray, slot: str) -> tuple[np.ndarray, np.ndarray]:
    """Return both in double precision, for the genes with a prediction."""
    ahead = ahead.astype(np.float64)
    known = np.isfinite(ahead).all(axis=0)
    if not known.any() or not ahead[:, known].any():
        msg = f"{slot} predicts no change at all: all genes are 0, or NaN in some cell."
        raise ValueError(msg)
    now = now.astype(np.float64)[:, known]
    if not np.isfinite(now).all():
        msg = "adata.X has NaN or infinite values."
        raise ValueError(msg)
    return now, ahead[:, known]
