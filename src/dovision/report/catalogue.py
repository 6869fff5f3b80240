"""The figures of runs: all that the components of conf/figure draw of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from dovision import checks
from dovision.config.component import make_group
from dovision.report.report_figure import FigureComponent, ReportFigure
from dovision.store.run_record import Run

log = logging.getLogger(__name__)


def figure_components() -> list[FigureComponent]:
    """The components of the group, in their order.

    Raises:
        ValueError: a yaml describes something else, or a component refuses its arguments.
    """
    kind = "a FigureComponent of dovision.report.report_figure"
    group = make_group("figure").items()
    made = [checks.instance(f"figure.{name}", component, FigureComponent, kind) for name, component in group]
    return sorted(made, key=lambda component: component.order)


def run_figures(run: Run, failed: list[str] | None = None) -> list[ReportFigure]:
    """The figures of one completed run; a user's component that raises is logged, and added to `failed`."""
    return _drawn(lambda component: component.of_run(run), failed)


def sweep_figures(runs: Sequence[Run], failed: list[str] | None = None) -> list[ReportFigure]:
    """The figures that compare completed runs; a user's component that raises is logged, and added to `failed`."""
    return _drawn(lambda component: component.of_sweep(runs), failed)


def _drawn(
    draw: Callable[[FigureComponent], Iterable[ReportFigure]], failed: list[str] | None = None
) -> list[ReportFigure]:
    found: list[ReportFigure] = []
    for component in figure_components():
        try:
            found += list(draw(component))
        except Exception as error:  # whatever foreign code raises
            kind = type(component)
            if kind.__module__.startswith("dovision."):
                raise
            message = f"left out the figure {kind.__module__}.{kind.__qualname__}: {type(error).__name__}: {error}"
            log.error(message)
            if failed is not None:
                failed.append(message)
    return found
