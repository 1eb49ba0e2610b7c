"""Roles of peaks on simulated multiomes, whose regulation is known: part `function` of the benchmark `gene_activity`."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from benchmarks import _tape_simulation

if TYPE_CHECKING:
    from pathlib import Path

    from mudata import MuData

TITLE = "Roles of peaks"
CAPTION = (
    "Simulated multiomes of 2,000 cells, 400 genes and 4,000 peaks. Average precision of all peaks of all windows as true links, "
    "by the size of a score; the length over which the products with distance decay is the best of each simulation, in hindsight; agreement of its sign for true links; and of what is called at a false discovery rate the share that is "
    "false. A silent peak is false when its true effect per standard deviation of its openness is 0.2 or more. `null`: the genes are exchanged."
)
SEEDS = (0, 1, 2, 3, 4)
WORLDS = ("default", "no_grammar", "null")
LEVELS = (0.05, 0.1)
MIN_EFFECT = 0.2
#: Lengths over which the correlation decays with the distance; the best of each simulation is taken, in hindsight.
DECAYS = (5e3, 1e4, 2e4, 5e4, 1e5)
METHODS = {
    "score": "td.tl.gene_function",
    "smoothed_distance": "correlation over 20 nearest cells x exp(-distance / best length)",
    "correlation_distance": "correlation over cells x exp(-distance / best length)",
    "smoothed": "correlation over 20 nearest cells",
    "correlation": "correlation over cells",
    "distance": "distance",
}


def measure(seed: int) -> list[dict[str, Any]]:
    """Score one simulation of every world."""
    return [_world(world, seed) for world in WORLDS]


def _world(world: str, seed: int) -> dict[str, Any]:
    """Compare the roles in one simulation with the truth, and its scores with those that a reader might try."""
    import sctandem as td

    kind = "default" if world == "null" else world
    mdata = _tape_simulation.simulate(kind, seed)
    pairs = mdata.uns["gene_windows"]["pairs"]
    true = np.zeros(len(pairs)) if world == "null" else _true_effects(mdata, kind, seed, pairs)
    is_link, sign = np.abs(true) > 0, np.sign(true)
    if world == "null":
        order = np.random.default_rng(seed).permutation(mdata["rna"].n_vars)
        mdata["rna"].X = mdata["rna"].X[:, order]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        td.tl.gene_function(mdata, batch_key="batch", fdr=LEVELS[1], min_effect=MIN_EFFECT)
    seconds = time.perf_counter() - start
    table = _in_order(td.get.gene_function(mdata), pairs)
    row: dict[str, Any] = {"seed": seed, "name": world, "n_pairs": len(pairs), "seconds": round(seconds, 1)}
    row |= {"n_links": int(is_link.sum()), "spread": mdata.uns["gene_function"]["params"]["spread"]}
    for level in LEVELS:
        called = (table["fdr"] <= level).to_numpy()
        right = called & (sign == np.sign(table["effect"].to_numpy()))
        silent = ((table["silent_fdr"] <= level) & ~called).to_numpy()
        row[f"called_{level}"] = [int(called.sum()), int(right.sum())]
        row[f"silent_{level}"] = [int(silent.sum()), int((np.abs(true[silent]) >= MIN_EFFECT).sum())]
    row["large"] = float((np.abs(true) >= MIN_EFFECT).mean())
    if world == "null":
        return row
    scores = {
        "score": table["score"].fillna(0.0).to_numpy(),
        "smoothed": _tape_simulation.correlations(mdata, pairs, over=_tape_simulation.neighbours(mdata, seed=seed)),
        "correlation": _tape_simulation.correlations(mdata, pairs),
        "distance": -np.abs(pairs["distance"].to_numpy(dtype=np.float64)),
    }
    sizes = {name: np.abs(values) if name != "distance" else values for name, values in scores.items()}
    row["auprc"] = {name: float(average_precision_score(is_link, size)) for name, size in sizes.items()}
    for name in ("smoothed", "correlation"):
        weighted = (sizes[name] * np.exp(sizes["distance"] / decay) for decay in DECAYS)
        row["auprc"][f"{name}_distance"] = max(float(average_precision_score(is_link, size)) for size in weighted)
    row["sign"] = {
        name: float((np.sign(values) == sign)[is_link].mean()) for name, values in scores.items() if name != "distance"
    }
    return row


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Lay out means over simulations, the baselines below."""
    out = []
    for world in WORLDS:
        some = [row for row in rows if row["name"] == world]
        if not some:
            continue
        for name, title in METHODS.items():
            ours = name == "score"
            if "auprc" not in some[0] and not ours:
                continue
            line = {"world": world, "method": title}
            line["average precision"] = _mean([row["auprc"][name] for row in some if "auprc" in row])
            line["sign right"] = _mean([row["sign"][name] for row in some if name in row.get("sign", {})])
            for level in LEVELS:
                line[f"called at {level:g} (false)"] = _counted(some, f"called_{level}", right=True) if ours else ""
                line[f"silent at {level:g} (false)"] = _counted(some, f"silent_{level}", right=False) if ours else ""
            out.append(line)
    return out


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Hold what was measured against what is claimed."""
    real, null = ([row for row in rows if ("auprc" in row) == with_links] for with_links in (True, False))
    if not real or not null:
        return [{"target": "roles of peaks hold their false discovery rate", "measured": "", "met": "not measured"}]
    called, right = (sum(row["called_0.1"][i] for row in real) for i in (0, 1))
    silent, large = (sum(row["silent_0.1"][i] for row in real) for i in (0, 1))
    made = sum(row["called_0.1"][0] > 0 for row in null)
    checks = (
        (
            "activators and repressors at FDR 0.1: at most 10 % false",
            f"{1 - right / max(called, 1):.3f}",
            right >= 0.9 * called,
        ),
        (
            "silent at FDR 0.1: at most 10 % have an effect of 0.2",
            f"{large / max(silent, 1):.3f}",
            large <= 0.1 * silent,
        ),
        *_precision(real),
        (
            "exchanged genes: calls in at most a quarter of the simulations",
            f"{made} of {len(null)}",
            4 * made <= len(null),
        ),
    )
    return [{"target": target, "measured": value, "met": "yes" if met else "no"} for target, value, met in checks]


def _precision(rows: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    """Hold the average precision against the best baseline of each world: what wins one need not win the other."""
    out = []
    for world in dict.fromkeys(row["name"] for row in rows):
        some = [row["auprc"] for row in rows if row["name"] == world]
        means = {name: float(np.mean([each[name] for each in some])) for name in METHODS if name in some[0]}
        ours = means.pop("score")
        best = max(means, key=means.__getitem__)
        text = f"{ours:.3f} vs {means[best]:.3f} ({METHODS[best]})"
        out.append((f"average precision above every baseline, {world}", text, ours > means[best]))
    return out


def data() -> list[Path]:
    """Give the files that the part reads: none."""
    return []


def _true_effects(mdata: MuData, world: str, seed: int, pairs: pd.DataFrame) -> np.ndarray:
    """Return the change of the log rate of a gene per standard deviation of the openness of a peak, saturation included."""
    import sctandem as td
    from sctandem._random import as_generator
    from sctandem.datasets import SimulationDesign, SimulationNoise
    from sctandem.datasets._simulation._cells import draw_population
    from sctandem.datasets._simulation._genome import lay_out
    from sctandem.datasets._simulation._regulation import CEILING, draw_regulation

    design = SimulationDesign(**_tape_simulation.WORLDS[world].design)
    # the openness is no part of the result: the same seed draws the same genome, regulation and cells again
    place, rule, _, people, _, _ = as_generator(seed).spawn(6)
    rna, atac = mdata["rna"], mdata["atac"]
    genome = lay_out(rna.n_vars, atac.n_vars, design=design, rng=place)
    regulation = draw_regulation(genome, design=design, rng=rule)
    n_cells = mdata.n_obs + round(SimulationNoise().doublets * mdata.n_obs)
    roles = regulation.tfs["role"].to_numpy().astype(str)
    activity = draw_population(n_cells, roles, design=design, rng=people).activity()[: mdata.n_obs]
    if not np.allclose(activity, mdata.uns["truth"]["tf_activity"]):
        msg = f"seed={seed} of {td.datasets.simulate_multiome.__name__} does not draw the same cells again: its steps have changed."
        raise RuntimeError(msg)
    openness = regulation.openness(activity)
    slope = (1 / np.cosh((regulation.drive(openness, activity) - regulation.rest) / CEILING) ** 2).mean(axis=0)
    links = mdata.uns["truth"]["links"].set_index(["gene", "peak"])
    weight = (links["weight"] * links["sign"]).reindex(pd.MultiIndex.from_frame(pairs[["gene", "peak"]].astype(str)))
    gene, peak = rna.var_names.get_indexer(pairs["gene"]), atac.var_names.get_indexer(pairs["peak"])
    return weight.fillna(0.0).to_numpy() * openness.std(axis=0)[peak] * slope[gene]


def _in_order(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table in the order of the pairs."""
    wanted = pd.MultiIndex.from_frame(pairs[["gene", "peak"]].astype(str))
    return table.astype({"gene": str, "peak": str}).set_index(["gene", "peak"]).reindex(wanted)


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.3f}" if values else ""


def _counted(rows: list[dict[str, Any]], key: str, *, right: bool) -> str:
    """Write how many were called in all simulations, and which share of them is false."""
    n, hit = (sum(row[key][i] for row in rows) for i in (0, 1))
    false = n - hit if right else hit
    return f"{n} ({false / n:.3f})" if n else "0"
