"""Vectors of genes and words as plain arrays in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sctandem._check_files import check_format, existing_file, readable
from sctandem._checks import check_path, check_type
from sctandem._whole import whole_file

#: Version of the layout; files of a newer one are refused.
FORMAT = 1
_NAMES, _VALUES, _FORMAT = "names", "vectors", "format"


def write_vectors(vectors: pd.DataFrame, path: str | Path) -> None:
    """Write vectors as two plain arrays, which any program with numpy reads.

    Parameters
    ----------
    vectors
        Genes or words x dimensions, as :func:`sctandem.get.vectors` gives them.
    path
        File to write, `.npz`; written whole or not at all.

    Returns
    -------
    None.

    Raises
    ------
    TypeError
        When `vectors` is not a table, or `path` not a path.
    ValueError
        When the name does not end in ``.npz``.
    OSError
        When the disk does not take it; a file that was there is as it was.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> table = pd.DataFrame(np.eye(2, dtype="float32"), index=["GATA1", "SPI1"])
    >>> with TemporaryDirectory() as folder:
    ...     td.io.write_vectors(table, Path(folder, "genes.npz"))
    ...     td.io.read_vectors(Path(folder, "genes.npz")).index.tolist()
    ['GATA1', 'SPI1']
    """
    check_type(vectors, pd.DataFrame, "vectors")
    check_path(path, "path")
    numeric = [kind for kind in vectors.dtypes if isinstance(kind, np.dtype) and kind.kind in "iuf"]
    if len(numeric) < vectors.shape[1]:
        msg = (
            "vectors has columns that are no numbers: give a table of genes or words x dimensions, all of them numeric."
        )
        raise ValueError(msg)
    path = Path(path)
    if path.suffix != ".npz":
        msg = f"path={str(path)!r} must end in '.npz'."
        raise ValueError(msg)
    names = np.array([str(name) for name in vectors.index], dtype=np.str_)
    arrays = {_NAMES: names, _VALUES: vectors.to_numpy(dtype=np.float32), _FORMAT: np.array(FORMAT)}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_vectors(path: str | Path) -> pd.DataFrame:
    """Read vectors that :func:`write_vectors` wrote; nothing in the file is run.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Genes or words x dimensions, float32.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it holds other things, or was written by a newer version.
    TypeError
        When `path` is no path.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     td.io.write_vectors(pd.DataFrame(np.eye(2), index=["a", "b"]), Path(folder, "genes.npz"))
    ...     td.io.read_vectors(Path(folder, "genes.npz")).shape
    (2, 2)
    """
    where = existing_file(path, "path")
    # opened here, since numpy leaves a damaged file open
    with (
        readable(path, "a file of vectors", tree=True),
        where.open("rb") as file,
        np.load(file, allow_pickle=False) as content,
    ):
        arrays = {name: content[name] for name in content.files}
    if not {_NAMES, _VALUES} <= set(arrays):
        msg = f"{str(path)!r} holds {sorted(arrays)}, not {_NAMES!r} and {_VALUES!r}: it is no file of vectors."
        raise ValueError(msg)
    check_format(arrays.get(_FORMAT, FORMAT), FORMAT, str(path))
    names, values = arrays[_NAMES], arrays[_VALUES]
    if values.ndim != 2 or names.shape != values.shape[:1]:
        msg = f"{str(path)!r} holds {names.shape} names and {values.shape} values: it is no file of vectors."
        raise ValueError(msg)
    return pd.DataFrame(values, index=names.astype(object), columns=[str(i) for i in range(values.shape[1])])
