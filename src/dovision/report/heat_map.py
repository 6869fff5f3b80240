"""A figure of numbers as colours: who against whom."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dovision.report.style import DIVERGING, LINE, shortened, styled

_CELL = 0.34  # inches


@styled
def heat_maps(
    panels: Mapping[str, pd.DataFrame],
    texts: Mapping[str, pd.DataFrame],
    label: str,
    limit: float | None = None,
    colours: str = DIVERGING,
) -> Figure:
    """Panels side by side with the same rows, on one colour scale that is white at 0.

    Args:
        panels: by title, a table of numbers; nan stays empty.
        texts: by the same titles, what is written into the cells.
        label: of the colours.
        limit: the size of number that has the deepest colour; None takes the largest there is.
        colours: DIVERGING, or EFFECT_COLOURS for effects.
    """
    first = next(iter(panels.values()))
    largest = max(float(np.nanmax(np.abs(values))) for values in panels.values() if values.notna().any(axis=None))
    scale = Normalize(-(limit or largest or 1), limit or largest or 1)
    across = sum(values.shape[1] for values in panels.values())
    figure = Figure(figsize=(3.0 + _CELL * across, max(2.8, 1.5 + _CELL * 0.75 * len(first))), layout="constrained")
    widths = [values.shape[1] for values in panels.values()]
    drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True, width_ratios=widths)[0]
    for axes, (title, values) in zip(drawn, panels.items(), strict=True):
        numbers = values.to_numpy(float)
        axes.pcolormesh(numbers, cmap=colours, norm=scale, edgecolor=LINE, linewidth=0.4)
        for (row, column), text in np.ndenumerate(texts[title].to_numpy()):
            ink = _ink(colormaps[colours](scale(numbers[row, column])))
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=ink)
        names = [shortened(str(name), 22) for name in values.columns]
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_title(title)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    drawn[0].set_yticks(np.arange(len(first)) + 0.5, [shortened(str(name), 22) for name in first.index])
    drawn[0].invert_yaxis()
    figure.colorbar(ScalarMappable(scale, colours), ax=list(drawn), label=label, aspect=25, pad=0.02)
    return figure


def _ink(background: tuple[float, float, float, float]) -> str:
    """Black or white, whichever is more legible on a background, RGBA in [0, 1]."""
    red, green, blue, _ = background
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#fefefe"
