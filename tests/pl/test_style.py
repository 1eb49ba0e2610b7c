from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from sctandem.pl._style import draw_changes, palette, plain


@pytest.mark.parametrize("draw", [plain, lambda ax: draw_changes(ax, pd.DataFrame(np.eye(3)), np.eye(3) > 0, dot=4)])
def test_the_grid_of_the_users_settings_is_not_drawn(draw):
    with mpl.rc_context({"axes.grid": True}):
        figure, ax = plt.subplots()
        assert any(line.get_visible() for line in ax.get_xgridlines())  # as scanpy's set_figure_params has it
        draw(ax)
        figure.draw_without_rendering()
        assert not any(line.get_visible() for line in (*ax.get_xgridlines(), *ax.get_ygridlines()))
    plt.close(figure)


@pytest.mark.parametrize("n", [11, 20, 21, 24, 25, 28, 29, 60])
def test_many_groups_have_colours_that_differ_and_none_is_grey(n):
    colors = palette(n)
    assert len(set(colors)) == n
    assert all(max(to_rgb(color)) - min(to_rgb(color)) > 0.05 for color in colors)
