"""Waypoints on the manifold of cells: a diffusion map, cells that cover it, and a random walk between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.sparse.linalg import eigsh
from sklearn.neighbors import NearestNeighbors

#: Components of the diffusion map.
N_COMPONENTS = 20
#: Up to so many cells neighbours are found exactly.
EXACT = 20_000
#: Waypoints that a cell is put together from.
N_MIXED = 10


@dataclass(frozen=True, slots=True)
class Diffusion:
    """A diffusion map of cells.

    Attributes
    ----------
    walk
        Coordinates between those of commute times and of diffusion over all numbers of steps, cells x components.
    tree
        Coordinates in which squared Euclidean distance is the commute time, which adds up along a tree; smoothed, cells x components.
    """

    walk: np.ndarray
    tree: np.ndarray


@dataclass(frozen=True, slots=True)
class WaypointWalk:
    """A random walk between waypoints.

    Attributes
    ----------
    affinity
        Symmetric affinities between waypoints, dense, connected.
    mixture
        What each cell is put together from, cells x waypoints, CSR; rows add up to 1.
    """

    affinity: np.ndarray
    mixture: sparse.csr_matrix


def neighbour_affinity(points: np.ndarray, n_neighbors: int, *, seed: int = 0) -> sparse.csr_matrix:
    """Give affinities between cells and their nearest neighbours, with a bandwidth of each cell's own.

    Parameters
    ----------
    points
        Cells x dimensions.
    n_neighbors
        Neighbours of each cell.
    seed
        For the search of neighbours, which is approximate above 20,000 cells.

    Returns
    -------
    Symmetric affinities, 1 on the diagonal.
    """
    n_cells = len(points)
    k = min(n_neighbors, n_cells - 1)
    if n_cells <= EXACT:
        distance, index = NearestNeighbors(n_neighbors=k + 1).fit(points).kneighbors(points)
    else:
        from pynndescent import NNDescent

        index, distance = NNDescent(points, n_neighbors=k + 1, random_state=seed).neighbor_graph
    width = _bandwidth(distance, k // 3)
    row = np.repeat(np.arange(n_cells), k + 1)
    column, value = index.ravel(), distance.ravel()
    weight = np.exp(-np.square(value) / (width[row] * width[column]))
    graph = sparse.csr_matrix((weight, (row, column)), (n_cells, n_cells))
    graph = graph.maximum(graph.T).tocsr()
    return (graph + sparse.diags(1.0 - graph.diagonal(), format="csr")).tocsr()


def _bandwidth(distance: np.ndarray, k: int) -> np.ndarray:
    """Distance to the k-th neighbour, not 0 where cells are copies of one another."""
    width = distance[:, min(max(k, 1), distance.shape[1] - 1)]
    some = width[width > 0]
    return np.maximum(width, 1e-3 * np.median(some) if some.size else 1.0)


def graph_parts(affinity: sparse.csr_matrix) -> np.ndarray:
    """Say for each cell which part of the graph it is in: cells of different parts cannot reach one another."""
    return connected_components(affinity, directed=False)[1]


def diffusion_map(affinity: sparse.csr_matrix) -> Diffusion:
    """Give the diffusion map of a connected graph, without the effect of density.

    Parameters
    ----------
    affinity
        Symmetric affinities, cells x cells.

    Returns
    -------
    Coordinates of the cells. They do not depend on the order of the cells or on a rotation of what the graph was made from, save for the
    signs of components.
    """
    n_cells = affinity.shape[0]
    density = 1 / np.asarray(affinity.sum(axis=1)).ravel()
    even = sparse.diags_array(density) @ affinity @ sparse.diags_array(density)
    degree = np.asarray(even.sum(axis=1)).ravel()
    root = sparse.diags_array(degree**-0.5)
    symmetric = sparse.csr_array(root @ even @ root)
    n = min(N_COMPONENTS + 1, n_cells - 1)
    if n_cells <= 200:
        values, vectors = np.linalg.eigh(symmetric.toarray())
        values, vectors = values[::-1][:n], vectors[:, ::-1][:, :n]
    else:
        values, vectors = eigsh(symmetric, k=n, which="LA", v0=np.ones(n_cells))
        order = np.argsort(-values)
        values, vectors = values[order], vectors[:, order]
    values = np.clip(values[1:], 0, 1 - 1e-12)
    vectors = vectors[:, 1:] / np.sqrt(degree / degree.sum())[:, None]
    step = sparse.csr_array(sparse.diags_array(1 / degree) @ even)
    return Diffusion(
        walk=vectors * (values / (1 - values)) ** 0.75, tree=step @ (step @ (vectors / np.sqrt(1 - values)))
    )


def choose_waypoints(coordinates: np.ndarray, n_waypoints: int, required: np.ndarray) -> np.ndarray:
    """Choose cells that cover every component evenly: again and again the one farthest from those chosen (max-min).

    Parameters
    ----------
    coordinates
        Cells x components.
    n_waypoints
        Waypoints, at most; a cell chosen in several components counts once.
    required
        Cells that are waypoints in any case; the search begins at the first of them.

    Returns
    -------
    The waypoints, rising.
    """
    n_cells, n_parts = coordinates.shape
    if n_waypoints >= n_cells:
        return np.arange(n_cells)
    chosen = list(required)
    for column in coordinates.T:
        far = np.abs(column - column[required[0]])
        for _ in range(max((n_waypoints - len(required)) // n_parts, 1)):
            cell = int(far.argmax())
            chosen.append(cell)
            far = np.minimum(far, np.abs(column - column[cell]))
    return np.unique(chosen)


def waypoint_walk(coordinates: np.ndarray, waypoints: np.ndarray, n_neighbors: int) -> WaypointWalk:
    """Give a random walk between waypoints, and what each cell is put together from.

    Parameters
    ----------
    coordinates
        Cells x components.
    waypoints
        Indices of cells.
    n_neighbors
        Neighbours of each waypoint; the shortest edges that connect what would fall apart are added.

    Returns
    -------
    The walk.
    """
    points = coordinates[waypoints]
    n, n_cells = len(points), len(coordinates)
    distance = np.sqrt(np.maximum(squared_distances(points, points), 0))
    order = np.argsort(distance, axis=1, kind="stable")
    k = min(n_neighbors, n - 1)
    near = np.take_along_axis(distance, order, axis=1)[:, : k + 1]
    width = _bandwidth(near, k // 3)
    affinity = np.exp(-np.square(distance) / (width[:, None] * width))
    keep = np.zeros((n, n), dtype=bool)
    np.put_along_axis(keep, order[:, : k + 1], values=True, axis=1)
    bridge = minimum_spanning_tree(distance + 1e-12 * distance.max()).toarray() > 0
    keep |= keep.T | bridge | bridge.T
    affinity = np.where(keep, np.maximum(affinity, 1e-12), 0)
    np.fill_diagonal(affinity, 0)
    mixed = min(N_MIXED, n)
    distance, index = NearestNeighbors(n_neighbors=mixed).fit(points).kneighbors(coordinates)
    weight = np.exp(-np.square(distance / _bandwidth(distance, mixed // 2)[:, None]))
    weight /= weight.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(n_cells), mixed)
    return WaypointWalk(affinity, sparse.csr_matrix((weight.ravel(), (rows, index.ravel())), (n_cells, n)))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances between the rows of two matrices."""
    found = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    if a is b:
        np.fill_diagonal(found, 0)
    return np.maximum(found, 0)


def commute_times(coordinates: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Give the commute times from points to others (or to one another); on a tree they add up along its edges."""
    return squared_distances(coordinates, coordinates if others is None else others)


def waypoint_means(mixture: sparse.csr_matrix, values: np.ndarray | sparse.csr_matrix) -> np.ndarray:
    """Average what is known of cells over the cells that each waypoint stands for.

    Parameters
    ----------
    mixture
        Cells x waypoints.
    values
        Cells x features, dense or sparse.

    Returns
    -------
    Waypoints x features, dense; 0 where a waypoint stands for no cell.
    """
    total = np.asarray(mixture.sum(axis=0)).ravel()
    found = mixture.T @ values
    found = found.toarray() if sparse.issparse(found) else np.asarray(found)
    return found / np.maximum(total, 1e-12)[:, None]
