"""What `model.RegulatoryGraph` reads: expression, regulators, and the evidence that joins them to genes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mudata import MuData
from scipy import sparse

from sctandem._blocks import as_csr, as_dense
from sctandem._check_arguments import check_present, shown
from sctandem._check_slots import check_slot, check_table
from sctandem._checks import (
    check_adata,
    check_layer,
    check_modalities,
    check_roles,
    check_same_cells,
    check_type,
    check_unique,
    layer_slot,
    listed,
)
from sctandem._chromatin_keys import MotifKeys
from sctandem._keys import MODALITIES, GeneWindowKeys, LinkKeys
from sctandem._regulation_keys import ChipexoKeys
from sctandem.model._regulatory_names import case_hint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from sctandem.model._regulatory_names import Regulators

logger = logging.getLogger(__name__)

#: Distance over which nearness of a site falls by the factor e, bp.
DECAY = 50_000
#: Weight of a motif in a site; ChIP-exo, which saw the factor there, counts twice.
MOTIF, CHIPEXO = 1.0, 2.0
#: Nearness is multiplied by this where TAPE links the site to the gene at 5 % FDR.
LINKED, LINK_FDR = 2.0, 0.05
#: Names that the columns of a table of targets may have.
COLUMNS = {"tf": ("tf", "TF", "source", "Gene1"), "target": ("target", "Target", "gene", "Gene2")}


@dataclass(frozen=True)
class Evidence:
    """Prior edges; what is missing is `None`."""

    binding: sparse.csr_matrix | None = None
    """Sites x regulators."""
    near: sparse.csr_matrix | None = None
    """Sites x genes."""
    kinds: sparse.csr_matrix | None = None
    """Which evidence says that a regulator binds, sites x regulators: 1 motif, 2 ChIP-exo, 3 both."""
    table: sparse.csr_matrix | None = None
    """Regulators x genes: weight of the user's table."""

    @property
    def sites(self) -> bool:
        """Whether there are paths over sites."""
        return self.binding is not None

    @property
    def names(self) -> list[str]:
        """Which evidence there is."""
        bits = np.unique(self.kinds.data) if self.kinds is not None and self.sites else np.zeros(0, dtype=int)
        given = {"motif": (bits & 1).any(), "chipexo": (bits & 2).any(), "table": self.table is not None}
        return [name for name, there in given.items() if there]

    @property
    def empty(self) -> bool:
        """Whether there is no prior edge at all."""
        return self.binding is None and self.table is None


def parts_of(
    data: AnnData | MuData, modalities: Mapping[str, str] | None
) -> tuple[AnnData, AnnData | None, dict[str, str]]:
    """Return expression, accessibility where there is any, and their names by role, which an AnnData has none of."""
    if not isinstance(data, MuData):
        check_adata(data)
        return data, None, {}
    named = named_parts(data, modalities)
    return data.mod[named[MODALITIES[0]]], data.mod[named[MODALITIES[1]]] if len(named) > 1 else None, named


def named_parts(mdata: MuData, modalities: Mapping[str, str] | None) -> dict[str, str]:
    """Return the names of expression, and of accessibility where it is named or goes by its usual name, by role; they have the same cells."""
    held = mdata.mod if isinstance(mdata, MuData) else ()  # of what is none, check_modalities says so
    both = MODALITIES[1] in {*check_roles(modalities), *held}
    named = check_modalities(mdata, modalities, required=MODALITIES if both else MODALITIES[:1])
    check_same_cells(mdata, list(named.values()))
    return named


def expression_slot(named: Mapping[str, str]) -> str:
    """Name in messages where the expression is; `named` is that of `parts_of`."""
    return f"mdata[{named[MODALITIES[0]]!r}]" if named else "adata"


