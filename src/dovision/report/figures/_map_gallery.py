"""A figure of a few images with their boxes and, beside each, the map of each explainer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dovision.functional.agreement import OK
from dovision.functional.geometry import cell_edges
from dovision.report.style import COLOURS, DIVERGING, INK, LINE, PAPER, shortened, styled
from dovision.store.map_tables import MapGrid
from dovision.store.tables import boxes_of
from dovision.store.thumbnails import Picture

FOR, OTHER = COLOURS[4], COLOURS[5]  # boxes that speak for the class, and the others


@styled
def map_gallery(pictures: Mapping[int, Picture], frame: pd.DataFrame, boxes: pd.DataFrame, grid: MapGrid) -> Figure:
    """A row per image: the image, then each explainer's map of one class; a colour scale for all maps of an explainer.

    Args:
        pictures: the image of each sample, shape (H, W) or (H, W, 3), 8 bits.
        frame: a row per (sample, explainer): class, correct, state, cells.
        boxes: of these samples, with label.
        grid: what the cells and the boxes lie on.
    """
    explainers = list(dict.fromkeys(frame["explainer"]))
    largest = {
        name: max(float(np.abs(cells).max()) for cells in maps["cells"])
        for name, maps in frame[frame["state"] == OK].groupby("explainer", sort=False)
    }
    figure = Figure(figsize=(1.15 * (len(explainers) + 1), 0.35 + 1.3 * len(pictures)), layout="constrained")
    panels = figure.subplots(len(pictures), len(explainers) + 1, squeeze=False)
    for row, (sample, picture) in enumerate(pictures.items()):
        maps = frame[frame["sample"] == sample].set_index("explainer")
        label = maps["class"].iloc[0]
        of_sample = boxes[boxes["sample"] == sample]
        edges = (0, picture.shape[1], picture.shape[0], 0)
        panels[row, 0].imshow(picture, cmap="gray", vmin=0, vmax=255, extent=edges, interpolation="none")
        hit = "right" if maps["correct"].iloc[0] else "wrong"
        panels[row, 0].set_xlabel(f"{shortened(label, 14)} ({hit})", fontsize=7)
        for axes, explainer in zip(panels[row, 1:], explainers, strict=True):
            _map(axes, maps.loc[explainer], grid, edges, largest.get(explainer, 1.0))
        for axes in panels[row]:
            _outline(axes, of_sample, label)
            axes.set(xticks=[], yticks=[], xlim=edges[:2], ylim=edges[2:], aspect="equal")
            axes.spines[:].set(visible=True, color=LINE)
    for axes, title in zip(panels[0], ["image", *explainers], strict=True):
        axes.set_title("\n".join(title.rsplit("_", 1)) if len(title) > 10 else title, fontsize=7.5, loc="center")
    return figure


def _map(axes: Axes, row: pd.Series, grid: MapGrid, edges: tuple[int, int, int, int], largest: float) -> None:
    if row["state"] != OK:
        axes.text(edges[1] / 2, edges[2] / 2, row["state"], ha="center", va="center", fontsize=7, color=INK)
        return
    cells = row["cells"].reshape(grid.rows, grid.columns)
    across, down = cell_edges(grid.width, grid.columns), cell_edges(grid.height, grid.rows)
    axes.pcolormesh(across, down, cells, cmap=DIVERGING, vmin=-largest, vmax=largest, rasterized=True)


def _outline(axes: Axes, boxes: pd.DataFrame, label: str) -> None:
    for spoken_for, box in zip(boxes["label"], boxes_of(boxes), strict=True):
        for colour, width in ((PAPER if axes.images else INK, 1.8), (FOR if spoken_for == label else OTHER, 1.0)):
            axes.add_patch(
                Rectangle((box.left, box.top), box.width, box.height, fill=False, edgecolor=colour, linewidth=width)
            )
