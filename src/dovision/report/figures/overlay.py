"""Figure of saved images with what a run has found over them: effects of units, or explainers' maps, and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dovision.findings.map_findings import RIVALS
from dovision.functional.agreement import OK
from dovision.functional.effects import CLEAR_ON_LOG_ODDS, SMALL_ON_PROBABILITY
from dovision.functional.geometry import stack
from dovision.report.figures.gallery import (
    OUTLINES,
    class_lines,
    explained_classes,
    on_likeliest,
    outline_objects,
)
from dovision.report.plots import REFERENCE_MAPS, in_grey
from dovision.report.report_figure import FigureComponent, ReportFigure, caption
from dovision.report.style import DIVERGING, EFFECT_COLOURS, LINE, SIGN, SMALL, canvas, shortened, styled
from dovision.store.display_names import component_name
from dovision.store.map_tables import AS_IS, MAPS_FILE, known_boxes, read_grid, read_maps
from dovision.store.run_record import Run
from dovision.store.tables import (
    CLEAN,
    boxes_of,
    largest_effect,
    largest_log_odds_effect,
    likeliest_word,
    read_effects,
    read_samples,
    read_task,
)
from dovision.store.thumbnails import Picture, load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.store.unit_masks import masks_of, read_masks, read_object_masks
from dovision.types import Mask

OVERLAY = "overlay"
_OPAQUE = 0.75  # of the largest value; 0 is clear


class OverlayPanel(NamedTuple):
    """An image with values over it, shape (H', W'), and what is known of its objects."""

    title: str
    picture: Picture
    values: npt.NDArray[np.float64]
    boxes: pd.DataFrame
    masks: Mapping[str, Mask]
    label: str  # the class
    of: str = "effect on the class"  # the values
    colours: str = EFFECT_COLOURS  # or DIVERGING, of evidence


@dataclass
class Overlay(FigureComponent):
    """Clean saved images, those with a box and a large effect first; none where nothing has a place in the image."""

    most: int  # images, or maps, side by side
    colour: bool = False  # the images as they are, and not in grey

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if (run.folder / MAPS_FILE).is_file():
            panels, how = self._maps(run)
            what, limit, count = "Each map of an explainer over the same image, by its largest value", 1.0, 1
        else:
            panels, how, limit = self._effects(run)
            odds = ", in log-odds since its probability hardly moves" if panels and "odds" in panels[0].of else ""
            what, count = f"Effect of each unit on the likeliest class{odds}, over the image", len(panels)
        if not panels:
            return
        known = any(len(panel.boxes) or panel.masks for panel in panels)
        text = f"{what}; {SIGN}{f'; {OUTLINES}' if known else ''}."
        words = caption(text, [run], f"n = {count} pictures{how}; single images, so no interval.")
        data = pd.DataFrame(
            [
                {"panel": panel.title, "row": row, "column": column, "value": value}
                for panel in panels
                for (row, column), value in np.ndenumerate(_coarse(panel.values))
            ]
        )
        yield ReportFigure(OVERLAY, "Over the image", words, overlay(panels, limit, self.colour), data)

    def _effects(self, run: Run) -> tuple[list[OverlayPanel], str, float]:
        """Panels, how their images are chosen, and the size of effect that is deepest: one of all that is saved."""
        samples = read_samples(run.folder)
        clean = samples[samples["condition"] == CLEAN]
        boxes, pictured = known_boxes(run.folder), samples_in_conditions(run.folder, [CLEAN])
        effects = read_effects(run.folder, pictured)
        clean_effects, classes = effects[effects["condition"] == CLEAN], read_task(run.folder).classes
        probability, odds = (
            on_likeliest(clean_effects.assign(effect=clean_effects[column]), clean, classes).dropna(subset=["top"])
            for column in ("effect", "log_odds_effect")
        )
        saturated = (
            probability["effect"].abs().max() < SMALL_ON_PROBABILITY and odds["effect"].abs().max() >= CLEAR_ON_LOG_ODDS
        )
        limit = largest_log_odds_effect(effects) if saturated else largest_effect(effects)
        effects, of = (odds, "effect on its log-odds") if saturated else (probability, "effect on the class")
        measured = [sample for sample in pictured if sample in set(effects["sample"])]
        if not measured:
            return [], "", limit
        names = clean.set_index("sample")["name"]
        masks, objects = read_masks(run.folder), read_object_masks(run.folder, pictured)
        known = {*boxes["sample"], *objects}
        panels: list[OverlayPanel] = []
        size = effects["effect"].abs().groupby(effects["sample"]).max()
        for sample in sorted(measured, key=lambda each: (each not in known, -size[each]))[: self.most]:
            units = effects[effects["sample"] == sample]
            picture, first = load_thumbnail(thumbnail_path(run.folder, sample, CLEAN)), units.iloc[0]
            height, width = picture.shape[:2]
            values = stack(height, width, boxes_of(units), units["effect"].tolist(), 0.0, masks_of(units, masks))
            title = class_lines(first, likeliest_word(run.folder), 18)
            title += "" if first["label"] else f"\n{shortened(names[sample], 26)}"
            own = boxes[boxes["sample"] == sample], objects.get(sample, {})
            panels.append(OverlayPanel(title, picture, values, *own, first["explained"], of))
        chosen = f", those with the largest effects of {len(measured)} saved ones"
        chosen += ", with known objects first" if known & {*measured} else ""
        return panels, chosen if len(measured) > len(panels) else "", limit

    def _maps(self, run: Run) -> tuple[list[OverlayPanel], str]:
        """The maps of one image, each by its largest value: evidence for the class; and how the image is chosen."""
        maps, boxes, grid = read_maps(run.folder), known_boxes(run.folder), read_grid(run.folder)
        shown = maps[(maps["variant"] == AS_IS) & (maps["state"] == OK) & ~maps["explainer"].isin(REFERENCE_MAPS)]
        shown = explained_classes(run).merge(shown, on=["sample", "class"])
        if shown.empty:
            return [], ""
        own = shown[shown["sample"] == shown["sample"].iloc[0]]
        first = own.iloc[0]
        masks = read_object_masks(run.folder, [first["sample"]])
        names = list(own["explainer"].astype(str))
        chosen = [name for name in names if name not in RIVALS][:1] + [name for name in RIVALS if name in names]
        picture = load_thumbnail(thumbnail_path(run.folder, int(first["sample"]), CLEAN))
        located_objects = boxes[boxes["sample"] == first["sample"]], masks.get(int(first["sample"]), {})
        panels: list[OverlayPanel] = []
        for name in chosen[: self.most]:
            cells = own.loc[own["explainer"] == name, "cells"].iloc[0].reshape(grid.rows, grid.columns)
            values = _enlarged(cells, grid.height, grid.width) / np.abs(cells).max()
            title = f"{component_name(name)}\n{class_lines(first, most=18)}"
            known = title, picture, values, *located_objects, first["class"]
            panels.append(OverlayPanel(*known, "evidence, relative to the map's largest", DIVERGING))
        return panels, ", the first one that is saved" + (" with an object of a class" if first["located"] else "")


@styled
def overlay(panels: Sequence[OverlayPanel], limit: float, colour: bool = False) -> Figure:
    """Images side by side, each with values over it, the clearer the smaller, and boxes: red is evidence for the class.

    Args:
        panels: images of 8 bits, (H, W) or (H, W, 3), with values, and boxes and masks on the scale of these.
        limit: the size of value that has the deepest colour.
        colour: show the images in colour, which is easily taken for that of the values, and not in grey.
    """
    scale, colours = Normalize(-limit, limit), panels[0].colours
    figure = canvas(0.8 + 1.6 * len(panels), 2.0, pictures=True)
    figure.suppressComposite = True  # one picture of both would be rounded to whole points, and leave a gap
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(drawn, panels, strict=True):
        extent: Any = (0, panel.values.shape[1], panel.values.shape[0], 0)
        picture = panel.picture if colour else in_grey(panel.picture)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent)
        axes.imshow(painted_effects(panel.values, limit, panel.colours), interpolation="none", extent=extent)
        outline_objects(axes, panel.boxes, panel.masks, panel.label)
        _frame(axes, panel.title)
    figure.colorbar(ScalarMappable(scale, colours), ax=list(drawn), label=panels[0].of, aspect=20, pad=0.02)
    return figure


def painted_effects(
    values: npt.NDArray[np.float64], limit: float, colours: str = EFFECT_COLOURS
) -> npt.NDArray[np.float64]:
    """Colours of effects, shape (H, W), to lie over an image, shape (H, W, 4) in [0, 1]: the clearer the smaller.

    Args:
        values: red below 0, blue above; of evidence, for which `colours` is DIVERGING, the reverse.
        limit: the size of value that has the deepest colour.
        colours: EFFECT_COLOURS or DIVERGING.
    """
    painted: npt.NDArray[np.float64] = colormaps[colours](Normalize(-limit, limit)(values))
    painted[..., 3] = np.clip(np.abs(values) / limit, 0, 1) ** 0.5 * _OPAQUE
    return painted


def _frame(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=SMALL)
    axes.spines[:].set(visible=True, color=LINE)


def _enlarged(cells: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Cells as pixels, shape (height, width)."""
    down, across = (
        np.arange(length) * count // length for length, count in zip((height, width), cells.shape, strict=True)
    )
    return cells[np.ix_(down, across)].astype(float)


def _coarse(values: npt.NDArray[np.float64], most: int = 32) -> npt.NDArray[np.float64]:
    """At most so many rows and columns of the values, for the numbers behind the figure."""
    step = [max(1, -(-length // most)) for length in values.shape]
    return values[:: step[0], :: step[1]]
