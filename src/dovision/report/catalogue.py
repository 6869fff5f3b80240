"""The figures of runs: all that the components of conf/figure draw of them."""

from __future__ import annotations

from collections.abc import Sequence

from dovision import checks
from dovision.config.component import make_group
from dovision.report.report_figure import FigureComponent, ReportFigure
from dovision.store.run_record import Run


def figure_components() -> list[FigureComponent]:
    """The components of the group, in their order.

    Raises:
        ValueError: a yaml describes something else, or a component refuses its arguments.
    """
    kind = "a FigureComponent of dovision.report.report_figure"
    group = make_group("figure").items()
    made = [checks.instance(f"figure.{name}", component, FigureComponent, kind) for name, component in group]
    return sorted(made, key=lambda component: component.order)


def run_figures(run: Run) -> list[ReportFigure]:
    """The figures of one completed run."""
    return [drawn for component in figure_components() for drawn in component.of_run(run)]


def sweep_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """The figures that compare completed runs."""
    return [drawn for component in figure_components() for drawn in component.of_sweep(runs)]
