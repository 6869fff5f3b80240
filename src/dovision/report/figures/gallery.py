"""Figure of a few images and, beside each, the effects of the units on the predicted class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dovision.functional.geometry import stack
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, label_names
from dovision.report.style import EFFECT_COLOURS, INK, LINE, SIGN, shortened, styled
from dovision.store.run_record import Run
from dovision.store.tables import boxes_of, largest_effect, read_effects, read_samples
from dovision.store.thumbnails import CHOSEN, Picture, load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.types import Box

GALLERY = "gallery"  # the figure of saved images, whose numbers are their effect maps


class Gallery(FigureComponent):
    """Saved images of a run with their effects; none where no image is saved.

    Args:
        order: its place among all components.
        most: images, and conditions, that are drawn.
    """

    def __init__(self, order: float, most: int) -> None:
        super().__init__(order)
        self.most = most

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        samples = read_samples(run.folder)
        every = list(samples["condition"].unique())
        pictured = samples_in_conditions(run.folder, every)
        effects = read_effects(run.folder, pictured)
        measured = set(effects["sample"])
        chosen = [sample for sample in pictured if sample in measured][: self.most]
        if not chosen:
            return
        conditions = every[: self.most]
        frame = _shown(samples, effects[effects["sample"].isin(chosen)], conditions)
        frame = frame.sort_values("sample", key=lambda sample: sample.map(chosen.index), kind="stable")
        keys = [(sample, condition) for sample in chosen for condition in conditions]
        pictures = {key: load_thumbnail(thumbnail_path(run.folder, *key)) for key in keys}
        text = (
            f"Images and the effect of each unit on the likeliest class; {SIGN}. One scale for all saved images, "
            "conditions and classes of the job."
        )
        words = caption(text, [run], f"n = {len(chosen)}, {CHOSEN}; single images, so no interval.")
        figure = gallery(pictures, frame, largest_effect(effects))
        yield ReportFigure(GALLERY, "Images and effect maps", words, figure, frame)


def _shown(samples: pd.DataFrame, effects: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """Per (sample, condition, unit) the effect on the likeliest class of that condition."""
    classes = list(dict.fromkeys(effects["class"]))
    highest = effects.groupby(["sample", "condition"])["control"].transform("max")
    predicted = effects[effects["control"] == highest].rename(columns={"class": "predicted"})
    predicted = predicted[predicted["condition"].isin(conditions)].drop_duplicates(["sample", "condition", "unit"])
    label = samples.set_index(["sample", "condition"])["label"]
    names = [label_names(label[key], classes) for key in zip(predicted["sample"], predicted["condition"], strict=True)]
    columns = ["sample", "condition", "unit", "predicted", "control", "label", "effect", *Box._fields]
    return predicted.assign(label=names)[columns]


@styled
def gallery(pictures: Mapping[tuple[int, str], Picture], frame: pd.DataFrame, largest: float) -> Figure:
    """A row per sample; per condition the image and its effects: on the image, or as bars where units have no place.

    One colour scale for all: red where the unit is evidence for the class, which do(unit) takes away; blue where it is
    evidence against the class. Where units overlap, the smallest one is on top.

    Args:
        pictures: the image of each (sample, condition), shape (H, W) or (H, W, 3), 8 bits.
        frame: a row per (sample, condition, unit): predicted (the likeliest class), control (its probability), label,
            effect (on that class), top, left, bottom, right (pixels of the image, or nan).
        largest: the size of effect that has the deepest colour.
    """
    samples, conditions = list(dict.fromkeys(frame["sample"])), list(dict.fromkeys(frame["condition"]))
    figure = Figure(figsize=(max(4.0, 2.5 * len(conditions)), 0.5 + 1.45 * len(samples)), layout="constrained")
    axes = figure.subplots(len(samples), 2 * len(conditions), squeeze=False)
    scale = Normalize(-largest, largest)
    units = frame.groupby(["sample", "condition"])
    for row, sample in enumerate(samples):
        for column, condition in enumerate(conditions):
            shown, effects = axes[row, 2 * column], axes[row, 2 * column + 1]
            of_image, picture = units.get_group((sample, condition)), pictures[sample, condition]
            _image(shown, picture, of_image.iloc[0])
            _effects(effects, picture, of_image, scale)
            if row == 0:
                shown.set_title(condition, weight="bold")
    colours = ScalarMappable(scale, EFFECT_COLOURS)
    figure.colorbar(colours, ax=axes, label="effect on the likeliest class", shrink=0.9, aspect=30, pad=0.01)
    return figure


def _image(axes: Axes, picture: Picture, facts: pd.Series) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")
    predicted, label = shortened(str(facts["predicted"]), 14), shortened(str(facts["label"]), 18)
    axes.set_xlabel(f"predicted: {predicted} ({facts['control']:.2f})\ntrue: {label}", fontsize=7, loc="left")
    _bare(axes)


def _effects(axes: Axes, picture: Picture, units: pd.DataFrame, scale: Normalize) -> None:
    placed = units.dropna(subset=["top"])
    if len(placed):
        height, width = picture.shape[:2]
        painted = stack(height, width, boxes_of(placed), placed["effect"].tolist(), background=np.nan)
        axes.imshow(painted, cmap=EFFECT_COLOURS, norm=scale, interpolation="none")
        _bare(axes)
        return
    place, effects = np.arange(len(units)), units["effect"].to_numpy()
    axes.bar(place, effects, width=0.9, color=colormaps[EFFECT_COLOURS](scale(effects)), edgecolor=INK, linewidth=0.3)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set(ylim=(scale.vmin, scale.vmax), box_aspect=1)
    _bare(axes)
    axes.set_xlabel(f"units 1 to {len(units)}", fontsize=7, loc="right")


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=LINE)
