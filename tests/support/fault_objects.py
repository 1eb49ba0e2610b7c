"""Small valid inputs that hold every slot which the package writes: what the malformed ones are made from."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import fragments
import mixtures
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem._compat import copy_mudata
from sctandem.genome import read_motifs
from sctandem.model import RSD, TAPE, CapsuleNet
from sctandem.module import CapsuleConfig, GeneratorConfig, RSDConfig, TAPEConfig
from sctandem.nn import WindowConfig

if TYPE_CHECKING:
    from mudata import MuData

PAIR = ("NI HD NG NN NI HD NG NN NI HD NG NN", "HD HD NG NG NI NI NN NN HD HD NG NG")
GENERATOR = GeneratorConfig(max_epochs=2, n_steps=2)


@cache
def folder() -> Path:
    """The folder of the files, made once; a case writes to what is `absent` alone."""
    return Path(mkdtemp(prefix="faults_"))


def absent(name: str) -> Path:
    """A path where nothing is: what an earlier case has written there is taken away."""
    path = folder() / name
    path.unlink(missing_ok=True)
    return path


@cache
def _simulated() -> MuData:
    return td.datasets.simulate_multiome(80, 40, 400, fasta=folder() / "genome.fa", rng=0)


@cache
def _multiome() -> MuData:
    mdata = copy_mudata(_simulated())
    td.pp.gene_windows(mdata)
    td.pp.sequence_features(mdata, folder() / "genome.fa")
    td.pp.embed_kmers(mdata, folder() / "genome.fa", k=3, n_dims=4, rng=0)
    td.pp.nucleotide_spectrum(mdata, folder() / "genome.fa", k=3, motifs=motifs(), max_unknown=0.2)  # the call: 0.1
    td.tl.sequence_deviations(mdata)
    td.tl.motif_grammar(mdata, rng=0)
    pair = {"group": "all", "motif_a": "M1", "motif_b": "M2", "test": "order", "effect": 1.0, "spacing": -1}
    mdata["atac"].uns["motif_grammar"]["table"] = pd.DataFrame([pair]).assign(pvalue=0.01, fdr=0.02)
    tags = tags_table()
    td.pp.chipexo_sites(mdata, tags, tf="CTCF", sites=sites_table())
    td.tl.gene_function(mdata)
    td.tl.design_talens(mdata, mdata["atac"].var_names[0], folder() / "genome.fa")
    td.tl.talen_offtargets(mdata, folder() / "genome.fa")
    td.tl.regulatory_graph(mdata, ["G0001", "G0002", "G0003"], prior=prior_table(), n_states=20, rng=0)
    td.tl.knockout(mdata, mdata["atac"].var_names[5], settings={"n_members": 0}, rng=0)
    model = _trained_tape(mdata, TWO_MEMBERS)
    td.tl.predict_expression(mdata, model, rng=0)
    td.tl.peak_gene_links(mdata, model, n_permutations=50, rng=0)
    td.tl.programme_skill(mdata, {"first": mdata["rna"].var_names[:12]}, n_random=50, rng=0)
    td.tl.gene_activity(mdata)
    mdata["rna"].obsm["X_pca"] = mdata["rna"].X[:, :6].toarray()
    return mdata


SMALL_TAPE = TAPEConfig(n_factors=4, n_components=6, windows=WindowConfig(n_members=1, n_hidden=8, n_steps=20))
TWO_MEMBERS = TAPEConfig(n_factors=4, n_components=6, windows=WindowConfig(n_members=2, n_hidden=8, n_steps=20))


def _trained_tape(mdata: MuData, config: TAPEConfig = SMALL_TAPE) -> TAPE:
    TAPE.setup_mudata(mdata)
    model = TAPE(mdata, config=config)
    model.train(2, train_size=0.8, rng=0, progress=False)
    return model


@cache
def tape() -> TAPE:
    """A model of peaks and genes, trained on the multiome."""
    return _trained_tape(multiome())


@cache
def tape_of_two() -> TAPE:
    """The same of two members, each of which predicts genes that the other has learned from."""
    return _trained_tape(multiome(), TWO_MEMBERS)


def prior_table() -> pd.DataFrame:
    """Which factors bind at which genes."""
    return pd.DataFrame(
        {"tf": ["G0001", "G0002", "G0003"] * 4, "target": [f"G{i:04d}" for i in range(10, 22)], "weight": 1.0}
    )


def multiome() -> MuData:
    """80 cells x (40 genes, 400 peaks, activities) with the results of every function of paired data."""
    with warnings.catch_warnings():  # genes are named alike in the modality of activities
        warnings.simplefilter("ignore")
        return copy_mudata(_multiome())


@cache
def _cells() -> AnnData:
    rng = np.random.default_rng(0)
    types = np.repeat([0, 1, 2], [90, 60, 30])
    rates = np.exp(rng.normal(size=(3, 40)))
    adata = AnnData(sparse.csr_matrix(rng.poisson(2 * rates[types]).astype(np.float32)))
    adata.obs_names = [f"cell{i}" for i in range(len(types))]
    adata.var_names = [f"GENE{i}" for i in range(40)]
    adata.obs["type"] = pd.Categorical(np.array(["a", "b", "c"])[types])
    adata.obs["donor"] = np.array([f"d{i}" for i in range(6)])[np.arange(len(types)) % 6]
    adata.obs["condition"] = np.where(adata.obs["donor"].isin(["d0", "d1", "d2"]), "treated", "control")
    adata.obs["batch"] = np.where(rng.random(len(types)) < 0.5, "one", "two")
    adata.obs["depth"] = np.asarray(adata.X.sum(axis=1)).ravel().astype(float)
    adata.obsm["X_pca"] = (4 * np.eye(3, 5)[types] + rng.normal(size=(len(types), 5))).astype(np.float32)
    adata.layers["counts"] = adata.X.copy()
    td.tl.anneal(adata, n_clusters=3, rng=0)
    td.tl.capsules(adata, model=_trained_net(adata), rng=0)
    td.pp.hierarchical_weights(adata, labels="type", rng=0)
    td.pp.long_tail_split(adata, "type", rng=0)
    td.tl.waypoints(adata, "cell0", n_waypoints=60, rng=0)
    td.tl.differential_expression(adata, "condition", "donor", cell_types="type")
    td.tl.gene_associations(adata, adata.var_names[:8], sample_key="donor", fdr=1.0)
    td.pp.embed_genes(adata, n_dims=4, rng=0)
    table = {"attack": ["pgd"], "strength": [0.1], "accuracy": [0.8], "kept": [0.9], "ari": [0.7]}
    adata.uns["robustness"] = {"table": pd.DataFrame(table), "clean_accuracy": 0.85, "score": 0.8}
    return adata


def cells() -> AnnData:
    """180 cells x 40 genes of three types and six donors, with the results of every function of cells."""
    return _cells().copy()


def _trained_net(adata: AnnData) -> CapsuleNet:
    adata = adata.copy()
    CapsuleNet.setup_anndata(adata, labels_key="type", batch_key="batch")
    model = CapsuleNet(adata, config=CapsuleConfig(n_hidden=16, n_programmes=4, d_pose=4), rng=0)
    model.train(3, rng=0, progress=False)
    return model


@cache
def capsule_net() -> CapsuleNet:
    """A small net, trained on the cells."""
    return _trained_net(_cells())


@cache
def rsd() -> RSD:
    """A small reference, trained."""
    adata = reference()
    RSD.setup_anndata(adata, "cell_type")
    model = RSD(adata, config=RSDConfig(n_hidden=16), rng=0)
    model.train(3, rng=0, progress=False)
    return model


def reference() -> AnnData:
    """Single cells of known profiles."""
    return mixtures.reference(mixtures.profiles(n_genes=120), n_cells=30)


@cache
def _bulk() -> AnnData:
    adata = mixtures.bulk(mixtures.profiles(n_genes=120), mixtures.compositions(10), platform=0.2)
    adata.obs["group"] = ["control"] * 5 + ["case"] * 5
    td.tl.deconvolve(adata, rsd(), rng=0)
    td.tl.drivers(adata, "group", reference="control", n_permutations=20, rng=0)
    return adata


def bulk() -> AnnData:
    """10 bulk samples x 120 genes, with the results of the functions of bulks."""
    return _bulk().copy()


def motifs() -> dict[str, np.ndarray]:
    """Two matrices, long enough that a site is rarer than the p value by which sites are called."""
    bases = np.eye(4) * 9 + 1
    return read_motifs({"M1": bases[[0, 1, 2, 3, 0, 1, 3, 2]], "M2": bases[[3, 3, 0, 0, 2, 1, 1, 0]]})


def tags_table() -> pd.DataFrame:
    """Tags of ChIP-exo around twenty sites within peaks of the multiome's first chromosome."""
    rng = np.random.default_rng(0)
    rows = []
    for site in _bound():
        for strand, edge in (("+", site - 15), ("-", site + 15)):
            rows += [("chr1", int(edge + rng.integers(-2, 3)), strand) for _ in range(8)]
    return pd.DataFrame(rows, columns=["chrom", "position", "strand"])


