"""Effects and maps over images: underlay, sign, scale, opacity, outlines and colour bar, decided here for every outlet.

The figures, the page and its explorer, the view, the notebook and W&B take them from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dovision.functional.geometry import stack
from dovision.report.style import COOL, LINE, SMALL, WARM, canvas, panels_across, styled
from dovision.results.image_tables import UnitMasks, masks_of
from dovision.results.tables import boxes_of
from dovision.results.thumbnails import Picture
from dovision.types import Mask

Values = npt.NDArray[np.float64]
OUTLINES = "solid outlines: objects that speak for the class, dashed ones: others"
PANEL = 1.05  # inches of a panel at least, 27 mm
OPAQUE = 0.85  # opacity of the largest value over an image, to which that of others is in proportion
FLOOR, CEILING = 0.25, 0.6  # of images below values: in grey print too WARM is lighter than all of it, and COOL darker
LUMA = (0.2126, 0.7152, 0.0722)  # of red, green and blue, as CSS has it (ITU-R BT.709)
ON_MARK, MARK = "#000000", "#fefefe"  # marks are white on black, and so seen on any colour; not INK, which themes turn


class OverlayPanel(NamedTuple):
    """Image with values to draw over it and its known objects."""

    title: str
    picture: Picture
    values: Values | None  # evidence for the class: a map, or minus effects; None: the picture as it is
    boxes: pd.DataFrame
    masks: Mapping[str, Mask]
    label: str  # the class
    of: str = "minus the effect on the class"  # the values
    note: str = ""  # below the panel


@styled
def overlay(
    panels: Sequence[OverlayPanel | None],
    limit: float,
    colour: bool = False,
    columns: int = 0,
    rows: Sequence[str] = (),
) -> Figure:
    """Draw images in rows under values and objects: warm speaks for the class, small values are clear.

    Args:
        panels: images of 8 bits, (H, W) or (H, W, 3), with values, and boxes and masks on the scale of these; row by
            row, None leaves a place empty.
        limit: the size of value that has the deepest colour.
        colour: show the images in colour, which is easily taken for that of the values, and not in grey.
        columns: panels of a row; 0: as many as fit.
        rows: names of the rows.
    """
    across = columns or min(len(panels), panels_across(PANEL, margin=0.8))
    down = -(-len(panels) // across)
    figure = canvas(0.8 + 1.6 * across, 2.0 * down, pictures=True)
    drawn = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, panel in zip_longest(drawn, panels):
        axes.set(xticks=[], yticks=[], facecolor="none")
        axes.spines[:].set(visible=panel is not None, color=LINE)
        if panel is None:
            continue
        if panel.values is None:
            draw_picture(axes, panel.picture)
        else:
            draw_overlay(axes, panel.picture, panel.values, limit, colour)
            outline_objects(axes, panel.boxes, panel.masks, panel.label)
        axes.set_title(panel.title, fontsize=SMALL)
        axes.set_xlabel(panel.note, fontsize=SMALL, loc="left")
    for axes, name in zip(drawn[::across], rows, strict=False):
        axes.set_ylabel(name, fontsize=SMALL)
    of = next(panel.of for panel in panels if panel)
    colour_bar(figure, drawn, limit, of, aspect=20, pad=0.02)
    return figure


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


def underlay(picture: Picture, shape: Sequence[int], colour: bool = False) -> Values:
    """Image as it lies below values, shape (H, W, 3): grey, and between FLOOR and CEILING.

    Args:
        picture: 8 bits, (h, w) or (h, w, 3).
        shape: H and W; pixels are repeated.
        colour: keep the image's colours.
    """
    shown = resized(picture, shape) / 255
    grey = shown[..., None] if shown.ndim == 2 else shown if colour else (shown @ LUMA)[..., None]
    return np.broadcast_to(FLOOR + (CEILING - FLOOR) * grey, (*shape[:2], 3))


def value_colours(values: npt.ArrayLike, limit: float) -> Values:
    """RGBA of values in [0, 1], on a new last axis: WARM for the class, COOL against it, small values and nan clear.

    Args:
        values: evidence, above 0 for the class, shape (H, W), or any other.
        limit: the size of value that has the deepest colour.
    """
    shares = np.clip(np.nan_to_num(np.asarray(values, float)) / limit, -1, 1)[..., None]
    return np.concatenate([np.where(shares > 0, to_rgb(WARM), to_rgb(COOL)), OPAQUE * np.abs(shares)], -1)


def blended(picture: Picture, values: Values, limit: float, colour: bool = False) -> Values:
    """RGB of values, (h, w), over an image, in [0, 1], of the larger shape; arguments as of `value_colours`."""
    shape = max(picture.shape[:2], values.shape)
    below, over = underlay(picture, shape, colour), value_colours(resized(values, shape), limit)
    return below + over[..., 3:] * (over[..., :3] - below)


def resized(picture: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Repeat the pixels of (h, w, ...) so that they are (H, W, ...)."""
    down, across = (np.arange(shape[axis]) * picture.shape[axis] // shape[axis] for axis in (0, 1))
    return picture[np.ix_(down, across)]


def draw_picture(axes: Axes, picture: Picture) -> None:
    """Draw an image as it is."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")


def draw_overlay(axes: Axes, picture: Picture, values: Values, limit: float, colour: bool = False) -> None:
    """Draw values over an image, in a frame and in pixels of the values; other arguments as of `blended`."""
    extent = 0, values.shape[1], values.shape[0], 0
    axes.imshow(blended(picture, values, limit, colour), interpolation="none", extent=extent)
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=LINE)


def outline_objects(axes: Axes, boxes: pd.DataFrame, masks: Mapping[str, Mask], label: str) -> None:
    """Outline objects: one colour for evidence of a class, another for others.

    A mask that has the name of a class is drawn in place of the boxes that speak for that class.
    """
    shown = boxes[~boxes["label"].isin(list(masks))]
    for spoken_for, box in zip(shown["label"], boxes_of(shown), strict=True):
        for look in _strokes(spoken_for == label):
            axes.add_patch(Rectangle((box.left, box.top), box.width, box.height, fill=False, **look))
    for name, mask in masks.items():
        outline_mask(axes, mask, name == label)


def outline_mask(axes: Axes, mask: Mask, solid: bool = True) -> None:
    """Outline a mask's pixels, shape (H, W), of an image whose corner is at 0."""
    height, width = mask.shape
    across, down = np.arange(-0.5, width + 1), np.arange(-0.5, height + 1)  # middles of pixels, with a border
    for look in _strokes(solid):
        axes.contour(across, down, np.pad(mask, 1), levels=[0.5]).set(**look)


def _strokes(solid: bool) -> Iterator[dict[str, Any]]:
    """Lines of an outline, from below."""
    yield {"edgecolor": ON_MARK, "linewidth": 2.2, "linestyle": "-"}
    yield {"edgecolor": MARK, "linewidth": 1.0, "linestyle": "-" if solid else (0, (3, 2))}


def colour_bar(figure: Figure, panels: Any, limit: float, label: str, **layout: Any) -> None:
    """Draw the scale of panels, for the class above or at the right, in the colours of values over dark and light.

    Args:
        figure: to draw on.
        panels: whose scale it is.
        limit: the size of value that has the deepest colour.
        label: what the values are.
        layout: passed to `Figure.colorbar`.
    """
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit)), ax=panels, **layout)
    bar.set_label(f"against ← {label} → for")
    upright = bar.orientation == "vertical"
    values = np.broadcast_to(np.linspace(-limit, limit, 255), (32, 255))
    strip = blended(np.linspace(0, 255, 32).astype(np.uint8)[:, None], values, limit)
    extent = (0, 1, -limit, limit) if upright else (-limit, limit, 0, 1)
    for drawn in [*bar.ax.collections]:  # the colours of values alone, in place of those that they have over an image
        drawn.remove()
    shown = strip.transpose(1, 0, 2) if upright else strip
    bar.ax.imshow(shown, extent=extent, aspect="auto", origin="lower", interpolation="none")


def page_variables() -> str:
    """CSS variables of the look: colours, the filter of images below values, and the scale from against to for."""
    contrast, brightness = (CEILING - FLOOR) / (CEILING + FLOOR), CEILING + FLOOR
    warm, _, cool = map(_css, value_colours([1, 0, -1], 1))
    clear = ", ".join(colour.rpartition("/")[0] + "/ 0) 50%" for colour in (cool, warm))
    below = ", ".join(_css((grey,) * 3) for grey in (FLOOR, CEILING))
    scale = f"linear-gradient(to right, {cool}, {clear}, {warm}), linear-gradient({below})"
    look = {
        "warm": WARM,
        "cool": COOL,
        "underlay": f"grayscale(1) contrast({contrast:.4f}) brightness({brightness:.4f})",
        "effect-scale": scale,
    }
    return f":root {{ {' '.join(f'--{name}: {value};' for name, value in look.items())} }}\n"


def _css(colour: Sequence[float]) -> str:
    """Colour of CSS from RGB, or RGBA, in [0, 1]."""
    red, green, blue = (f"{value * 255:.0f}" for value in colour[:3])
    return f"rgb({red} {green} {blue} / {colour[3] if len(colour) > 3 else 1:.3f})"
