"""Figures of saved images with effects or maps over them: those of a run, and one image over the levels of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.agreement import OK
from dovision.functional.effects import CLEAR_ON_LOG_ODDS, SMALL_ON_PROBABILITY
from dovision.report.image_overlay import OUTLINES, PANEL, OverlayPanel, overlay, resized, unit_values
from dovision.report.plots import REFERENCE_MAPS
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, label_names
from dovision.report.style import SIGN, panels_across, shortened
from dovision.results.display_names import display_name
from dovision.results.explanation_metrics import object_regions
from dovision.results.factors import SEED_KEY, level_texts
from dovision.results.finding import finer_text
from dovision.results.image_tables import (
    AS_IS,
    MAPS_FILE,
    read_box_table,
    read_grid,
    read_maps,
    read_masks,
    read_object_masks,
)
from dovision.results.run_record import Run, factors_of
from dovision.results.tables import (
    CLEAN,
    largest_effect,
    largest_log_odds_effect,
    read_effects,
    read_samples,
    read_task,
)
from dovision.results.thumbnails import load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.types import Box

OVERLAY = "overlay"
IMAGE = "image"  # the column of images without values
RIGHT, WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"  # after a predicted class
ON_LOG_ODDS = "minus the effect on its log-odds"
_KEY = ["sample", "condition"]

Panels = Mapping[tuple[Any, str], OverlayPanel]  # by row and name of the column


@dataclass
class Overlay(FigureComponent):
    """Figure of saved images, a row each, under maps, or under the effects in each condition; objects first.

    None where units have no position.
    """

    most: int  # images
    colour: bool = False  # the images as they are, and not in grey

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if (run.folder / MAPS_FILE).is_file():
            panels, frame, rule = map_panels(run, self.most)
            limit, what = (
                1.0,
                "Maps of explainers over images, one scale for each explainer; warm: evidence for the class",
            )
        else:
            panels, frame, rule, limit = self._effects(run)
            odds = any(panel.of == ON_LOG_ODDS for panel in panels.values())
            why = ", in log-odds since its probability hardly moves" if odds else ""
            what = f"Effect of each unit on the likeliest class{why}, over the image; {SIGN}"
        if not panels:
            return
        outlines = f"; {OUTLINES}" if any(len(panel.boxes) or panel.masks for panel in panels.values()) else ""
        count = len({sample for sample, _ in panels})
        words = caption(f"{what}{outlines}.", [run], f"n = {count} images{rule}; single images, so no interval.")
        figure = small_multiples(panels, limit, dict.fromkeys((row for row, _ in panels), ""), self.colour)
        yield ReportFigure(OVERLAY, "Over the image", words, figure, frame)

    def _effects(self, run: Run) -> tuple[Panels, pd.DataFrame, str, float]:
        conditions = [*run.summary["conditions"]]
        pictured = samples_in_conditions(run.folder, conditions)
        panels, frame, limit = effect_panels(run, pictured, conditions)
        clean = frame[frame["condition"] == CLEAN]
        size = clean["effect"].abs().groupby(clean["sample"]).max()
        located = {sample for (sample, _), panel in panels.items() if len(panel.boxes) or panel.masks}
        ordered = sorted((one for one in pictured if one in size), key=lambda one: (one not in located, -size[one]))
        conditions = evenly(conditions, panels_across(PANEL, margin=0.8))
        samples = findings_first(ordered, read_samples(run.folder), run)[: self.most]
        rule = f", those with the largest effects of {len(size)} saved ones" if len(size) > len(samples) else ""
        rule += ", with known objects first" if located else ""
        drawn = {
            key: panels[key] for key in ((sample, name) for sample in samples for name in conditions) if key in panels
        }
        frame = frame[frame["sample"].isin(samples)]
        in_rows = frame.sort_values("sample", key=lambda column: column.map(samples.index), kind="stable")
        return drawn, in_rows, rule, limit


@dataclass
class Levels(FigureComponent):
    """Small multiples of one image: a row per setting of a sweep's first seed, a column per condition, on one scale.

    None unless two jobs have pictures of one image.
    """

    most: int  # rows

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        runs = [run for run in runs if run.seed == runs[0].seed]
        pictured = [set(samples_in_conditions(run.folder, [*run.summary["conditions"]])) for run in runs]
        common = set.intersection(*pictured) if len(pictured) > 1 else set()
        if not common:
            return
        sample = findings_first(sorted(common), read_samples(runs[0].folder), runs[0])[0]
        factors = factors_of(runs).apply(level_texts).drop(columns=["attack.eps", SEED_KEY], errors="ignore")
        panels: dict[tuple[str, str], OverlayPanel] = {}
        frames, limits, clean = [], [0.0], set()
        eps: dict[str, float] = {}
        for run, levels in zip(runs, factors.to_dict("records"), strict=True):
            eps |= {name: numbers["eps"] for name, numbers in run.summary["conditions"].items()}
            of_run, frame, limit = effect_panels(run, [sample], [*run.summary["conditions"]])
            row, unattacked = (
                ", ".join(str(levels[name]) for name in levels if not (is_clean and name.startswith("attack")))
                for is_clean in (False, True)
            )
            for (_, condition), panel in of_run.items():
                if panel.of == ON_LOG_ODDS or (condition == CLEAN and unattacked in clean):
                    continue  # of another scale, or drawn in the row of another attack
                panels.setdefault((row, condition), panel)
            clean.add(unattacked)
            frames.append(frame.assign(job=run.label))
            limits.append(limit)
        rows = evenly([*dict.fromkeys(row for row, _ in panels)], self.most)
        columns = evenly(sorted(eps, key=lambda name: eps[name]), panels_across(PANEL, margin=0.8))
        panels = {(row, name): panels[row, name] for row in rows for name in columns if (row, name) in panels}
        if len(panels) < 2:
            return
        text = f"One image by setting and condition: effect of each unit on the likeliest class; {SIGN}."
        words = caption(text, runs, "n = 1 image, so no interval.")
        figure = small_multiples(panels, max(limits), {row: shortened(row, 30) for row in rows})
        yield ReportFigure("levels", "One image over the levels", words, figure, pd.concat(frames))


def small_multiples(panels: Panels, limit: float, rows: Mapping[Any, str], colour: bool = False) -> Figure:
    """Draw panels in rows and columns; those of a single column side by side, with the names of their rows.

    Args:
        panels: by row and column.
        limit, colour: as of `overlay`.
        rows: names of the rows; all empty where each is an image, which is drawn as it is too, if there is room.
    """
    columns = list(dict.fromkeys(name for _, name in panels))
    if len(columns) == 1:
        return overlay([panel._replace(title=rows[row]) for (row, _), panel in panels.items()], limit, colour)
    with_image = not any(rows.values()) and len(columns) < panels_across(PANEL, margin=0.8)
    cells: list[OverlayPanel | None] = []
    for number, row in enumerate(rows):
        of_row = [panels.get((row, name)) for name in columns]
        image = next(panel for panel in of_row if panel)._replace(values=None, note="")
        of_row = [*([image] if with_image else []), *of_row]
        heads = [*([IMAGE] if with_image else []), *map(display_name, columns)] if number == 0 else [""] * len(of_row)
        cells += [panel and panel._replace(title=head) for panel, head in zip(of_row, heads, strict=True)]
    return overlay(cells, limit, colour, len(columns) + with_image, [*rows.values()])


def evenly(names: Sequence[str], most: int) -> list[str]:
    """At most so many names, evenly spaced, the first and the last among them."""
    steps = np.linspace(0, len(names) - 1, min(most, len(names)))
    return [names[index] for index in np.unique(steps.round().astype(int))]


def effect_panels(run: Run, samples: Sequence[int], conditions: Sequence[str]) -> tuple[Panels, pd.DataFrame, float]:
    """Effects on the likeliest class over saved images, on log-odds where all effects on its probability are small.

    Args:
        run: completed.
        samples: with pictures in all conditions.
        conditions: that are drawn.

    Returns:
        Panels by sample and condition; the effects in them, as `on_likeliest` has them; the size of the deepest colour,
        that of all conditions. No panels where units have no position.
    """
    effects, table, task = read_effects(run.folder, samples), read_samples(run.folder), read_task(run.folder)
    shown = effects[effects["condition"].isin(conditions)]
    probability, odds = (
        on_likeliest(shown.assign(effect=shown[column]), table, task.classes).dropna(subset=["top"])
        for column in ("effect", "log_odds_effect")
    )
    largest, largest_odds = (of_scale["effect"].abs().max() for of_scale in (probability, odds))
    saturated = largest < SMALL_ON_PROBABILITY and largest_odds >= CLEAR_ON_LOG_ODDS
    limit = largest_log_odds_effect(effects) if saturated else largest_effect(effects)
    frame, of = (odds, ON_LOG_ODDS) if saturated else (probability, "minus the effect on the class")
    masks, objects, boxes = read_masks(run.folder), read_object_masks(run.folder, samples), read_box_table(run.folder)
    names, panels = table.drop_duplicates("sample").set_index("sample")["name"], {}
    for (sample, condition), units in frame.groupby(_KEY, sort=False):
        picture, first = load_thumbnail(thumbnail_path(run.folder, sample, condition)), units.iloc[0]
        values = -unit_values(units, "effect", picture.shape, 0.0, masks)
        objects_of_sample = boxes[boxes["sample"] == sample], objects.get(sample, {})
        note = class_lines(first, 18) + ("" if first["label"] else f"\n{shortened(names[sample], 26)}")
        panels[sample, condition] = OverlayPanel("", picture, values, *objects_of_sample, first["explained"], of, note)
    return panels, frame, limit


def on_likeliest(effects: pd.DataFrame, samples: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Effect on the likeliest class per (sample, condition, unit), with the columns of `class_lines` and the box."""
    likeliest = effects[effects["control"] == effects.groupby(_KEY)["control"].transform("max")]
    shown = likeliest.drop_duplicates([*_KEY, "unit"]).merge(samples[[*_KEY, "label"]], on=_KEY, how="left")
    shown = shown.assign(explained=shown["class"], predicted=shown["class"], probability=shown["control"])
    shown["label"] = [label_names(label, classes) for label in shown["label"]]
    named = ["explained", "control", "predicted", "probability", "label"]
    return shown[[*_KEY, "unit", *named, "effect", *Box._fields]]