def group_codes(groups: pd.Series, cells: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each cell as a number, -1 where it has none, and the names of the groups.

    Raises
    ------
    TypeError
        When `groups` is no Series.
    ValueError
        When it lacks cells, has one twice, or names no group.
    """
    check_type(groups, pd.Series, "groups", hint="Such as adata.obs['cell_type'].")
    if not groups.index.equals(cells):
        check_unique(groups.index, "groups.index")
        absent = cells[~cells.isin(groups.index)]
        if len(absent):
            msg = f"groups lacks {len(absent)} of {len(cells)} cells of the model, such as {absent[0]!r}: its index must be their names."
            raise ValueError(msg)
        groups = groups.loc[cells]
    codes, names = pd.factorize(groups.astype(object).map(str, na_action="ignore"), sort=True)
    if not len(names):
        msg = "groups names no group: all its values are missing."
        raise ValueError(msg)
    return codes, np.asarray(names, dtype=object)


def expression_of(
    rna: AnnData, layer: str | None, where: str = "adata", cells: np.ndarray | None = None
) -> tuple[np.ndarray, bool]:
    """Read expression of some cells, cells x genes, float32; counts become log of 1 + counts per 10,000. Also say whether they were counts."""
    slot = layer_slot(where, layer)
    check_unique(rna.var_names, f"{where}.var_names")
    matrix = check_layer(rna, layer, where)
    check_present(matrix, slot)
    values = as_dense(matrix if cells is None else matrix[cells]).astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        msg = f"{slot} has {int(bad.sum())} values that are not finite; give counts or log-normalised expression without them."
        raise ValueError(msg)
    counts = bool((values >= 0).all() and (values == np.round(values)).all() and values.max(initial=0) > 1)
    if counts:
        size = np.maximum(values.sum(axis=1, keepdims=True), 1)
        values = np.log1p(values / size * 1e4)
    return values, counts


def table_by_gene(prior: Any, symbols: Mapping[str, str]) -> Any:
    """Name the genes of a table of targets, which may be symbols, as the data do; leave anything else as it is."""
    if not isinstance(prior, pd.DataFrame) or not symbols:
        return prior
    here = [name for names in COLUMNS.values() for name in names if name in prior.columns]
    return prior.assign(**{name: [symbols.get(str(gene), gene) for gene in prior[name]] for name in here})


def gather_evidence(
    data: AnnData | MuData, atac: AnnData | None, *, genes: pd.Index, regulators: Regulators, prior: Any
) -> Evidence:
    """Read all prior edges that there are.

    Raises
    ------
    KeyError
        When the table lacks a column.
    ValueError
        When evidence was given, but no edge is left after names were matched, or names of sites repeat.
    """
    if prior is None:
        return Evidence()
    if not isinstance(prior, (str, pd.DataFrame)) or (isinstance(prior, str) and prior != "auto"):
        msg = (
            f"prior={shown(prior)} is not known; give 'auto', a table with the columns tf and target (pandas reads it from a file), or "
            "None for no prior."
        )
        raise ValueError(msg)
    table = _target_table(prior, genes, regulators) if isinstance(prior, pd.DataFrame) else None
    if atac is None:
        return Evidence(table=table)
    check_unique(atac.var_names, f"mdata[{MODALITIES[1]!r}].var_names")
    kinds = _binding(atac, regulators)
    near = _nearness(data.uns, genes, atac.var_names)
    if kinds is None or near is None:
        missing = (
            "pp.nucleotide_spectrum(mdata, fasta, motifs=...) or pp.chipexo_sites"
            if kinds is None
            else "pp.gene_windows"
        )
        logger.warning("accessibility is not used as evidence: run %s first", missing)
        return Evidence(table=table)
    binding = kinds.astype(np.float64)
    binding.data = (kinds.data % 2) * MOTIF + (kinds.data // 2) * CHIPEXO
    if not (binding.T @ near).nnz:
        if table is not None:
            logger.warning(
                "no motif or ChIP-exo site belongs to a regulator in the window of a gene: only the table is used"
            )
            return Evidence(table=table)
        msg = (
            f"no prior edge is left: no site of the {len(regulators.names)} regulators ({listed(regulators.motifs, 5)}) lies in the "
            f"window of a gene. The sites are of {listed(_site_names(atac), 5)}: where these are the regulators under other names, give "
            "tfs={gene: name of its motif}; prior=None uses expression alone."
        )
        raise ValueError(msg)
    return Evidence(binding=sparse.csr_matrix(binding), near=near, kinds=kinds, table=table)


def _target_table(table: pd.DataFrame, genes: pd.Index, regulators: Regulators) -> sparse.csr_matrix:
    """Match a table of targets to regulators and genes."""
    columns = {}
    for role, names in COLUMNS.items():
        found = [name for name in names if name in table.columns]
        if not found:
            msg = f"prior has no column {role!r} (or {listed(names[1:])}); it has {listed(table.columns)}."
            raise KeyError(msg)
        columns[role] = table[found[0]].astype(str).to_numpy()
    weight = np.abs(_weights(table["weight"])) if "weight" in table else np.ones(len(table))
    tf = pd.Index(regulators.names).get_indexer(columns["tf"])
    gene = pd.Index(genes.astype(str)).get_indexer(columns["target"])
    own = regulators.position[tf] == gene
    good = (tf >= 0) & (gene >= 0) & ~own & (weight > 0)
    if not good.any():
        hint = case_hint(sorted(set(columns["tf"]) | set(columns["target"])), genes)
        msg = f"no prior edge is left: of {len(table)} rows none joins one of the {len(regulators.names)} regulators to a gene.{hint}"
        raise ValueError(msg)
    logger.info("%d of %d prior edges join a regulator to a gene", int(good.sum()), len(table))
    shape = (len(regulators.names), len(genes))
    edges = sparse.coo_matrix((weight[good], (tf[good], gene[good])), shape=shape).tocsr()
    edges.data /= edges.data.max()
    return edges


def _weights(column: pd.Series) -> np.ndarray:
    """Return the weights of a table of targets, which must be numbers."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        msg = (
            f"prior['weight'] has {len(bad)} values that are no finite number, such as {column.iloc[bad[0]]!r}: leave those rows "
            "out, or drop the column, and all edges weigh the same."
        )
        raise ValueError(msg)
    return values


