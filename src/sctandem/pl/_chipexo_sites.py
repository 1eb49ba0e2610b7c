from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from mudata import MuData

from sctandem._checks import check_adata, check_modalities, check_slot, check_table, check_type, listed
from sctandem._regulation_keys import ChipexoKeys
from sctandem.pl._style import ACTIVATING, INK, REPRESSING, SMALL, TEXT, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from matplotlib.axes import Axes


def chipexo_sites(
    data: AnnData | MuData,
    tf: str,
    *,
    modalities: Mapping[str, str] | None = None,
    key: str = "chipexo",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean tags of both strands around the ChIP-exo sites of a factor.

    Needs :func:`sctandem.pp.chipexo_sites` with tags.

    Parameters
    ----------
    data
        An AnnData of peaks, or a MuData with accessibility.
    tf
        The factor.
    modalities
        From the role ``"atac"`` to the name of the modality in a MuData. By default the same.
    key
        The `key_added` of :func:`sctandem.pp.chipexo_sites`.
    ax
        Axes to draw into; `None` makes new ones.

    Returns
    -------
    The axes. Across: distance from the site. Up: tags on + a site; down: tags on - a site. Dashed: the footprint, where it
    is known.

    Raises
    ------
    KeyError
        When there are no sites under `key`, or none of this factor.
    ValueError
        When the sites of the factor were given without tags.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> peaks = AnnData(var=pd.DataFrame(index=["chr1:100-600"]))
    >>> tags = pd.DataFrame({"chrom": "chr1", "position": [290, 291, 320, 321], "strand": ["+", "+", "-", "-"]})
    >>> site = pd.DataFrame({"chrom": ["chr1"], "position": [306]})
    >>> td.pp.chipexo_sites(peaks, tags, tf="CTCF", sites=site)
    >>> ax = td.pl.chipexo_sites(peaks, "CTCF")
    """
    keys = ChipexoKeys(key)
    if isinstance(data, MuData):
        name = check_modalities(data, modalities, required=("atac",))["atac"]
        atac, slot = data.mod[name], f"mdata[{name!r}]"
    else:
        check_adata(data)
        atac, slot = data, "adata"
    check_type(tf, str, "tf", hint="It names one factor.")
    function = f"td.pp.chipexo_sites(..., key_added={key!r})"
    entry = check_slot(atac.uns, key, f"{slot}.uns", function)
    params = check_slot(entry, keys.params, f"{slot}.uns[{key!r}]", function)
    if tf not in params:
        msg = f"{slot}.uns[{key!r}] has no sites of {tf!r}; it has those of {listed(params)}."
        raise KeyError(msg)
    profile = check_table(entry, keys.profile, f"{slot}.uns[{key!r}]", function)
    if not len(profile) or not (profile[keys.tf] == tf).any():
        msg = f"The sites of {tf!r} were given without tags: there is no profile. Give both: pp.chipexo_sites(data, tags, sites=...)."
        raise ValueError(msg)
    profile = profile[profile[keys.tf] == tf]
    if ax is None:
        ax = plt.subplots(figsize=(4.2, 3.0), layout="constrained")[1]
    offset = profile[keys.offset].to_numpy()
    top = 0.0
    for column, color, name, side in ((keys.plus, ACTIVATING, "+ strand", 1), (keys.minus, REPRESSING, "- strand", -1)):
        height = profile[column].to_numpy()
        ax.fill_between(offset, 0, side * height, step="mid", color=color, linewidth=0)
        ax.text(0.02, 0.96 if side > 0 else 0.04, name, color=color, fontsize=SMALL, transform=ax.transAxes,
                va="top" if side > 0 else "bottom")  # fmt: skip
        top = max(top, float(height.max()))
    footprint = params[tf].get("footprint")
    if footprint is not None:
        for edge in (-float(footprint) / 2, float(footprint) / 2):
            ax.axvline(edge, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    ax.axhline(0, color=INK, linewidth=0.8)
    limit = 1.1 * top if top else 1.0
    ax.set_ylim(-limit, limit)
    ax.yaxis.set_major_formatter(lambda value, _: f"{np.abs(value):g}")  # both strands count upwards from 0
    ax.set_xlim(offset[0], offset[-1])
    ax.set_xlabel("Distance from the site, bp", fontsize=TEXT)
    ax.set_ylabel("Tags a site", fontsize=TEXT)
    known = f", footprint {int(footprint)} bp" if footprint is not None else ""
    n_sites = int(params[tf][keys.n_sites])
    ax.set_title(f"{tf}: {n_sites:,} site{'s' * (n_sites != 1)}{known}", fontsize=TEXT, color=INK, loc="left")
    plain(ax)
    return ax
