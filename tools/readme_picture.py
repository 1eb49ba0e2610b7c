"""Draw docs/_static/links.png by the example in the README, as it is written there: `python tools/readme_picture.py`."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import matplotlib as mpl
import scvi
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the first example of the README and keep the last figure."""
    mpl.use("Agg")
    scvi.settings.seed = 0
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL).group(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the example saves its figure
        exec(compile(example, "README.md", "exec"), {})
    plt.gcf().savefig(ROOT / "docs" / "_static" / "links.png", dpi=180)


if __name__ == "__main__":
    main()