def sites_table() -> pd.DataFrame:
    """Bound sites."""
    return pd.DataFrame({"chrom": "chr1", "position": _bound(), "score": 5.0})


def _bound() -> np.ndarray:
    """Return the middles of twenty peaks of the first chromosome."""
    peaks = _simulated()["atac"].var.query("chrom == 'chr1'").iloc[:20]
    return ((peaks["start"] + peaks["end"]) // 2).to_numpy()


def genes_table() -> pd.DataFrame:
    """The genes of the multiome."""
    return _simulated()["rna"].var[["chrom", "start", "end", "strand"]].copy()


def peaks_table() -> pd.DataFrame:
    """The first peaks of the multiome."""
    return _simulated()["atac"].var.iloc[:50][["chrom", "start", "end"]].copy()


def transcripts() -> pd.DataFrame:
    """Gene models as `read_genes` returns them."""
    return td.genome.read_genes(genes_table())


@cache
def genome() -> Path:
    """The genome of the multiome."""
    _simulated()
    return folder() / "genome.fa"


def _site(array: str) -> str:
    """Write what an array of repeats binds best."""
    return "".join({"NI": "A", "HD": "C", "NN": "G", "NG": "T"}[repeat] for repeat in array.split())


def _reverse(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


@cache
def small_genome() -> Path:
    """A genome of a few thousand bases, which is quickly copied and scanned."""
    rng = np.random.default_rng(0)
    path = folder() / "small.fa"
    site = "T" + _site(PAIR[0]) + "ACGTACGTACGTACGT" + _reverse(_site(PAIR[1])) + "A"
    text = "".join(f">chr{i}\n" + "".join(rng.choice(list("ACGTN"), 3000)) + site + "\n" for i in (1, 2))
    path.write_text(text)
    return path


@cache
def bed_file() -> Path:
    """Regions."""
    path = folder() / "regions.bed"
    path.write_text("".join(f"chr1\t{i * 100}\t{i * 100 + 50}\tp{i}\n" for i in range(1, 40)))
    return path


@cache
def gtf_file() -> Path:
    """Genes with transcripts."""
    path = folder() / "genes.gtf"
    rows = []
    for name, row in genes_table().iterrows():
        where = f"{row['start'] + 1}\t{row['end']}\t.\t{row['strand']}\t."
        ids = f'gene_id "{name}"; gene_name "{name}"; transcript_id "{name}.t"; gene_type "protein_coding";'
        rows += [f"{row['chrom']}\tsim\t{kind}\t{where}\t{ids}\n" for kind in ("gene", "transcript", "exon")]
    path.write_text("".join(rows))
    return path


@cache
def fragment_file() -> Path:
    """Fragments of six barcodes, compressed and with an index."""
    return fragments.write(folder(), fragments.draw(np.random.default_rng(0), n=300, length=20_000))


@cache
def reads_file() -> Path:
    """Reads of ChIP-exo."""
    path = folder() / "reads.bed"
    rng = np.random.default_rng(0)
    rows = [f"chr1\t{p}\t{p + 36}\tr{i}\t60\t{'+-'[i % 2]}\n" for i, p in enumerate(rng.integers(0, 5000, 200))]
    path.write_text("".join(rows))
    return path


@cache
def motif_file() -> Path:
    """Two matrices as JASPAR writes them."""
    path = folder() / "motifs.jaspar"
    rows = [f">{name}\tX\n" + "".join(f"{b} [ 1 9 1 1 9 2 ]\n" for b in "ACGT") for name in ("MA1.1", "MA2.1")]
    path.write_text("".join(rows))
    return path


@cache
def vectors_file() -> Path:
    """Vectors of three genes."""
    path = folder() / "vectors.npz"
    td.io.write_vectors(vectors_table(), path)
    return path


def vectors_table() -> pd.DataFrame:
    """Vectors of three genes."""
    return pd.DataFrame(np.eye(3, dtype=np.float32), index=["GATA1", "SPI1", "TAL1"])


@cache
def h5ad_file(modality: str) -> Path:
    """One modality of a small multiome."""
    path = folder() / f"{modality}.h5ad"
    td.datasets.simulate_multiome(20, 30, 300, rng=0)[modality].write_h5ad(path)
    return path


@cache
def source_file() -> Path:
    """Counts of cells, for a collection."""
    path = folder() / "source.h5ad"
    _plain_cells().write_h5ad(path)
    return path


def _plain_cells() -> AnnData:
    full = _cells()
    adata = AnnData(full.X.copy(), obs=full.obs[["type", "donor"]].copy())
    adata.var_names, adata.obs_names = full.var_names, full.obs_names
    return adata


@cache
def collection_folder() -> Path:
    """A collection on disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        td.data.build_collection(
            source_file(), folder() / "collection", organism="human", obs={"cell_type": "type", "donor": "donor"}, rng=0
        )
    return folder() / "collection"


def collection() -> Any:
    """The collection, open."""
    return td.data.open_collection(collection_folder())


@cache
def components() -> Any:
    """Principal components of the collection."""
    return td.data.principal_components(collection(), n_components=3)


def talen_table() -> pd.DataFrame:
    """One pair, as it is ordered."""
    return pd.DataFrame(
        [{"pair": "T1", "left_rvds": "NI HD", "right_rvds": "NG NN", "left_target": "AC", "right_target": "TG"}]
    )


def small() -> AnnData:
    """3 cells x 2 genes, for what is asked of the judge itself."""
    adata = AnnData(np.ones((3, 2), dtype=np.float32), uns={"table": {"t": pd.DataFrame({"a": ["x", None]})}})
    adata.obs["type"] = pd.Categorical(["a", "b", "b"], categories=["a", "b", "c"])
    return adata
