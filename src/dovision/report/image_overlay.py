"""Effects and maps over images: underlay, sign, scale, opacity, outlines and colour bar, decided here for every outlet.

The figures, the page and its explorer, the view, the notebook and W&B take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from dovision.functional.geometry import cell_edges, stack
from dovision.report.style import COLOURS, DIVERGING, EFFECT_COLOURS, INK, LINE, PAPER, SMALL, canvas, styled
from dovision.store.tables import boxes_of
from dovision.store.thumbnails import Picture
from dovision.store.unit_masks import UnitMasks, masks_of
from dovision.types import Mask

Values = npt.NDArray[np.float64]
FOR, OTHER = "#F0E442", COLOURS[5]  # outlines that speak for the class (Okabe and Ito's yellow), and the others
OUTLINES = "yellow boxes and outlines: objects that speak for the class, light blue ones: others"
OPAQUE = 0.75  # opacity of the largest value over an image; 0 is clear
EXPLORER_COLOURS = ("#053061", "#4393c3", "#f7f7f7", "#d6604d", "#67001f")  # from against to for the class, in steps


class OverlayPanel(NamedTuple):
    """Image with values to draw over it and its known objects."""

    title: str
    picture: Picture
    values: Values
    boxes: pd.DataFrame
    masks: Mapping[str, Mask]
    label: str  # the class
    of: str = "effect on the class"  # the values
    colours: str = EFFECT_COLOURS  # or DIVERGING, of evidence


@styled
def overlay(panels: Sequence[OverlayPanel], limit: float, colour: bool = False) -> Figure:
    """Draw images side by side under values and boxes: red speaks for the class, small values are clear.

    Args:
        panels: images of 8 bits, (H, W) or (H, W, 3), with values, and boxes and masks on the scale of these.
        limit: the size of value that has the deepest colour.
        colour: show the images in colour, which is easily taken for that of the values, and not in grey.
    """
    figure = canvas(0.8 + 1.6 * len(panels), 2.0, pictures=True)
    figure.suppressComposite = True  # one picture of both would be rounded to whole points, and leave a gap
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(drawn, panels, strict=True):
        extent = edges(panel.values.shape)
        draw_picture(axes, panel.picture, grey=not colour, extent=extent)
        draw_over(axes, panel.values, limit, panel.colours, extent=extent)
        outline_objects(axes, panel.boxes, panel.masks, panel.label)
        framed(axes)
        axes.set_title(panel.title, fontsize=SMALL)
    colour_bar(figure, list(drawn), limit, panels[0].of, panels[0].colours, aspect=20, pad=0.02)
    return figure


def edges(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Left, right, bottom and top of a picture of this shape, (H, W, ...), in pixels."""
    return 0, shape[1], shape[0], 0


def unit_values(
    units: pd.DataFrame, column: str, shape: Sequence[int], empty: float, masks: UnitMasks = MappingProxyType({})
) -> Values:
    """Paint each unit's value at its position, shape (H, W); the smallest unit is on top.

    Args:
        units: a row a unit: its box in pixels, and, where it has a mask, sample and unit.
        column: of the value.
        shape: (H, W, ...) of the image.
        empty: value where no unit lies.
        masks: the pixels that units touch, where these are not all of the box.
    """
    touched = masks_of(units, masks) if masks else None
    return stack(shape[0], shape[1], boxes_of(units), units[column].tolist(), empty, touched)


def colours_of(values: npt.ArrayLike, limit: float, colours: str = EFFECT_COLOURS) -> Values:
    """Opaque RGBA colours of values, in [0, 1], on a new last axis; deepest at `limit`."""
    return np.asarray(colormaps[colours](Normalize(-limit, limit)(values)))


def painted_effects(values: Values, limit: float, colours: str = EFFECT_COLOURS) -> Values:
    """RGBA overlay of effects, (H, W) to (H, W, 4) in [0, 1]; small values are clear.

    Args:
        values: red below 0, blue above; of evidence, for which `colours` is DIVERGING, the reverse.
        limit: the size of value that has the deepest colour.
        colours: EFFECT_COLOURS or DIVERGING.
    """
    painted = colours_of(values, limit, colours)
    painted[..., 3] = np.clip(np.abs(values) / limit, 0, 1) ** 0.5 * OPAQUE
    return painted


