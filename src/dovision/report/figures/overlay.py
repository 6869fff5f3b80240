"""Figures of saved images with effects or maps over them: those of a run, and one image over the levels of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dovision.functional.agreement import OK
from dovision.functional.effects import CLEAR_ON_LOG_ODDS, SMALL_ON_PROBABILITY
from dovision.report.figures.gallery import class_lines, explained_classes, findings_first, on_likeliest
from dovision.report.image_overlay import OUTLINES, OverlayPanel, overlay, resized, unit_values
from dovision.report.plots import REFERENCE_MAPS
from dovision.report.report_figure import FigureComponent, ReportFigure, caption
from dovision.report.style import SIGN, shortened
from dovision.results.display_names import component_name
from dovision.results.factors import level_texts
from dovision.results.image_tables import (
    AS_IS,
    MAPS_FILE,
    read_box_table,
    read_grid,
    read_maps,
    read_masks,
    read_object_masks,
)
from dovision.results.map_findings import RIVALS
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

OVERLAY = "overlay"
_NUMBERS = 32  # rows and columns of values, at most, in the numbers behind the figure
_TITLES = 1.15  # times the height, for titles of three lines


@dataclass
class Overlay(FigureComponent):
    """Figure of saved clean images under effects, boxes first; none where units have no position."""

    most: int  # images, or maps, side by side
    colour: bool = False  # the images as they are, and not in grey

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if (run.folder / MAPS_FILE).is_file():
            panels, how = self._maps(run)
            what, limit, count = "Each map of an explainer over the same image, by its largest value", 1.0, 1
        else:
            panels, how, limit = self.effects(run, samples_in_conditions(run.folder, [CLEAN]))
            odds = ", in log-odds since its probability hardly moves" if panels and "odds" in panels[0].of else ""
            what, count = f"Effect of each unit on the likeliest class{odds}, over the image", len(panels)
        if not panels:
            return
        has_objects = any(len(panel.boxes) or panel.masks for panel in panels)
        text = f"{what}; {SIGN}{f'; {OUTLINES}' if has_objects else ''}."
        words = caption(text, [run], f"n = {count} pictures{how}; single images, so no interval.")
        numbers = []
        for panel in panels:
            down, across = (max(1, -(-length // _NUMBERS)) for length in panel.values.shape)
            for (row, column), value in np.ndenumerate(panel.values[::down, ::across]):
                numbers.append({"panel": panel.title, "row": row, "column": column, "value": value})
        data = pd.DataFrame(numbers)
        yield ReportFigure(OVERLAY, "Over the image", words, overlay(panels, limit, self.colour), data)

    def effects(
        self, run: Run, pictured: Sequence[int], condition: str = CLEAN
    ) -> tuple[list[OverlayPanel], str, float]:
        """Panels of saved samples in a condition, the rule that selects them, and the size of the deepest colour."""
        samples = read_samples(run.folder)
        clean = samples[samples["condition"] == condition]
        boxes = read_box_table(run.folder)
        effects = read_effects(run.folder, pictured)
        clean_effects, classes = effects[effects["condition"] == condition], read_task(run.folder).classes
        probability, odds = (
            on_likeliest(clean_effects.assign(effect=clean_effects[column]), clean, classes).dropna(subset=["top"])
            for column in ("effect", "log_odds_effect")
        )
        largest, largest_odds = (of_scale["effect"].abs().max() for of_scale in (probability, odds))
        saturated = largest < SMALL_ON_PROBABILITY and largest_odds >= CLEAR_ON_LOG_ODDS
        limit = largest_log_odds_effect(effects) if saturated else largest_effect(effects)
        effects, name = (odds, "its log-odds") if saturated else (probability, "the class")
        with_effects = [sample for sample in pictured if sample in set(effects["sample"])]
        if not with_effects:
            return [], "", limit
        names = clean.set_index("sample")["name"]
        masks, objects = read_masks(run.folder), read_object_masks(run.folder, pictured)
        located = {*boxes["sample"], *objects}
        panels: list[OverlayPanel] = []
        size = effects["effect"].abs().groupby(effects["sample"]).max()
        ordered = sorted(with_effects, key=lambda number: (number not in located, -size[number]))
        for sample in findings_first(ordered, clean, run)[: self.most]:
            units = effects[effects["sample"] == sample]
            picture, first = load_thumbnail(thumbnail_path(run.folder, sample, condition)), units.iloc[0]
            values = -unit_values(units, "effect", picture.shape, 0.0, masks)
            title = class_lines(first, 18)
            title += "" if first["label"] else f"\n{shortened(names[sample], 26)}"
            objects_of_sample = boxes[boxes["sample"] == sample], objects.get(sample, {})
            of = f"minus the effect on {name}"
            panels.append(OverlayPanel(title, picture, values, *objects_of_sample, first["explained"], of))
        chosen = f", those with the largest effects of {len(with_effects)} saved ones"
        chosen += ", with known objects first" if located & {*with_effects} else ""
        return panels, chosen if len(with_effects) > len(panels) else "", limit

    def _maps(self, run: Run) -> tuple[list[OverlayPanel], str]:
        """Panels of one image's maps, each scaled by its maximum, and the rule that selects the image."""
        maps, boxes, grid = read_maps(run.folder), read_box_table(run.folder), read_grid(run.folder)
        shown = maps[(maps["variant"] == AS_IS) & (maps["state"] == OK) & ~maps["explainer"].isin(REFERENCE_MAPS)]
        shown = explained_classes(run).merge(shown, on=["sample", "class"])
        if shown.empty:
            return [], ""
        of_sample = shown[shown["sample"] == shown["sample"].iloc[0]]
        first = of_sample.iloc[0]
        masks = read_object_masks(run.folder, [first["sample"]])
        names = list(of_sample["explainer"].astype(str))
        chosen = [name for name in names if name not in RIVALS][:1] + [name for name in RIVALS if name in names]
        picture = load_thumbnail(thumbnail_path(run.folder, int(first["sample"]), CLEAN))
        located_objects = boxes[boxes["sample"] == first["sample"]], masks.get(int(first["sample"]), {})
        panels: list[OverlayPanel] = []
        for name in chosen[: self.most]:
            cells = of_sample.loc[of_sample["explainer"] == name, "cells"].iloc[0].reshape(grid.rows, grid.columns)
            values = resized(cells, (grid.height, grid.width)).astype(float) / np.abs(cells).max()
            title = f"{component_name(name)}\n{class_lines(first, 18)}"
            shown_panel = title, picture, values, *located_objects, first["class"]
            panels.append(OverlayPanel(*shown_panel, "evidence, relative to the map's largest"))
        return panels, ", the first one that is saved" + (" with an object of a class" if first["located"] else "")


