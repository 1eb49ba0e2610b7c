"""Write the results of differential expression: tidy tables, and scanpy's structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from sctandem._text_rows import text_rows
from sctandem.kernels._shrink import shrink_effects

if TYPE_CHECKING:
    from anndata import AnnData

    from sctandem._keys import DEKeys
    from sctandem.tl._de_contrasts import Plan
    from sctandem.tl._de_states import StateResult

#: What contrasts that have no condition in common are compared with.
NO_EFFECT = "no effect"


def write(
    adata: AnnData,
    keys: DEKeys,
    found: list[StateResult],
    *,
    plan: Plan,
    params: dict[str, Any],
    shown: str,
    learned: pd.DataFrame | None,
) -> None:
    """Write all slots.

    Parameters
    ----------
    adata
        The object.
    keys
        Names of the slots.
    found
        One a state.
    plan
        What was compared.
    params
        What the result was made with.
    shown
        Column of `obs` that scanpy's plots group cells by.
    learned
        Weights of the cells in the states that were learned, to be kept; `None` where states were given.
    """
    names = list(plan.samples.table.index)
    parts, states = [], []
    for one in found:
        parts += [_genes(one, contrast, adata.var_names, keys) for contrast in one.tests]
        states += [_state(one, contrast, keys) for contrast in one.verdicts]
    table = pd.concat(parts, ignore_index=True)
    samples = pd.concat([_samples(one, names, keys) for one in found], ignore_index=True)
    ranked = _ranked(table, adata.var_names, keys)
    adata.uns[keys.key] = {
        keys.params: params,
        keys.table: text_rows(table),
        keys.states: text_rows(pd.DataFrame(states)),
        keys.samples: text_rows(samples),
        keys.contrasts: text_rows(plan.as_table(keys)),
    }
    adata.uns[keys.ranked] = {
        "params": {
            "groupby": shown, "reference": _compared_with(plan), "method": keys.key,
            "use_raw": False, "corr_method": "benjamini-hochberg",
        },
        **ranked,
    }  # fmt: skip
    if learned is not None:
        adata.obsm[keys.weights] = learned


def _compared_with(plan: Plan) -> str:
    """Return what scanpy's titles say after "vs.": the condition that all contrasts have second, if there is one."""
    second = {one.levels[1] if one.levels else None for one in plan.contrasts}
    return str(second.pop() if len(second) == 1 and None not in second else NO_EFFECT)


def _genes(one: StateResult, contrast: str, names: pd.Index, keys: DEKeys) -> pd.DataFrame:
    """Make the rows of a state and contrast."""
    test, unit = one.tests[contrast], 1 / np.log(2)
    shrunken = shrink_effects(test.effect * unit, test.error * unit)
    table = pd.DataFrame(
        {
            keys.gene: names[one.genes].astype(str),
            keys.state: one.name,
            keys.contrast: contrast,
            keys.log2fc: shrunken.mean,
            keys.lfc_se: shrunken.sd,
            keys.ci_low: shrunken.low,
            keys.ci_high: shrunken.high,
            keys.log2fc_raw: test.effect * unit,
            keys.statistic: test.statistic,
            keys.p_value: test.p_value,
            keys.q_value: false_discovery_control(test.p_value),
            keys.base_mean: test.base_mean,
            keys.n_samples: one.n_samples[contrast],
        }
    )
    order = np.lexsort([-np.abs(test.statistic), test.p_value])
    return table.iloc[order][list(keys.columns)]


def _state(one: StateResult, contrast: str, keys: DEKeys) -> dict[str, Any]:
    """Make the row of a state and contrast."""
    test = one.tests.get(contrast)
    return {
        keys.state: one.name,
        keys.contrast: contrast,
        keys.n_genes: 0 if test is None else len(one.genes),
        keys.n_samples: one.n_samples.get(contrast, 0),
        keys.prior_df: np.nan if test is None else test.prior_df,
        keys.spread: np.nan if test is None else test.spread,
        keys.verdict: one.verdicts[contrast],
    }


def _samples(one: StateResult, names: list[str], keys: DEKeys) -> pd.DataFrame:
    """Make the rows of the samples of a state."""
    return pd.DataFrame(
        {
            keys.sample: names,
            keys.state: one.name,
            keys.n_cells: one.n_cells,
            keys.counts: one.counts,
            keys.used: one.used,
        }
    )


def _ranked(table: pd.DataFrame, names: pd.Index, keys: DEKeys) -> dict[str, np.ndarray]:
    """Lay the results out as scanpy does: a field a group, all genes by falling score, those not tested in it last and without values."""
    several = table[keys.contrast].nunique() > 1
    label = table[keys.state] + (" " + table[keys.contrast] if several else "")
    genes = names.astype(str)  # all: scanpy's plots of values ask for it
    columns: dict[str, dict[str, np.ndarray]] = {}
    for group in dict.fromkeys(label):
        rows = table[label == group].set_index(keys.gene).reindex(genes)
        order = np.argsort(-rows[keys.statistic].to_numpy(), kind="stable")
        one = {
            "names": genes.to_numpy(dtype=object),
            "scores": rows[keys.statistic].to_numpy(dtype=np.float32),
            "pvals": rows[keys.p_value].to_numpy(),
            "pvals_adj": rows[keys.q_value].to_numpy(),
            # not NaN: scanpy's dot plot would draw it as 1, a doubling
            "logfoldchanges": rows[keys.log2fc].fillna(0).to_numpy(dtype=np.float32),
        }
        for name, values in one.items():
            columns.setdefault(name, {})[group] = values[order]
    return {
        name: np.rec.fromarrays(list(fields.values()), dtype=[(group, v.dtype) for group, v in fields.items()])
        for name, fields in columns.items()
    }
