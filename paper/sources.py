"""The list of this project's figures, and what each is drawn from: a finished sweep, the benchmark, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from dovision import checks
from dovision.identity.differences import mixed
from dovision.report.report_figure import Catalogue, ReportFigure
from dovision.report.style import WIDTHS
from paper.bench import bench_figure
from paper.composed import Composed, Pinned, completed_runs
from paper.framework import framework_figure
from paper.shortcut import Shortcut
from paper.sites import Sites

SINGLE, _, DOUBLE = WIDTHS

Source = Callable[[Path], ReportFigure]
"""Draws a figure, given the folder of all sweeps.

FileNotFoundError: what it is drawn from is not there; the error says which command makes it.
ValueError: what it is drawn from is damaged, or has no such figure.
"""


@dataclass(frozen=True)
class FromSweep:
    """A figure of a sweep's report, of its first completed run if it is a figure of a single run.

    Args:
        sweep: the folder of the runs, and the experiment that makes them.
        name: of the figure in the report.
        width: in inches; None: as it is in the report.
    """

    sweep: str
    name: str
    width: float | None = None

    def __call__(self, outputs: Path) -> ReportFigure:
        drawn = {one.name: one for one in report_of(outputs / self.sweep)}
        if self.name not in drawn:
            raise ValueError(checks.unknown_key(f"the report of {outputs / self.sweep}", self.name, drawn))
        report_figure = drawn[self.name]
        if self.width is not None and report_figure.figure is not None:
            width, height = report_figure.figure.get_size_inches()
            report_figure.figure.set_size_inches(self.width, height * max(1.0, self.width / width))
        return report_figure


_EIGHTHS = ("intervention.rows=8", "fill@intervention.fill=mean")
FILMS = (  # a disease that is seen, the same film attacked, and one that is missed
    Pinned("phantom_grid", "test-23", "a film whose disease is predicted", job=_EIGHTHS),
    Pinned("phantom_grid", "test-23", "the same film under PGD of epsilon 4/255", "eps=4/255", _EIGHTHS),
    Pinned("phantom_grid", "test-137", "a film whose disease is missed", job=_EIGHTHS),
)

FIGURES: Mapping[str, Source] = {
    "framework": lambda outputs: framework_figure(),
    "films_column": Composed("films_column", FILMS, SINGLE),
    "films_page": Composed("films_page", FILMS, DOUBLE),
    "explainers_table": FromSweep("phantom_maps", "map_scores"),
    "explainers_estimates": FromSweep("phantom_maps", "map_estimates"),
    "explainers_images": FromSweep("phantom_maps", "overlay"),
    "explainers_sanity": FromSweep("phantom_maps", "map_sanity", DOUBLE),
    "shortcut": FromSweep("phantom_shortcut", "shortcut"),
    "sites": FromSweep("phantom_sites", "sites"),
    "detection_table": FromSweep("mnist_detection", "detection_table_eps_0.2"),
    "detection_curves": FromSweep("mnist_detection", "detection_curves"),
    "latent_channels": FromSweep("mnist_detection", "average_effects"),
    "box_against_control": FromSweep("chest_boxes", "box_against_control", DOUBLE),
    "chest_fills": FromSweep("chest_boxes", "box_minus_control", DOUBLE),
    "chest_maps_table": FromSweep("chest_maps", "map_scores"),
    "effect_against_grid": FromSweep("phantom_grid", "effect_against_grid", DOUBLE),
    "average_effects": FromSweep("phantom_grid", "average_effects"),
    "bench_ratios": lambda outputs: bench_figure(outputs / "bench"),
}


@cache
def report_of(sweep: Path) -> Sequence[ReportFigure]:
    """The figures of a sweep: those of its first completed run, and those of all completed runs."""
    completed = completed_runs(sweep)
    mixture = " ".join(mixed({run.label: run.record for run in completed}))
    catalogue = Catalogue()
    of_this_project = (one for component in (Shortcut(0), Sites(0)) for one in component.of_sweep(completed))
    of_sweep = (_remarked(one, mixture) for one in (*catalogue.of_sweep(completed), *of_this_project))
    return [*catalogue.of_run(completed[0]), *of_sweep]


def _remarked(report_figure: ReportFigure, mixture: str) -> ReportFigure:
    """The figure, with a caption that also says in what its runs differ that they should share."""
    return replace(report_figure, caption=f"{report_figure.caption} {mixture}".rstrip(), mixture=mixture)
