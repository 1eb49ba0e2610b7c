from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from sctandem._checks import (
    check_modalities,
    check_mudata,
    check_positive,
    check_roles,
    check_target,
    check_type,
    working_copy,
)
from sctandem._keys import LinkKeys
from sctandem._random import draw_seed
from sctandem.tl._train_model import train_tape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mudata import MuData

    from sctandem._random import RNG
    from sctandem.model import TAPE


def peak_gene_links(
    mdata: MuData,
    model: TAPE | None = None,
    *,
    modalities: Mapping[str, str] | None = None,
    n_permutations: int = 1000,
    windows_key: str = "gene_windows",
    sequence_key: str = "sequence",
    key_added: str = "tape_links",
    rng: RNG = None,
    copy: bool = False,
) -> MuData | None:
    """Find the peaks that drive each gene.

    Needs :func:`sctandem.pp.gene_windows` where no model is given. Every peak of every window is weighed by its place in the
    window, held against the gene's own counts, and tested against permuted windows.

    Parameters
    ----------
    mdata
        The object to write to, with the peaks and genes of the model.
    model
        A trained :class:`~sctandem.model.TAPE` of this object. `None` trains one at its defaults on a copy of all cells of
        `mdata` (counts in ``X``, library sizes from the total counts), which then goes.
    modalities
        From the roles ``"rna"`` and ``"atac"`` to the names of the modalities. By default the same, or those of the
        model.
    n_permutations
        Genes of other chromosomes to which each window is handed for the null distribution, which pools all windows.
    windows_key, sequence_key
        Where no model is given: the `key_added` of :func:`~sctandem.pp.gene_windows` and of
        :func:`~sctandem.pp.sequence_features` (or ``"kmers"`` or ``"motifs"`` of
        :func:`~sctandem.pp.nucleotide_spectrum`), which are used when present.
    key_added
        Name of the result.
    rng
        Seed of the choice of these genes, and of the training where no model is given; `None` draws one. The seed is kept
        in ``params``.
    copy
        Return a copy with the result instead of writing it to `mdata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `mdata.uns[key_added]["table"]` : :class:`pandas.DataFrame`
        A row per peak of a window, best first: ``peak``, ``gene`` (category), ``distance`` (int64, bp to the midpoint of
        the peak, negative upstream), ``weight`` (float64, 0 or more), ``sign`` (int8, -1 or 1), ``pvalue``, ``fdr``
        (float64, weighted Benjamini-Hochberg over all pairs; NaN for genes that were not learned from).
    `mdata.uns[key_added]["params"]` : :class:`dict`
        What the result was made with.

    Raises
    ------
    KeyError
        When a modality is missing, or without a model the windows.
    RuntimeError
        When the model is not trained.
    ValueError
        When `mdata` has other genes or peaks. Nothing is written then.
    TypeError
        When `mdata` is not a MuData, `model` not a TAPE, or a name not text.

    Notes
    -----
    Links are associations: a peak that opens together with a true enhancer is found as well. The null hypothesis of the
    p-value is that the gene follows the peak, in what the other peaks of its window leave unexplained, no more closely than
    genes of other chromosomes do; see :meth:`~sctandem.model.TAPE.get_peak_gene_links`. Cost: pairs x `n_permutations`;
    without a model, its training comes first: a minute or two for 2,000 cells x 50,000 peaks on two cores. Train one
    yourself to use it again, for predictions, or with batches and library sizes of your own.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(300, 60, 600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.model.TAPE.setup_mudata(mdata)
    >>> model = td.model.TAPE(mdata)
    >>> model.train(2, rng=0)
    >>> td.tl.peak_gene_links(mdata, model, rng=0)
    >>> td.get.peak_gene_links(mdata).columns.tolist()
    ['peak', 'gene', 'distance', 'weight', 'sign', 'pvalue', 'fdr']
    """
    check_mudata(mdata)
    check_target(mdata, key_added, copy=copy)
    check_positive(n_permutations, "n_permutations", whole=True)
    given = check_roles(modalities)
    seed = draw_seed(rng)
    if model is None:
        model = train_tape(
            mdata, modalities, train_size=1.0, windows_key=windows_key, sequence_key=sequence_key, seed=seed
        )
    else:
        _check_model(mdata, model, given)
    table = model.get_peak_gene_links(n_permutations=n_permutations, rng=seed)
    keys = LinkKeys(key_added)
    result = working_copy(mdata, copy=copy)
    params = {"n_permutations": n_permutations, "seed": seed, "version": version("sctandem")}
    result.uns[keys.key] = {keys.params: params, keys.table: table}
    return result if copy else None


def _check_model(mdata: MuData, model: TAPE, modalities: dict[str, str]) -> None:
    """Check that the object holds the genes and peaks of the model."""
    from sctandem.model import TAPE

    check_type(model, TAPE, "model", hint="None trains one.")
    named = check_modalities(mdata, {**model.modalities, **modalities})
    for role, names in (("rna", model.gene_names), ("atac", model.peak_names)):
        if not names.isin(mdata.mod[named[role]].var_names).all():
            msg = (
                f"mdata[{named[role]!r}] lacks features of the model; write the links to the object the model was "
                "trained on."
            )
            raise ValueError(msg)