def _binding(atac: AnnData, regulators: Regulators) -> sparse.csr_matrix | None:
    """Return which evidence says that each regulator binds each site, `None` without any."""
    found = sparse.csr_matrix((atac.n_vars, len(regulators.names)), dtype=np.int64)
    motifs, chipexo = MotifKeys(), ChipexoKeys()
    given = False
    if motifs.key in atac.varm and motifs.key in atac.uns:
        given = True
        hits = sparse.csc_matrix(atac.varm[motifs.key])
        names = [_factors(name) for name in _motif_names(atac.uns[motifs.key], motifs)]
        found = found + _columns(hits > 0, names, regulators)
    if chipexo.key in atac.varm:
        given = True
        sites = atac.varm[chipexo.key]
        names = [{str(name).upper()} for name in sites.columns]
        found = found + 2 * _columns(sparse.csc_matrix(sites.to_numpy() > 0), names, regulators)
    return sparse.csr_matrix(found) if given else None


def _site_names(atac: AnnData) -> list[str]:
    """Return what the motifs and the ChIP-exo experiments of the peaks are called."""
    motifs, chipexo = MotifKeys(), ChipexoKeys()
    searched = _motif_names(atac.uns[motifs.key], motifs) if motifs.key in atac.uns else []
    return [*searched, *map(str, atac.varm.get(chipexo.key, ()))]


def _motif_names(kept: Mapping[str, Any], keys: MotifKeys) -> list[str]:
    table = kept.get(keys.table)
    names = kept[keys.names] if table is None or keys.name not in table else table[keys.name]
    return [str(name) for name in names]


def _factors(name: str) -> set[str]:
    """Factors of a motif: those of JASPAR are named ``FOS::JUN`` or ``RELA(var.2)``."""
    return {part.split("(")[0].strip().upper() for part in [name, *name.split("::")]}


def _columns(hits: sparse.csc_matrix, names: list[set[str]], regulators: Regulators) -> sparse.csr_matrix:
    """Put the columns of motifs to the regulators; of several motifs one hit is enough."""
    belongs = sparse.csr_matrix(
        [
            [
                int(motif.upper() in each or gene.upper() in each)
                for motif, gene in zip(regulators.motifs, regulators.names, strict=True)
            ]
            for each in names
        ]
    )
    return sparse.csr_matrix((hits.astype(np.int64) @ belongs) > 0).astype(np.int64)


def _nearness(uns: Mapping[str, Any], genes: pd.Index, peaks: pd.Index) -> sparse.csr_matrix | None:
    """Return how near each site is to each gene."""
    keys, links = GeneWindowKeys(), LinkKeys()
    if keys.key not in uns:
        return None
    function = "td.pp.gene_windows(mdata)"
    slot = check_slot(uns, keys.key, "mdata.uns", function)
    pairs = check_table(slot, keys.pairs, f"mdata.uns[{keys.key!r}]", function, (keys.peak, keys.gene, keys.distance))
    site = peaks.astype(str).get_indexer(pairs[keys.peak].astype(str))
    gene = genes.astype(str).get_indexer(pairs[keys.gene].astype(str))
    weight = np.exp(-np.abs(pairs[keys.distance].to_numpy(np.float64)) / DECAY)
    good = (site >= 0) & (gene >= 0)
    near = sparse.csr_matrix((weight[good], (site[good], gene[good])), shape=(len(peaks), len(genes)))
    if links.key in uns:
        function = "td.tl.peak_gene_links(mdata, model)"
        slot = check_slot(uns, links.key, "mdata.uns", function)
        columns = (links.peak, links.gene, links.fdr)
        table = check_table(slot, links.table, f"mdata.uns[{links.key!r}]", function, columns)
        table = table[table[links.fdr] <= LINK_FDR]
        site = peaks.astype(str).get_indexer(table[links.peak].astype(str))
        gene = genes.astype(str).get_indexer(table[links.gene].astype(str))
        good = (site >= 0) & (gene >= 0)
        more = sparse.csr_matrix((np.full(int(good.sum()), LINKED - 1), (site[good], gene[good])), shape=near.shape)
        near = near + near.multiply(more)
        logger.info("%d links of TAPE raise the weight of their sites", int(good.sum()))
    return sparse.csr_matrix(near)


def accessibility_of(atac: AnnData, name: str, cells: np.ndarray | None = None) -> sparse.csr_matrix:
    """Read accessibility of some cells as counts per 10,000, cells x sites, CSR float32."""
    matrix = check_layer(atac, None, f"mdata[{name!r}].X")
    matrix = sparse.csr_matrix(as_csr(matrix if cells is None else matrix[cells]), dtype=np.float32)
    size = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)
    return sparse.csr_matrix(sparse.diags((1e4 / size).astype(np.float32)) @ matrix)
