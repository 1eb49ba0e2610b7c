from __future__ import annotations

import warnings
from importlib.metadata import version
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import (
    check_complete,
    check_data,
    check_key,
    check_positive,
    check_target,
    check_type,
    listed,
    object_name,
    working_copy,
)
from sctandem._random import draw_seed
from sctandem._representation import check_representation
from sctandem._tail_keys import PARTS, HierarchyKeys, SplitKeys
from sctandem._text_rows import text_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from mudata import MuData

    from sctandem._random import RNG

#: Random splits beside which divergences are shown.
_N_RANDOM = 5


def long_tail_split(
    data: AnnData | MuData,
    cluster_key: str = "hcm_cluster",
    *,
    donor_key: str | None = None,
    sizes: Sequence[float] = (0.8, 0.1, 0.1),
    use_rep: str = "X_pca",
    key_added: str = "split",
    rng: RNG = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Split cells into training, validation and test, each with cells of every cluster.

    Needs :func:`sctandem.pp.hierarchical_weights`, or any column of clusters or types, and a representation of the cells.

    Parameters
    ----------
    data
        The object to write to. Of a MuData its own `obs`, `obsm` and `uns` are meant, with a representation of all modalities together; for that of
        one modality give the modality, ``mdata["rna"]``.
    cluster_key
        Column of ``obs`` with the clusters.
    donor_key
        Column of ``obs`` with what must not be cut, such as the donor; `None` for single cells.
    sizes
        Parts of the cells for training, validation and test, adding up to 1.
    use_rep
        Key of ``obsm`` in which the parts are compared.
    key_added
        Name of the result.
    rng
        Seed of the draw; `None` draws one. Kept in ``params``.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `data.obs[key_added]` : :class:`pandas.Series` (dtype ``category``)
        ``"train"``, ``"validation"`` or ``"test"``.
    `data.uns[key_added]["parts"]` : :class:`pandas.DataFrame`
        A row a part: ``part``, ``n_cells``, ``share``, ``n_clusters`` (that it has), ``n_missing`` and ``missing`` (clusters of at least
        3 cells that it lacks), ``n_missing_random`` (how many a random part of that size lacks, on average).
    `data.uns[key_added]["clusters"]` : :class:`pandas.DataFrame`
        A row a cluster: ``cluster``, ``n_cells``, ``train``, ``validation``, ``test`` (cells in each).
    `data.uns[key_added]["divergence"]` : :class:`pandas.DataFrame`
        A row a pair: ``part_1``, ``part_2``, ``composition`` (symmetric Kullback-Leibler divergence of the shares of the clusters), and in
        `use_rep` ``mahalanobis`` (of the means, in standard deviations), ``mann_whitney`` (root mean square over dimensions of the probability that a cell
        of one lies above one of the other less the reverse) and ``kullback_leibler`` (root of the symmetric divergence, as normal in every
        dimension); and the same with ``_random`` for random splits of single cells, mean of five.
    `data.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When a column or `use_rep` is not there; lists what is.
    ValueError
        When sizes are no three parts of 1, a cell has no cluster or donor, or there are fewer than three cells or donors. Nothing is written then.
    TypeError
        When `data` is not an AnnData or a MuData, or a name is not text.

    Warns
    -----
    UserWarning
        When clusters of at least 3 cells are not in each part, as their donors are too few; names them.

    Notes
    -----
    Single cells: each cluster is divided by the sizes, with at least one cell of each of three or more in each part; what is rounded in small
    clusters is made good in large ones. Donors: a search over divisions in which as few clusters as possible lack in a part, and then sizes and
    compositions are as even as possible; a cluster that fewer than three donors have cannot be in all parts. A split of single cells puts cells of one donor into
    training and test, which flatters whatever is tested.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> adata = AnnData(obsm={"X_pca": rng.normal(size=(1003, 5))})
    >>> adata.obs["cell_type"] = np.repeat(["common", "rare"], [1000, 3])
    >>> td.pp.long_tail_split(adata, "cell_type", rng=0)
    >>> sorted(adata.obs["split"][adata.obs["cell_type"] == "rare"])
    ['test', 'train', 'validation']
    """
    check_data(data)
    obs = f"{object_name(data)}.obs"
    clusters = _column(data, cluster_key, "cluster_key")
    donors = None if donor_key is None else _column(data, donor_key, "donor_key")
    shares = _check_sizes(sizes)
    points = check_representation(data, use_rep, "a split into three parts", fewest=len(PARTS), joint=True)
    check_target(data, key_added, copy=copy)
    if key_added in {cluster_key, donor_key}:
        msg = f"key_added={key_added!r} is the column that is read; choose another name."
        raise ValueError(msg)
    seed = draw_seed(rng)
    # imported here: nothing else of the package needs it
    from sctandem.kernels._tail_split import split_groups, split_points

    draw, chance = np.random.default_rng(seed).spawn(2)
    codes = clusters.cat.codes.to_numpy().astype(np.intp)
    if donors is None:
        parts = split_points(codes, shares, rng=draw)
    else:
        of = donors.cat.codes.to_numpy().astype(np.intp)
        if (n := len(donors.cat.categories)) < len(PARTS):
            msg = f"{obs}[{donor_key!r}] has {n} donors; a split into three parts that cuts none needs at least 3."
            raise ValueError(msg)
        parts = split_groups(_counts(of, codes), shares, rng=draw)[of]
    keys = SplitKeys(key_added)
    tables = _tables(keys, points, codes, list(clusters.cat.categories), parts, rng=chance)
    missing = sorted({name for names in tables[keys.parts][keys.missing] for name in names.split("; ") if name})
    if missing:
        what = f"clusters of {obs}[{cluster_key!r}] that are not in each part, as fewer than three of {donor_key!r} have them: "
        warnings.warn(f"{what}{listed(missing)}.", UserWarning, stacklevel=2)
    params: dict[str, Any] = {
        "cluster_key": cluster_key,
        "sizes": list(map(float, shares)),
        "use_rep": use_rep,
        "seed": seed,
    }
    if donor_key is not None:
        params["donor_key"] = donor_key
    result = working_copy(data, copy=copy)
    result.obs[keys.key] = pd.Categorical.from_codes(parts, list(PARTS))
    result.uns[keys.key] = {keys.params: params | {"version": version("sctandem")}, **tables}
    return result if copy else None


def _column(data: AnnData | MuData, key: Any, name: str) -> pd.Series:
    """Return a column without gaps, as categories that are there."""
    check_type(key, str, name)
    whole = object_name(data)
    slot = f"{whole}.obs"
    if key not in data.obs and key == HierarchyKeys().cluster:
        msg = f"{slot} has no {key!r}; run `td.pp.hierarchical_weights({whole})` first, or name a column: {listed(data.obs.columns)}."
        raise KeyError(msg)
    hint = "fill it in, or leave them out"
    column = check_complete(check_key(data.obs, key, slot), f"{slot}[{key!r}]", hint)
    return column.astype(str).astype("category")


def _check_sizes(sizes: Any) -> np.ndarray:
    """Return the sizes of the parts."""
    if not isinstance(sizes, list | tuple | np.ndarray) or len(sizes) != len(PARTS):
        msg = f"sizes={sizes!r} are not three numbers, for {', '.join(PARTS)}."
        raise ValueError(msg)
    for size in sizes:
        check_positive(size, "sizes")
    if abs(sum(sizes) - 1) > 1e-6:
        msg = f"sizes={sizes!r} add up to {sum(sizes):g}; they have to add up to 1."
        raise ValueError(msg)
    return np.array(sizes, dtype=float) / sum(sizes)


def _counts(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Count cells by two codes."""
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)


def _tables(
    keys: SplitKeys,
    points: np.ndarray,
    codes: np.ndarray,
    names: list[str],
    parts: np.ndarray,
    *,
    rng: np.random.Generator,
) -> dict[str, pd.DataFrame]:
    """Describe the parts."""
    from sctandem.kernels._tail_split import missed_at_random

    counts = _counts(parts, codes)
    size, n_cells = counts.sum(0), counts.sum(1)
    lacks = (counts == 0) & (size >= len(PARTS))
    order = np.argsort(-size, kind="stable")
    divisions = [parts, *(rng.permutation(parts) for _ in range(_N_RANDOM))]
    found, *drawn = _divergences(points, codes, divisions)
    pairs = list(combinations(range(len(PARTS)), 2))
    divergence: dict[str, Any] = {
        keys.first: [PARTS[a] for a, _ in pairs],
        keys.second: [PARTS[b] for _, b in pairs],
    }
    for name, values in found.items():
        divergence[name] = [values[pair] for pair in pairs]
        divergence[keys.at_random(name)] = [np.mean([one[name][pair] for one in drawn]) for pair in pairs]
    tables: dict[str, dict[str, Any]] = {
        keys.parts: {
            keys.part: list(PARTS),
            keys.n_cells: n_cells,
            keys.share: n_cells / n_cells.sum(),
            keys.n_clusters: (counts > 0).sum(1),
            keys.n_missing: lacks.sum(1),
            keys.missing: ["; ".join(names[i] for i in np.flatnonzero(row)) for row in lacks],
            keys.n_missing_random: [missed_at_random(size[size >= len(PARTS)], int(n)) for n in n_cells],
        },
        keys.clusters: {keys.cluster: [names[i] for i in order], keys.n_cells: size[order]}
        | {part: row[order] for part, row in zip(PARTS, counts, strict=True)},
        keys.divergence: divergence,
    }
    return {name: text_rows(pd.DataFrame(columns)) for name, columns in tables.items()}


def _divergences(points: np.ndarray, codes: np.ndarray, divisions: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Give how far the parts of each division are apart, parts x parts."""
    from sctandem.kernels._cluster_distances import (
        kullback_leibler,
        mean_distance,
        rank_bins,
        rank_difference,
        whitening,
    )
    from sctandem.kernels._tail_split import composition_divergence

    # the same for all divisions
    bins, to_white = rank_bins(points), whitening(points, np.zeros_like(codes))
    return [
        {
            SplitKeys().composition: composition_divergence(_counts(parts, codes)),
            "mahalanobis": mean_distance(points, parts, to_white),
            "mann_whitney": rank_difference(bins, parts),
            "kullback_leibler": kullback_leibler(points, parts),
        }
        for parts in divisions
    ]
