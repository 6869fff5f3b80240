"""Figure of one image over the levels of a sweep's factors: what an attack or a setting makes of its effects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dovision.report.figures.gallery import findings_first
from dovision.report.figures.overlay import Overlay
from dovision.report.image_overlay import OverlayPanel, overlay
from dovision.report.report_figure import FigureComponent, ReportFigure, caption
from dovision.report.style import SIGN, shortened
from dovision.results.factors import level_texts
from dovision.results.run_record import Run, factors_of
from dovision.results.tables import CLEAN, read_samples
from dovision.results.thumbnails import samples_in_conditions

_TITLES = 1.15  # times the height, for titles of three lines


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
        frames = [
            {"panel": panel.title, "row": row, "column": column, "value": panel.values[row, column]}
            for panel in panels
            for row in range(0, panel.values.shape[0], max(1, panel.values.shape[0] // 8))
            for column in range(0, panel.values.shape[1], max(1, panel.values.shape[1] // 8))
        ]
        figure = overlay(panels, limit)
        figure.set_figheight(figure.get_figheight() * _TITLES)
        yield ReportFigure("levels", "One image over the levels", words, figure, pd.DataFrame(frames))
