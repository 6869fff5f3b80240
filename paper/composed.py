"""Figures composed of pinned panels: effects over named images of named jobs, on one scale, as wide as a venue asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dovision import checks
from dovision.report.figures.overlay import ON_LOG_ODDS, effect_panels
from dovision.report.image_overlay import OUTLINES, OverlayPanel, overlay
from dovision.report.report_figure import ReportFigure, caption
from dovision.report.style import SIGN, page_width
from dovision.results.run_record import UNREADABLE, Run, survey
from dovision.results.tables import CLEAN, read_samples
from dovision.results.thumbnails import samples_in_conditions


def completed_runs(sweep: Path) -> Sequence[Run]:
    """Completed runs of a sweep; errors as of `paper.sources.Source`."""
    command = f"dovision-evaluate experiment={sweep.name}"
    if not sweep.is_dir():
        raise FileNotFoundError(f"{sweep} must hold runs, got no such folder. Run {command}.")
    runs = survey(sweep)
    damaged = [run.problem for run in runs if run.state == UNREADABLE]
    if damaged:
        raise ValueError(f"a run cannot be read: {damaged[0]}")
    completed = [run for run in runs if run.state == "completed"]
    if not completed:
        raise FileNotFoundError(f"{sweep} must hold a completed run, got none. Run {command}.")
    return completed


@dataclass(frozen=True)
class Pinned:
    """Panel of one image in one job, by names, so that no later job or image changes it.

    Args:
        sweep: the folder of the runs, and the experiment that makes them.
        image: its name in samples.parquet.
        text: what the panel shows, for the caption.
        condition: "clean", or such as "eps=4/255".
        job: overrides of the job; empty: the first one.
    """

    sweep: str
    image: str
    text: str
    condition: str = CLEAN
    job: tuple[str, ...] = ()

    def drawn(self, outputs: Path) -> tuple[Run, OverlayPanel, float]:
        """The run, the panel, and the size of effect of its deepest colour; errors as of `Source`."""
        runs = {", ".join(run.overrides): run for run in completed_runs(outputs / self.sweep)}
        run = next((run for run in runs.values() if {*self.job} <= {*run.overrides}), None)
        if run is None:
            raise ValueError(checks.unknown_key(f"the sweep {outputs / self.sweep}", ", ".join(self.job), runs))
        names = read_samples(run.folder).drop_duplicates("sample").set_index("name")["sample"]
        names = names[names.isin(samples_in_conditions(run.folder, [self.condition]))]
        if self.image not in names:
            raise ValueError(checks.unknown_key(f"the saved pictures of {run.folder}", self.image, names.index))
        panels, _, limit = effect_panels(run, [int(names[self.image])], [self.condition])
        panel = next(iter(panels.values()), None)
        if panel is None or panel.of == ON_LOG_ODDS:
            raise ValueError(f"{self.image} must have effects on probability in {run.folder}, got none in the table.")
        return run, panel, limit


@dataclass(frozen=True)
class Composed:
    """Figure of pinned panels with letters, one scale and one caption.

    Args:
        name: of the figure.
        panels: from a on.
        width: of the venue's column or page, in inches, one of `style.WIDTHS`.
    """

    name: str
    panels: Sequence[Pinned]
    width: float

    def __call__(self, outputs: Path) -> ReportFigure:
        runs, panels, limits = zip(*(panel.drawn(outputs) for panel in self.panels), strict=True)
        with page_width(self.width):
            figure = overlay(panels, max(limits))
        letters = "abcdefghij"[: len(panels)]
        for axes, letter in zip(figure.axes, letters, strict=False):
            axes.annotate(letter, (0, 1), (-3, 0), textcoords="offset points", ha="right", va="top", weight="bold")
        texts = "; ".join(f"{letter}, {panel.text}" for letter, panel in zip(letters, self.panels, strict=True))
        outlines = f"; {OUTLINES}" if any(len(panel.boxes) or panel.masks for panel in panels) else ""
        text = f"Effect of each unit on the likeliest class, on one scale; {SIGN}{outlines}. Panels: {texts}."
        words = caption(
            text,
            [*{run.label: run for run in runs}.values()],
            f"n = {len(panels)} panels; single images, so no interval.",
        )
        data = [
            {"panel": letter, "row": row, "column": column, "value": value}
            for letter, panel in zip(letters, panels, strict=True)
            for (row, column), value in np.ndenumerate(panel.values)
        ]
        return ReportFigure(self.name, "Effects on films", words, figure, pd.DataFrame(data))