def map_panels(run: Run, most: int) -> tuple[Panels, pd.DataFrame, str]:
    """Maps of saved images over them, by sample and explainer, their numbers, and the rule that selects the images."""
    grid, maps, boxes = read_grid(run.folder), read_maps(run.folder), read_box_table(run.folder)
    pairs, shown = explained_classes(run), maps[maps["variant"] == AS_IS]
    of_classifier = ~shown["explainer"].isin(REFERENCE_MAPS)
    shown = shown[of_classifier] if of_classifier.any() else shown
    names = [*shown["explainer"].unique()[: panels_across(PANEL, margin=0.8)]]
    frame = pairs[:most].merge(shown, on=["sample", "class"])
    sizes = frame["cells"].map(lambda cells: float(np.abs(cells).max())).where(frame["state"] == OK)
    largest, panels = sizes.groupby(frame["explainer"]).transform("max"), {}
    masks = read_object_masks(run.folder, frame["sample"])
    for row, limit in zip(frame.to_dict("records"), largest, strict=True):
        sample, name, is_map = int(row["sample"]), row["explainer"], row["state"] == OK
        if name not in names:
            continue
        picture = load_thumbnail(thumbnail_path(run.folder, sample, CLEAN))
        cells = row["cells"].reshape(grid.rows, grid.columns) / limit if is_map else np.zeros((grid.rows, grid.columns))
        objects = boxes[boxes["sample"] == sample], masks.get(sample, {})
        note = [class_lines(pd.Series(row))] if name == names[0] else []
        lines = "\n".join([*note, *([] if is_map else [f"map: {row['state']}"])])
        values, of = resized(cells, (grid.height, grid.width)), "evidence, relative to the explainer's largest"
        panels[sample, name] = OverlayPanel("", picture, values, *objects, row["explained"], of, lines)
    rule = f", the first of {len(pairs)} saved ones" if len(pairs) > most else ""
    rule += ", with an object of a class first" if pairs["located"].any() else ""
    data = frame.assign(cells=[" ".join(f"{cell:.5g}" for cell in cells) for cells in frame["cells"]])
    return panels, data, rule


def findings_first(pictured: Sequence[int], samples: pd.DataFrame, run: Run) -> list[int]:
    """Samples in their order, but a first one that shows something: neither no label nor the first of two classes."""
    task = read_task(run.folder)
    labels = samples.drop_duplicates("sample").set_index("sample")["label"]
    nothing = [label_names(labels[sample], task.classes) in ("none", task.opposite) for sample in pictured]
    first = nothing.index(False) if False in nothing else 0
    return [*pictured[first : first + 1], *pictured[:first], *pictured[first + 1 :]]


def explained_classes(run: Run) -> pd.DataFrame:
    """Class for the maps of each saved image, with the columns of `class_lines`.

    Of the classes with maps the likeliest, of those that a known object speaks for (`located`) if there are any;
    images with such an object first.
    """
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
        rank=shown["sample"].map(pictured.index),
    )
    order = ["located", "rank", "control"]
    return shown.sort_values(order, ascending=[False, True, False]).drop(columns="rank").drop_duplicates("sample")


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
