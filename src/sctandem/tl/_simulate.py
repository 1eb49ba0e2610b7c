from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from sctandem._adversarial_keys import MadeCellsKeys
from sctandem._blocks import as_csr
from sctandem._checks import (
    check_adata,
    check_complete,
    check_counts,
    check_key,
    check_layer,
    check_n_cells,
    check_positive,
    check_type,
    layer_slot,
    listed,
)
from sctandem._random import draw_seed, spawn

if TYPE_CHECKING:
    from sctandem._random import RNG
    from sctandem.module import GeneratorConfig

_FEWEST = 20


def simulate(
    adata: AnnData,
    n: int | Mapping[str, int],
    cell_type: str | None = None,
    *,
    batch_key: str | None = None,
    layer: str | None = None,
    config: GeneratorConfig | None = None,
    rng: RNG = None,
    progress: bool | None = None,
) -> AnnData:
    r"""Make new cells like those of the data: a count model, mended by what a critic still tells from real cells.

    Parameters
    ----------
    adata
        Real cells with counts.
    n
        How many cells to make; or how many of each type, by name, for example to have more of a rare one.
    cell_type
        Column of ``obs`` with the types; `None` takes all cells as of one type.
    batch_key
        Column of ``obs`` with the batch; new cells are of the batches of the cells they are near to.
    layer
        Layer of the counts; `None` for `X`.
    config
        Settings; `None` for the defaults.
    rng
        Seed of all that is random. Kept in ``uns``.
    progress
        Whether to show progress bars; `None` for in a terminal or notebook.

    Returns
    -------
    A new object, `n` cells x the same genes: counts in `X` (CSR, float32, whole), the types (and batches) in the columns of ``obs``
    of the same names, types by chance as often as in `adata` where `n` is a number; ``uns["simulate"]`` with ``params`` and ``told_apart``: ``before`` and ``after`` the critic, the AUC of a random forest that tells real cells from
    made ones. `adata` stays as it is.

    Raises
    ------
    KeyError
        When a column or layer is not there, or `n` names a type that is not.
    ValueError
        When the counts are none, there are fewer than 20 cells, a cell has no type, a number is not above 0, or `n` names no type.
    TypeError
        When `adata` is not an AnnData, or `config` of another kind.

    Notes
    -----
    A count VAE is trained on all cells. States are drawn around those of real cells of the type (its aggregated posterior),
    depths are theirs. Then offsets and dispersions by type, and shared directions of noise learn against a critic that reads
    the made counts (Wasserstein distance with gradient penalty), so that what the model leaves out is put back. A sixth of the cells is kept from
    the critic: what was learned is dropped where a random forest tells made cells from these no worse than before. Made cells
    are new draws, but no evidence of what was not measured: types are those that were given, and means and variances those
    of the cells at hand. Do not count them as replicates. Runs on the processor; about a minute for 1,000 cells of 2,000 genes. The critic's
    steps do not hang on the cells; epochs of the count model do, and the forests more than in proportion: with the default trees they take half of
    the time from 10,000 cells on.

    References
    ----------
    Marouf et al., Realistic in silico generation and augmentation of single-cell RNA-seq data using generative adversarial networks,
    Nature Communications 11 (2020); Gulrajani et al., Improved training of Wasserstein GANs, NeurIPS (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> from sctandem.module import GeneratorConfig
    >>> adata = AnnData(np.random.default_rng(0).poisson(1.0, (60, 20)).astype("float32"))
    >>> adata.obs["type"] = np.repeat(["a", "b"], 30)
    >>> new = td.tl.simulate(adata, {"b": 10}, "type", config=GeneratorConfig(max_epochs=2, n_steps=2), rng=0)
    >>> new.shape, new.obs["type"].unique().tolist()
    ((10, 20), ['b'])
    """
    from sctandem.model._cell_generator import FittedGenerator
    from sctandem.module import GeneratorConfig

    check_adata(adata)
    counts = check_layer(adata, layer, "adata")
    check_counts(counts, layer_slot("adata", layer))
    check_n_cells(adata.n_obs, _FEWEST, "simulating cells", "adata")
    if not adata.n_vars:
        msg = "adata has no features: there are no counts to simulate."
        raise ValueError(msg)
    config = GeneratorConfig() if config is None else config
    check_type(config, GeneratorConfig, "config")
    obs = pd.DataFrame(index=adata.obs_names)
    for name in (cell_type, batch_key):
        if name is not None:
            column = check_complete(check_key(adata.obs, name, "adata.obs"), f"adata.obs[{name!r}]")
            obs[name] = column.astype(str).to_numpy()
    types = pd.Categorical(obs[cell_type] if cell_type is not None else np.zeros(adata.n_obs, dtype=int))
    seed = draw_seed(rng)
    for_types, for_cells = spawn(seed, 2)
    wanted = _wanted(n, types, cell_type, for_types)
    bare = AnnData(as_csr(counts).astype(np.float32), obs=obs.copy(), var=adata.var[[]])
    fitted = FittedGenerator(
        bare, types.codes.astype(np.int64), batch_key=batch_key, config=config, rng=seed, progress=progress
    )
    made, near = fitted.draw(wanted, rng=for_cells)
    new = AnnData(made, var=adata.var.copy())
    new.obs_names = [f"simulated{i}" for i in range(len(wanted))]
    if cell_type is not None:
        new.obs[cell_type] = pd.Categorical.from_codes(wanted, categories=types.categories)
    if batch_key is not None:
        new.obs[batch_key] = pd.Categorical(obs[batch_key].to_numpy()[near])
    given = {name: value for name, value in asdict(config).items() if value is not None}
    named = {"cell_type": cell_type, "batch_key": batch_key, "layer": layer}
    given |= {name: value for name, value in named.items() if value is not None}
    keys = MadeCellsKeys()
    new.uns[keys.key] = {
        keys.params: given | {"seed": seed, "version": version("sctandem")},
        keys.told: {when: float(value) for when, value in fitted.told.items()},
    }
    return new


def _wanted(
    n: int | Mapping[str, int], types: pd.Categorical, cell_type: str | None, rng: np.random.Generator
) -> np.ndarray:
    """Give the type of each new cell."""
    if not isinstance(n, Mapping):
        check_positive(n, "n", whole=True)
        return np.sort(rng.choice(types.codes, int(n))).astype(np.int64)
    if cell_type is None:
        msg = f"n={n!r} names types, but cell_type is None; name the column that has them."
        raise ValueError(msg)
    if not n:
        msg = f"n={n!r} names no type, so that nothing would be made; name some of {listed(types.categories)} in adata.obs[{cell_type!r}]."
        raise ValueError(msg)
    absent = [name for name in n if name not in types.categories]
    if absent:
        msg = f"n names {listed(absent)}, but adata.obs[{cell_type!r}] has {listed(types.categories)}."
        raise KeyError(msg)
    for name, number in n.items():
        check_positive(number, f"n[{name!r}]", whole=True)
    return np.repeat(types.categories.get_indexer(list(n)), list(n.values())).astype(np.int64)
