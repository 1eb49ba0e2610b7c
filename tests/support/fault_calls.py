"""How every public function is called on small valid input. A function that is missing here fails a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fault_conditions as conditions
import fault_objects as make
import pandas as pd
from fault_call import OUT, Call, call
from fault_documented import documented_errors
from fault_models import MODEL_CALLS, SET_UP

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable


def _peak() -> str:
    return str(make._multiome()["atac"].var_names[5])


def _small_peaks() -> Any:
    return pd.DataFrame(index=["chr1:10-200", "chr1:300-900", "chr2:5-1500"])


def public(name: str) -> Callable[..., Any]:
    """Find a function by `package.function`; methods of models say themselves what is called."""
    if (function := CALLS[name].function) is not None:
        return function
    package, function = own_name(name).split(".")
    return getattr(getattr(td, package), function)


def own_name(name: str) -> str:
    """Return `package.function` of an entry: a function with several calls has words behind it."""
    return name.partition(" ")[0]


def documented(name: str) -> tuple[type[Exception], ...]:
    """Return the errors that the documentation of a call names."""
    package, *rest = own_name(name).split(".")
    if package != "model":
        return documented_errors(public(name))
    model, method = getattr(td.model, rest[0]), rest[1]
    made = [model, SET_UP[rest[0]][0]] if rest[0] in SET_UP else [model, model.train]
    # a case calls these together
    return documented_errors(
        *(made if method in {"made", "train", "generate"} else []),
        *([] if method == "made" else [getattr(model, method)]),
    )


RNG = {"rng": 0}
#: By `package.function`; the object comes first, since it is the commonest to be wrong.
CALLS: dict[str, Call] = {
    "pp.chipexo_sites": call(
        data=make.multiome,
        tags=make.tags_table,
        tf="CTCF",
        sites=make.sites_table,
        key_added="exo",
        blank=conditions.CHIPEXO,
        few={"residual": "it is of sites that are called"},
    ),
    "pp.chipexo_sites of no sites": call(
        data=make.multiome, tags=make.tags_table, tf="CTCF", key_added="exo", costly=True
    ),
    "pp.count_fragments": call(
        fragments=make.fragment_file, regions=make.bed_file, cells=None, counting="insertions", read="file"
    ),
    "pp.embed_genes": call(adata=make.cells, n_dims=4, layer="counts", key_added="v", fixed=RNG),
    "pp.embed_kmers": call(
        data=make.multiome, fasta=make.genome, k=3, n_dims=4, window=50, key_added="k", fixed=RNG, costly=True
    ),
    "pp.gene_windows": call(
        mdata=make.multiome, genes=make.genes_table, upstream=50_000, downstream=1000, key_added="w"
    ),
    "pp.hierarchical_weights": call(
        data=make.cells,
        use_rep="X_pca",
        labels="type",
        form="inverse",
        distance="mahalanobis",
        min_cells=5,
        key_added="h",
        fixed=RNG,
    ),
    "pp.long_tail_split": call(
        data=make.cells,
        cluster_key="type",
        donor_key="donor",
        sizes=(0.6, 0.2, 0.2),
        use_rep="X_pca",
        key_added="s",
        fixed=RNG,
    ),
    "pp.nucleotide_spectrum": call(
        data=make.multiome,
        fasta=make.genome,
        k=3,
        motifs=make.motifs,
        p_value=5e-5,
        max_unknown=0.1,
        costly=True,
        writes=("nucleotides", "kmers", "motifs"),
        blank=conditions.SPECTRUM,
    ),
    "pp.sequence_features": call(mdata=make.multiome, fasta=make.genome, k=2, key_added="s", costly=True),
    "tl.anneal": call(
        adata=make.cells,
        use_rep="X_pca",
        n_clusters=3,
        key_added="a",
        fixed=RNG,
        blank=dict.fromkeys(("temperature", "evidence"), lambda given: given["n_clusters"] == 1),
        few=dict.fromkeys(("temperature", "evidence"), "a leaf does not split"),
    ),
    "tl.capsules": call(adata=make.cells, model=make.capsule_net, key_added="c", fixed=RNG, costly=True),
    "tl.deconvolve": call(adata=make.bulk, reference=make.rsd, kind="tpm", key_added="r", fixed=RNG, costly=True),
    "tl.design_talens": call(
        data=make.multiome,
        targets=_peak,
        fasta=make.genome,
        array=(15, 16),
        spacer=(15, 16),
        key_added="t",
        costly=True,
    ),
    "tl.differential_expression": call(
        adata=make.cells,
        groupby="condition",
        sample_key="donor",
        cell_types="type",
        covariates=(),
        reference="control",
        layer="counts",
        key_added="d",
        fixed=RNG,
    ),
    "tl.drivers": call(
        adata=make.bulk,
        groupby="group",
        reference="control",
        covariates=(),
        deconvolution="rsd",
        n_permutations=20,
        key_added="d",
        fixed=RNG,
    ),
    "tl.gene_activity": call(data=make.multiome, genes=make.genes_table, weights="gene_body", key_added="act"),
    "tl.gene_associations": call(
        adata=make.cells,
        genes=["GENE1", "GENE2", "GENE3"],
        sample_key="donor",
        cell_types="type",
        fdr=1.0,
        layer="counts",
        key="deepde",
        key_added="g",
        blank=conditions.CHANGES,
        few={"modules": "three genes make none"},
    ),
    "tl.gene_function": call(
        mdata=make.multiome, batch_key="batch", min_effect=0.2, fdr=0.1, windows_key="gene_windows", key_added="g"
    ),
    "tl.knockout": call(
        mdata=make.multiome,
        peaks=_peak,
        groupby="cell_type",
        key_added="k",
        fixed=RNG | {"settings": {"n_members": 0}},
        costly=True,
    ),
    "tl.map_query": call(
        adata=make.cells,
        reference_model=make.capsule_net,
        min_score=0.05,
        key_added="m",
        fixed=RNG,
        costly=True,
    ),
    "tl.motif_grammar": call(
        data=make.multiome,
        groupby="cell_type",
        top_share=0.2,
        max_spacing=50,
        min_peaks=1,
        key_added="g",
        fixed=RNG,
        few={"table": "few peaks hold two motifs"},
    ),
    "tl.peak_gene_links": call(
        mdata=make.multiome,
        model=make.tape,
        n_permutations=50,
        windows_key="gene_windows",
        sequence_key="sequence",
        key_added="l",
        fixed=RNG,
        costly=True,
        blank=conditions.LINKS,
    ),
    "tl.peak_gene_links of two members": call(
        mdata=make.multiome, model=make.tape_of_two, n_permutations=50, key_added="l", fixed=RNG, costly=True
    ),
    "tl.predict_expression": call(
        mdata=make.multiome,
        model=make.tape,
        windows_key="gene_windows",
        sequence_key="sequence",
        key_added="p",
        fixed=RNG,
        costly=True,
    ),
    "tl.programme_skill": call(
        mdata=make.multiome,
        programmes={"first": ["G0001", "G0002", "G0003", "G0004", "G0005"]},
        key="tape",
        n_random=20,
        key_added="s",
        fixed=RNG,
    ),
    "tl.regulatory_graph": call(
        data=make.multiome,
        tfs=["G0001", "G0002"],
        prior=None,
        groupby="cell_type",
        n_states=20,
        key_added="r",
        fixed=RNG,
        costly=True,
        blank={"fdr_rewired": lambda given: given["prior"] is None},
    ),
    "tl.regulatory_graph of a prior": call(
        data=make.multiome,
        tfs=["G0001", "G0002", "G0003"],
        prior=make.prior_table,
        n_states=20,
        key_added="r",
        fixed=RNG,
        costly=True,
        few={"pearson": "without sites most genes are predicted by a constant"},
    ),
    "tl.robustness": call(
        adata=make.cells,
        model=make.capsule_net,
        labels="type",
        max_cells=30,
        key_added="r",
        fixed=RNG,
        costly=True,
    ),
    "tl.sequence_deviations": call(
        data=make.multiome,
        features="motifs",
        bandwidth=0.1,
        min_expected=1.0,
        key_added="d",
        few={"M1": "few cells have enough counts"},
    ),
    "tl.simulate": call(
        adata=make.cells,
        n={"a": 5},
        cell_type="type",
        batch_key="batch",
        layer="counts",
        fixed=RNG | {"config": make.GENERATOR},
        costly=True,
    ),
    "tl.talen_offtargets": call(
        data=make.multiome, fasta=make.genome, groupby="cell_type", n_pairs=1, cutoff=3.0, key="talens", costly=True
    ),
    "tl.waypoints": call(
        adata=make.cells,
        root="cell0",
        use_rep="X_pca",
        n_waypoints=60,
        key_added="w",
        fixed=RNG,
        few=dict.fromkeys(("branches", "drivers"), "there is one lineage"),
    ),
    "pl.annealing": call(adata=make.cells, key="anneal"),
    "pl.capsules": call(adata=make.cells, groupby="type", n_genes=3, key="capsules"),
    "pl.chipexo_sites": call(data=make.multiome, tf="CTCF", key="chipexo"),
    "pl.de_heatmap": call(adata=make.cells, n_genes=3, q_value=0.5, key="deepde"),
    "pl.deconvolution_fit": call(adata=make.bulk, sample="s0", key="rsd"),
    "pl.drivers": call(adata=make.bulk, n_genes=5, max_q=1.0, key="drivers"),
    "pl.expression_skill": call(mdata=make.multiome, bins=20, key="tape"),
    "pl.gene_associations": call(adata=make.cells, n_pairs=20, n_names=10, key="gene_associations"),
    "pl.gene_function": call(mdata=make.multiome, gene="G0005", key="gene_function", windows_key="gene_windows"),
    "pl.knockout": call(mdata=make.multiome, n_genes=4, key="knockout"),
    "pl.long_tail": call(data=make.cells, key="hcm", split_key="split"),
    "pl.motif_grammar": call(data=make.multiome, n_motifs=4, fdr=1.0, key="motif_grammar"),
    "pl.motif_variability": call(data=make.multiome, features="motifs", n_names=2, fdr=0.5),
    "pl.peak_gene_links": call(
        mdata=make.multiome, gene="G0005", groupby="cell_type", fdr=0.5, key="tape_links", windows_key="gene_windows"
    ),
    "pl.predicted_expression": call(mdata=make.multiome, genes=["G0001", "G0002"], groupby="cell_type", key="tape"),
    "pl.programme_skill": call(mdata=make.multiome, n=5, key="tape_programmes"),
    "pl.proportions": call(adata=make.bulk, groupby="group", intervals=True, key="rsd"),
    "pl.regulator_dotplot": call(
        data=make.multiome, groupby="cell_type", tfs=["G0001", "G0002"], n_tfs=3, key="regulatory_graph"
    ),
    "pl.regulatory_graph": call(data=make.multiome, n_tfs=3, n_targets=3, fdr=1.0, key="regulatory_graph"),
    "pl.robustness": call(adata=make.cells, key="robustness"),
    "pl.talens": call(data=make.multiome, pair="TALEN1", context=1000, key="talens"),
    "pl.volcano": call(adata=make.cells, state="a", q_value=0.5, n_names=4, key="deepde"),
    "pl.waypoints": call(adata=make.cells, basis="X_pca", key="waypoints"),
    "get.capsule_genes": call(adata=make.cells, capsule=0, n_genes=3, key="capsules"),
    "get.de": call(adata=make.cells, gene="GENE1", q_value=1.0, state="a", key="deepde"),
    "get.drivers": call(adata=make.bulk, max_q=1.0, key="drivers"),
    "get.expression_skill": call(mdata=make.multiome, key="tape"),
    "get.fractions": call(adata=make.bulk, obs=["group"], key="rsd"),
    "get.gene_activity": call(data=make.multiome, key="activity"),
    "get.gene_associations": call(adata=make.cells, gene="GENE1", q_value=1.0, key="gene_associations"),
    "get.gene_function": call(mdata=make.multiome, gene="G0005", role=None, key="gene_function"),
    "get.gene_windows": call(mdata=make.multiome, gene="G0005", key="gene_windows"),
    "get.knockout": call(mdata=make.multiome, key="knockout"),
    "get.lineages": call(adata=make.cells, key="waypoints"),
    "get.motif_grammar": call(data=make.multiome, fdr=0.5, test="order", key="motif_grammar"),
    "get.peak_gene_links": call(mdata=make.multiome, gene="G0005", fdr=1.0, key="tape_links"),
    "get.programme_skill": call(mdata=make.multiome, key="tape_programmes"),
    "get.regulatory_graph": call(
        data=make.multiome, tf="G0001", fdr=1.0, n_top=3, key="regulatory_graph", blank=conditions.EDGES
    ),
    "get.robustness": call(adata=make.cells, key="robustness"),
    "get.sequence_deviations": call(data=make.multiome, features="motifs"),
    "get.similar": call(adata=make.cells, name="GENE1", n=3, key="gene_vectors"),
    "get.talens": call(data=make.multiome, pair="TALEN1", what="table", key="talens"),
    "get.vectors": call(adata=make.cells, key="gene_vectors"),
    "get.waypoints": call(adata=make.cells, table="terminals", key="waypoints"),
    "io.read_chipexo": call(path=make.reads_file, mapping_quality=10, duplicates="keep"),
    "io.read_multiome": call(path=lambda: make.h5ad_file("rna"), atac_path=lambda: make.h5ad_file("atac")),
    "io.read_vectors": call(path=make.vectors_file),
    "io.write_vectors": call(vectors=make.vectors_table, path=lambda: make.absent("written.npz"), outputs=("path",)),
    "genome.call_chipexo_sites": call(
        tags=make.tags_table,
        footprint=30,
        fdr=0.05,
        tolerance=6,
        border_width=9,
        blank={"footprint_clear": lambda given: given["footprint"] is not None},
    ),
    "genome.gene_loci": call(genes=make.transcripts, by="name"),
    "genome.gene_tss": call(genes=make.transcripts, by="name"),
    "genome.match_chromosomes": call(names=["1", "MT", "chrX"], reference=["chr1", "chrM", "chrX"]),
    "genome.match_genes": call(genes=make.transcripts, measured=lambda: {"var_names": make.genes_table().index}),
    "genome.parse_intervals": call(intervals=lambda: make.peaks_table().index),
    "genome.peak_coordinates": call(peaks=make.peaks_table),
    "genome.read_genes": call(genes=make.gtf_file),
    "genome.read_motifs": call(source=make.motif_file),
    "genome.read_sites": call(sites=make.bed_file),
    "genome.scan_talens": call(
        fasta=make.small_genome,
        pair=make.PAIR,
        spacer=(15, 20),
        cutoff=3.0,
        upstream="T",
        dimers="all",
        n_best=100,
        fixed={"n_threads": 1},
    ),
    "genome.sequence_features": call(peaks=_small_peaks, fasta=make.small_genome, k=2),
    "genome.tidy_tags": call(tags=make.tags_table),
    "genome.window_pairs": call(
        tss=lambda: td.genome.gene_tss(make.transcripts()), peaks=make.peaks_table, upstream=1000, downstream=1000
    ),
    "genome.write_talens": call(table=make.talen_table, path=lambda: make.absent("order.fasta"), outputs=("path",)),
    "datasets.SimulationDesign": call(n_chromosomes=2, gene_spacing=100_000.0, n_types=5, n_donors=2),
    "datasets.SimulationNoise": call(counts_per_gene=0.8, dispersion=4.0, doublets=0.04, ambient=0.05),
    "datasets.list_datasets": call(),
    "datasets.simulate_multiome": call(n_cells=30, n_genes=30, n_peaks=300, fixed=RNG),
    "data.Collection": call(path=make.collection_folder),
    "data.Source": call(path=make.source_file, layer="counts", name="a", obs={"tissue": "blood"}),
    "data.as_csr": call(matrix=lambda: make.cells().X),
    "data.build_collection": call(
        sources=make.source_file, organism="human", genes="union", fixed={"out": OUT}, costly=True, outputs=("out",)
    ),
    "data.highly_variable_genes": call(collection=make.collection, n_top=5, target_sum=1e4),
    "data.open_collection": call(path=make.collection_folder),
    "data.principal_components": call(collection=make.collection, n_components=3, target_sum=1e4),
    "data.project": call(collection=make.collection, components=make.components, target_sum=1e4),
    **MODEL_CALLS,
}


#: Public names that are no function of input, each with its reason.
NOT_CALLED = {
    "data.CountLoader": "takes what a model has set up, not an object of the user",
    "data.SourceError": "the error itself",
    "datasets.kang2018": "downloads; takes no input",
    "datasets.pbmc_multiome_10k": "downloads; takes no input",
    "datasets.pbmc_multiome_3k": "downloads; takes no input",
    "datasets.set_cache_dir": "sets a folder for the whole process",
}