@dataclass
class Levels(FigureComponent):
    """Small multiples of one image: its effects on the likeliest class in each job, clean and attacked, on one scale.

    Jobs that show the same come once, and of more than `most` panels every so many; none unless two jobs have pictures
    of one image.
    """

    most: int  # panels

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        pictured = [set(samples_in_conditions(run.folder, [*run.summary["conditions"]])) for run in runs]
        common = set.intersection(*pictured) if len(pictured) > 1 else set()
        if not common:
            return
        sample = findings_first(sorted(common), read_samples(runs[0].folder), runs[0])[0]
        factors = factors_of(runs).apply(level_texts)
        others = [name for name in factors if not name.startswith("attack")]
        chosen: dict[tuple[str, ...], tuple[Run, str]] = {}
        for run, levels in zip(runs, factors.to_dict("records"), strict=True):
            for condition in run.summary["conditions"]:
                names = [name for name in levels if condition != CLEAN or name in others]
                setting = [str(levels[name]) for name in names if name != "attack.eps"]
                chosen.setdefault((*setting, condition.removeprefix("eps=")), (run, condition))
        keys = list(chosen)
        panels: list[OverlayPanel] = []
        limit = 0.0
        for number in dict.fromkeys(round(step) for step in np.linspace(0, len(keys) - 1, self.most)):
            run, condition = chosen[keys[number]]
            shown, _, size = Overlay(0, 1).effects(run, [sample], condition)
            if shown and "odds" not in shown[0].of:  # which have another scale
                title = f"{shortened(', '.join(keys[number]), 30)}\n{shown[0].title.splitlines()[0]}"
                panels, limit = [*panels, shown[0]._replace(title=title, of="map")], max(limit, size)
        if len(panels) < 2:
            return
        text = f"One image, in each job and condition: effect of each unit on the likeliest class; {SIGN}."
        words = caption(text, runs, f"n = 1 picture in {len(panels)} panels; single images, so no interval.")
        numbers = [
            {"panel": panel.title, "row": row, "column": column, "value": panel.values[row, column]}
            for panel in panels
            for row, column in np.ndindex(panel.values.shape)
            if not (row % max(1, panel.values.shape[0] // 8) or column % max(1, panel.values.shape[1] // 8))
        ]
        figure = overlay(panels, limit)
        figure.set_figheight(figure.get_figheight() * _TITLES)
        yield ReportFigure("levels", "One image over the levels", words, figure, pd.DataFrame(numbers))