def draw_picture(axes: Axes, picture: Picture, grey: bool = False, extent: Any = None) -> None:
    """Draw an image as it is, or in grey, so that its colours are not mistaken for values."""
    shown = picture
    if grey and picture.ndim == 3:
        shown = np.asarray(Image.fromarray(picture).convert("L"))  # luma, ITU-R BT.601
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent)


def draw_over(axes: Axes, values: Values, limit: float, colours: str = EFFECT_COLOURS, extent: Any = None) -> None:
    """Draw values over an image; see `painted_effects`."""
    axes.imshow(painted_effects(values, limit, colours), interpolation="none", extent=extent)


def draw_beside(axes: Axes, values: Values, limit: float, extent: Any) -> None:
    """Draw effects alone, opaque; nan stays empty."""
    scale = Normalize(-limit, limit)
    axes.imshow(values, cmap=EFFECT_COLOURS, norm=scale, interpolation="none", extent=extent)


def draw_map_cells(axes: Axes, cells: Values, shape: Sequence[int], limit: float) -> None:
    """Draw an explainer's map, evidence for the class, over an image of shape (H, W, ...)."""
    across, down = (cell_edges(shape[axis], cells.shape[axis]) for axis in (1, 0))
    axes.pcolormesh(across, down, cells, cmap=DIVERGING, vmin=-limit, vmax=limit, rasterized=True)


def draw_activity(axes: Axes, activity: npt.NDArray[np.float32], picture: Picture) -> None:
    """Draw unsigned activations over a grey image; the largest is brightest."""
    height, width = picture.shape[:2]
    draw_picture(axes, picture, grey=True)
    strength = np.clip(activity / max(float(activity.max()), 1e-12), 0, 1) * 0.7
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(activity, cmap="inferno", alpha=strength, extent=extent, interpolation="nearest")


def outline_objects(axes: Axes, boxes: pd.DataFrame, masks: Mapping[str, Mask], label: str) -> None:
    """Outline objects: one colour for evidence of a class, another for others.

    A mask that has the name of a class is drawn in place of the boxes that speak for that class.
    """
    below = PAPER if axes.images else INK  # so that they are legible on any image
    shown = boxes[~boxes["label"].isin(list(masks))]
    for spoken_for, box in zip(shown["label"], boxes_of(shown), strict=True):
        for colour, width in ((below, 1.8), (FOR if spoken_for == label else OTHER, 1.0)):
            corner = box.left, box.top
            axes.add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor=colour, linewidth=width))
    for name, mask in masks.items():
        height, width = mask.shape
        across, down = np.arange(-0.5, width + 1), np.arange(-0.5, height + 1)  # middles of pixels, with a border
        for colour, line in ((below, 1.8), (FOR if name == label else OTHER, 1.0)):
            axes.contour(across, down, np.pad(mask, 1), levels=[0.5], colors=[colour], linewidths=line)


def framed(axes: Axes) -> None:
    """Frame without ticks."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=LINE)


def colour_bar(
    figure: Figure, panels: Any, limit: float, label: str, colours: str = EFFECT_COLOURS, **layout: Any
) -> None:
    """Draw the colour scale of panels, from -limit to limit; `place` is passed to `Figure.colorbar`."""
    figure.colorbar(ScalarMappable(Normalize(-limit, limit), colours), ax=panels, label=label, **layout)


def page_look() -> dict[str, Any]:
    """Look of the page's explorer: RGB colours from against to for the class, and the largest opacity."""
    colours = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in EXPLORER_COLOURS]
    return {"colours": colours, "opaque": OPAQUE}


def page_variables() -> str:
    """CSS variables of the look: the scale of effects from left to right, and object outlines."""
    scale = ", ".join(reversed(EXPLORER_COLOURS))
    outlines = f"--for-class: {to_hex(FOR)}; --other-object: {to_hex(OTHER)}"
    return f":root {{ --effect-scale: linear-gradient(to right, {scale}); {outlines}; }}\n"
