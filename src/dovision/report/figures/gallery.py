"""Figures of a few images and, beside each, the effects of the units on the likeliest class, or explainers' maps."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovision.functional.agreement import OK
from dovision.report.image_overlay import (
    OUTLINES,
    colour_bar,
    draw_overlay,
    draw_picture,
    outline_objects,
    unit_values,
)
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, label_names
from dovision.report.style import (
    COOL,
    INK,
    LINE,
    SIGN,
    SMALL,
    WARM,
    canvas,
    images_on_a_page,
    panels_across,
    shortened,
    styled,
)
from dovision.results.display_names import display_name
from dovision.results.explanation_metrics import object_regions
from dovision.results.finding import finer_text
from dovision.results.image_tables import (
    AS_IS,
    MAPS_FILE,
    MapGrid,
    ObjectMasks,
    UnitMasks,
    read_box_table,
    read_maps,
    read_masks,
    read_object_masks,
)
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN, largest_effect, read_effects, read_samples, read_task
from dovision.results.thumbnails import Picture, chosen_in_words, load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.types import BOX_COLUMNS, Box

RIGHT, WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"  # after a predicted class
GALLERY = "gallery"  # the figure of saved images, whose numbers are their effect maps


@dataclass
class Gallery(FigureComponent):
    """Figures of a run's saved images with effects; none without saved images."""

    most: int  # images, and conditions, that are drawn

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        samples = read_samples(run.folder)
        conditions = list(samples["condition"].unique())
        pictured = samples_in_conditions(run.folder, conditions)
        effects = read_effects(run.folder, pictured)
        with_effects = set(effects["sample"])
        most = images_on_a_page(self.most, partial(panel_inches, min(len(conditions), self.most)))
        chosen = findings_first([sample for sample in pictured if sample in with_effects], samples, run)[:most]
        if not chosen:
            return
        shown = effects[effects["sample"].isin(chosen) & effects["condition"].isin(conditions[: self.most])]
        explained = dict(explained_classes(run)[["sample", "class"]].itertuples(index=False, name=None))
        frame = on_likeliest(shown, samples, read_task(run.folder).classes, explained)
        frame = frame.sort_values("sample", key=lambda sample: sample.map(chosen.index), kind="stable")
        keys = [(sample, condition) for sample in chosen for condition in conditions[: self.most]]
        pictures = {key: load_thumbnail(thumbnail_path(run.folder, *key)) for key in keys}
        boxes, objects = read_box_table(run.folder), read_object_masks(run.folder, chosen)
        boxes = boxes[boxes["sample"].isin(chosen)]
        text = (
            f"Images and the effect of each unit on the {'class of maps' if explained else 'likeliest class'}; {SIGN}"
            f"{f'; {OUTLINES}' if len(boxes) or objects else ''}. "
            "One scale for all saved images, conditions and classes of the job."
        )
        how = chosen_in_words(run.summary["labels"])
        chosen_of = f", {how}" if samples["sample"].nunique() > len(chosen) else ""
        words = caption(text, [run], f"n = {len(chosen)}{chosen_of}; single images, so no interval.")
        figure = gallery(pictures, frame, largest_effect(effects), read_masks(run.folder), boxes, objects)
        yield ReportFigure(GALLERY, "Images and effect maps", words, figure, frame)


def findings_first(pictured: Sequence[int], samples: pd.DataFrame, run: Run) -> list[int]:
    """Samples in their order, but a first one that shows something: neither no label nor the first of two classes."""
    task = read_task(run.folder)
    labels = samples.drop_duplicates("sample").set_index("sample")["label"]
    nothing = [label_names(labels[sample], task.classes) in ("none", task.opposite) for sample in pictured]
    first = nothing.index(False) if False in nothing else 0
    return [*pictured[first : first + 1], *pictured[:first], *pictured[first + 1 :]]


def explained_classes(run: Run) -> pd.DataFrame:
    """Class for the maps of each saved image, with the columns of `class_lines`; empty without maps.

    Of the classes with maps the likeliest, of those that a known object speaks for (`located`) if there are any;
    images with such an object first.
    """
    if not (run.folder / MAPS_FILE).is_file():
        return pd.DataFrame(columns=["sample", "class"])
    classes, maps = read_task(run.folder).classes, read_maps(run.folder)
    samples = read_samples(run.folder, ["probabilities"])
    pictured = findings_first(samples_in_conditions(run.folder, [CLEAN]), samples, run)
    pairs = maps.loc[(maps["variant"] == AS_IS) & maps["sample"].isin(pictured), ["sample", "class"]].drop_duplicates()
    shown = pairs.merge(samples.loc[samples["condition"] == CLEAN, ["sample", "label", "probabilities"]], on="sample")
    spoken = {*object_regions(read_box_table(run.folder), read_object_masks(run.folder, pictured))}
    shown = shown.assign(
        located=[pair in spoken for pair in zip(shown["sample"], shown["class"], strict=True)],
        explained=shown["class"],
        control=[row[classes.index(name)] for row, name in zip(shown["probabilities"], shown["class"], strict=True)],
        predicted=[classes[probabilities.argmax()] for probabilities in shown["probabilities"]],
        probability=shown.pop("probabilities").map(max),
        label=[label_names(label, classes) for label in shown["label"]],
        place=shown["sample"].map(pictured.index),
    )
    order = ["located", "place", "control"]
    return shown.sort_values(order, ascending=[False, True, False]).drop(columns="place").drop_duplicates("sample")


