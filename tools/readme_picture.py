"""Draw the pictures of the README in docs/_static: `python tools/readme_picture.py [story | links]`, by default both.

`links.png` is drawn by the example in the README, as it is written there; `story.png` is the last figure of the story's notebook, as it
was executed and committed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import scvi
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "_static"
STORY = ROOT / "tutorials" / "00_from_multiome_to_edit.ipynb"


def story_picture(notebook: Path = STORY) -> bytes:
    """Take the last figure out of an executed notebook, as PNG."""
    cells = json.loads(notebook.read_text())["cells"]
    figures = [
        output["data"]["image/png"]
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    picture = figures[-1]
    return base64.b64decode(picture if isinstance(picture, str) else "".join(picture))


def draw_links() -> None:
    """Run the first example of the README and keep the last figure."""
    mpl.use("Agg")
    scvi.settings.seed = 0
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL).group(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the example saves its figure
        exec(compile(example, "README.md", "exec"), {})
    plt.gcf().savefig(PICTURES / "links.png", dpi=180)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["story", "links"]
    if "story" in wanted:
        (PICTURES / "story.png").write_bytes(story_picture())
    if "links" in wanted:
        draw_links()
