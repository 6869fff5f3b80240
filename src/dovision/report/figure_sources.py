"""The sources of this project's figures: a finished sweep, the benchmark, or nothing but the framework itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from dovision import checks
from dovision.analysis.mixed_origins import mixed
from dovision.report.bench_figure import bench_figure
from dovision.report.catalogue import results_figures, run_figures, sweep_figures
from dovision.report.framework import framework_figure
from dovision.report.report_figure import ReportFigure
from dovision.store.discover import UNREADABLE, survey

WIDTHS = {"single": 3.5, "double": 7.16}  # inches: one and two columns of a journal
DRAWN = "drawn"  # as wide as it is drawn


class FigureSource(Protocol):
    """The source of a figure; `draw` gets the folder of all runs."""

    def draw(self, outputs: Path) -> ReportFigure:
        """The figure.

        Raises:
            FileNotFoundError: what it is drawn from is not there; the error says which command makes it.
            ValueError: what it is drawn from is damaged, or has no such figure.
        """
        ...


class FromSweep:
    """A figure of a sweep's report.

    Args:
        sweep: the folder of the runs, under the folder of all runs.
        figure_name: the figure's name in the report.
        run: the number of the run among the completed ones, for a figure of a single run.
        width: single or double, the columns of a journal; drawn, as it is in the report.
    """

    def __init__(self, sweep: str, figure_name: str, run: int = 0, width: str = DRAWN) -> None:
        self.sweep = sweep
        self.figure_name = figure_name
        self.run = run
        self.width = checks.choice("width", width, [*WIDTHS, DRAWN])

    def draw(self, outputs: Path) -> ReportFigure:
        drawn = {one.name: one for one in _figures(outputs / self.sweep, self.run)}
        if self.figure_name not in drawn:
            raise ValueError(checks.unknown_key(f"the report of {outputs / self.sweep}", self.figure_name, drawn))
        found = drawn[self.figure_name]
        if self.width != DRAWN:
            width, height = found.figure.get_size_inches()
            wanted = WIDTHS[self.width]
            found.figure.set_size_inches(wanted, height * max(1.0, wanted / width))
        return found


@dataclass(frozen=True)
class FromBench:
    """The ratios of `make bench`.

    Args:
        folder: of its table, under the folder of all runs.
    """

    folder: str

    def draw(self, outputs: Path) -> ReportFigure:
        return bench_figure(outputs / self.folder)


class Framework:
    """The picture of the framework, which needs no numbers."""

    def draw(self, outputs: Path) -> ReportFigure:
        return framework_figure()


@cache
def _figures(sweep: Path, run: int) -> Sequence[ReportFigure]:
    if not sweep.is_dir():
        raise FileNotFoundError(
            f"{sweep} must hold runs, got no such folder. dovision-evaluate experiment={sweep.name}."
        )
    runs = survey(sweep)
    damaged = [found.problem for found in runs if found.state == UNREADABLE]
    if damaged:
        raise ValueError(f"a run cannot be read: {damaged[0]}")
    completed = [found for found in runs if found.state == "completed"]
    if run >= len(completed):
        raise FileNotFoundError(
            f"{sweep} must hold {run + 1} completed runs, got {len(completed)}. "
            f"dovision-evaluate experiment={sweep.name} does what is missing."
        )
    several = [*sweep_figures(completed), *results_figures(completed)]
    mixture = " ".join(mixed({found.label: found.facts for found in completed}))
    return [*run_figures(completed[run]), *(_remarked(one, mixture) for one in several)]


def _remarked(report_figure: ReportFigure, mixture: str) -> ReportFigure:
    """The figure, whose caption says too what its runs mix."""
    return replace(report_figure, caption=f"{report_figure.caption} {mixture}".rstrip(), mixture=mixture)