def on_likeliest(
    effects: pd.DataFrame,
    samples: pd.DataFrame,
    classes: Sequence[str],
    explained: Mapping[int, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Effect on one class per (sample, condition, unit), with the image's prediction and label.

    The class is the one that is explained of the clean image, where its effects are kept; else the likeliest.
    """
    key = ["sample", "condition"]
    likeliest = effects["control"] == effects.groupby(key)["control"].transform("max")
    chosen = (effects["class"] == effects["sample"].map(explained)) & (effects["condition"] == CLEAN)
    chosen |= likeliest & ~chosen.groupby([effects[name] for name in key]).transform("any")
    shown = effects[chosen].drop_duplicates([*key, "unit"]).rename(columns={"class": "explained"})
    top = effects.loc[likeliest, [*key, "class", "control"]].drop_duplicates(key)
    shown = shown.merge(top.set_axis([*key, "predicted", "probability"], axis=1), on=key)
    shown = shown.merge(samples[[*key, "label"]], on=key, how="left")
    shown["label"] = [label_names(label, classes) for label in shown["label"]]
    named = ["explained", "control", "predicted", "probability", "label"]
    return shown[[*key, "unit", *named, "effect", *Box._fields]]


def class_lines(row: pd.Series, most: int = 14) -> str:
    """Caption of a picture: explained class and probability, predicted class if different, right or wrong, and label.

    Args:
        row: explained, control (its probability), predicted, probability, label ("" if it is not known).
        most: letters of a class.
    """
    right = row["predicted"] in (row["label"], *row["label"].split(", "))  # the only label, or one of several
    mark = f" {RIGHT if right else WRONG}" if row["label"] not in ("", "none") else ""
    lines = [f"predicted: {shortened(row['predicted'], most)} ({finer_text(row['probability'], '.2f')}){mark}"]
    if row["explained"] != row["predicted"]:
        lines.insert(0, f"explained: {shortened(row['explained'], most)} ({finer_text(row['control'], '.2f')})")
    return "\n".join([*lines, *([f"true: {shortened(row['label'], 40)}"] if row["label"] else [])])


@styled
def gallery(
    pictures: Mapping[tuple[int, str], Picture],
    frame: pd.DataFrame,
    largest: float,
    masks: UnitMasks = MappingProxyType({}),
    boxes: pd.DataFrame | None = None,
    objects: ObjectMasks = MappingProxyType({}),
) -> Figure:
    """Draw a row per sample: the image in the first condition, then its effects in each, as overlay or bars.

    Conditions that have no room side by side stand in further rows, below those of all samples.

    One colour scale for all: warm where the unit is evidence for the class, which do(unit) takes away; cool where it is
    evidence against the class. Where units overlap, the smallest one is on top.

    Args:
        pictures: the image of each (sample, condition), shape (H, W) or (H, W, 3), 8 bits.
        frame: a row per (sample, condition, unit): the columns of `class_lines`, effect (on the class that is
            explained), top, left, bottom, right (pixels of the image, or nan).
        largest: the size of effect that has the deepest colour.
        masks: the pixels that units touch, where these are not all of the box.
        boxes: of known objects of these samples, outlined on image and effects; None: there are none.
        objects: masks of known objects, likewise.
    """
    boxes = pd.DataFrame(columns=BOX_COLUMNS) if boxes is None else boxes
    conditions = list(dict.fromkeys(frame["condition"]))
    clean = {sample: pictures[sample, conditions[0]] for sample in dict.fromkeys(frame["sample"])}
    figure, panels = _panel_rows(clean, conditions)
    for (sample, condition), units in frame.groupby(["sample", "condition"], sort=False):
        axes, picture, first = panels[sample, condition], pictures[sample, condition], units.iloc[0]
        placed = units.dropna(subset=["top"])
        if len(placed):
            draw_overlay(axes, picture, -unit_values(placed, "effect", picture.shape, np.nan, masks), largest)
            outline_objects(axes, boxes[boxes["sample"] == sample], objects.get(sample, {}), first["explained"])
        else:  # of units without a position
            evidence = -units["effect"].to_numpy(float)
            axes.bar(np.arange(len(evidence)), evidence, width=0.9, color=np.where(evidence > 0, WARM, COOL))
            axes.axhline(0, color=INK, linewidth=0.6)
            axes.set(ylim=(-largest, largest), box_aspect=1)
            axes.set_title(f"units 1 to {len(evidence)}", fontsize=SMALL, loc="right", y=0.0)
        axes.set_xlabel(class_lines(first, 12), fontsize=SMALL, loc="left")
    colour_bar(figure, figure.axes, largest, "minus the effect on the class", shrink=0.9, aspect=30, pad=0.01)
    return figure


def _panel_rows(pictures: Mapping[int, Picture], names: Sequence[str]) -> tuple[Figure, dict[tuple[int, str], Axes]]:
    """Draw each image in a row with empty panels, by (sample, name); panels without room stand in further rows."""
    across = _across(len(names))
    blocks = [names[first : first + across] for first in range(0, len(names), across)]
    figure = canvas(*panel_inches(len(names), len(pictures)), pictures=True)
    drawn = figure.subplots(len(blocks) * len(pictures), across + 1, squeeze=False)
    panels: dict[tuple[int, str], Axes] = {}
    for axes in drawn.flat:
        axes.set_axis_off()
    for block, of_block in zip(drawn.reshape(len(blocks), len(pictures), across + 1), blocks, strict=True):
        for row, (sample, picture) in zip(block, pictures.items(), strict=True):
            draw_picture(row[0], picture)
            panels |= {(sample, name): axes for name, axes in zip(of_block, row[1:], strict=False)}
            for axes in row[: len(of_block) + 1]:
                axes.set_axis_on()
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(visible=True, color=LINE)
        for axes, name in zip(block[0], ["image", *of_block], strict=False):
            title = textwrap.fill(display_name(name), 14, break_long_words=False)
            axes.set_title(title, fontsize=SMALL, loc="center")
    return figure, panels


def _across(panels: int) -> int:
    """Number of panels per line beside an image, evenly distributed."""
    return -(-panels // -(-panels // max(1, panels_across(1.2, margin=0.7) - 1)))


def panel_inches(panels: int, images: int) -> tuple[float, float]:
    """Preferred width and height of images with so many panels beside each, in inches."""
    across = _across(panels)
    return 0.7 + 1.2 * (across + 1), -(-panels // across) * (0.35 + 1.55 * images)


@styled
def map_gallery(
    pictures: Mapping[int, Picture],
    frame: pd.DataFrame,
    boxes: pd.DataFrame,
    grid: MapGrid,
    masks: ObjectMasks = MappingProxyType({}),
) -> Figure:
    """Draw a row per image: the image, then each explainer's map, one colour scale per explainer.

    Maps that have no room side by side stand in further rows, below those of all images.

    Args:
        pictures: the image of each sample, shape (H, W) or (H, W, 3), 8 bits.
        frame: a row per (sample, explainer): the columns of `class_lines`, state, cells.
        boxes: of these samples, with label.
        grid: what the cells and the boxes lie on.
        masks: of objects of these samples.
    """
    explainers = list(dict.fromkeys(frame["explainer"]))
    sizes = frame.loc[frame["state"] == OK, "cells"].map(lambda cells: float(np.abs(cells).max()))
    largest = sizes.groupby(frame["explainer"], observed=True).max()
    figure, panels = _panel_rows(pictures, explainers)
    shape = grid.height, grid.width
    for row in frame.to_dict("records"):
        axes, picture = panels[row["sample"], row["explainer"]], pictures[row["sample"]]
        if row["state"] != OK:
            axes.text(0.5, 0.5, row["state"], ha="center", va="center", fontsize=SMALL, transform=axes.transAxes)
            axes.set(box_aspect=grid.height / grid.width)
            continue
        cells = row["cells"].reshape(grid.rows, grid.columns)
        draw_overlay(axes, picture, cells, largest[row["explainer"]], shape=shape)
        of_sample = boxes[boxes["sample"] == row["sample"]], masks.get(row["sample"], {})
        outline_objects(axes, *of_sample, row["explained"])
        if row["explainer"] == explainers[0]:
            axes.set_xlabel(class_lines(pd.Series(row)), fontsize=SMALL, loc="left")
    colour_bar(figure, figure.axes, 1, "evidence, relative to the explainer's largest", aspect=40, pad=0.01)
    return figure
