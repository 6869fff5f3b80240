"""The figures of runs: all that the components of conf/figure draw of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from dovision import checks
from dovision.config.component import make_group
from dovision.report.report_figure import FigureComponent, ReportFigure
from dovision.store.run_record import Run

log = logging.getLogger(__name__)


class Catalogue:
    """The figure components, in their order; `failed` says which of a user's raised an error, and which error.

    Raises:
        ValueError: a yaml describes something else, or a component refuses its arguments.
    """

    def __init__(self) -> None:
        kind = "a FigureComponent of dovision.report.report_figure"
        group = make_group("figure").items()
        made = [checks.instance(f"figure.{name}", component, FigureComponent, kind) for name, component in group]
        self.components = sorted(made, key=lambda component: component.order)
        self.failed: list[str] = []

    def of_run(self, run: Run) -> list[ReportFigure]:
        """The figures of one completed run, without those of a user's component that raises an error."""
        return self._drawn(lambda component: component.of_run(run))

    def of_sweep(self, runs: Sequence[Run]) -> list[ReportFigure]:
        """The figures that compare completed runs, without those of a user's component that raises an error."""
        return self._drawn(lambda component: component.of_sweep(runs))

    def _drawn(self, draw: Callable[[FigureComponent], Iterable[ReportFigure]]) -> list[ReportFigure]:
        found: list[ReportFigure] = []
        for component in self.components:
            try:
                found += list(draw(component))
            except Exception as error:  # whatever foreign code raises
                kind = type(component)
                if kind.__module__.startswith("dovision."):
                    raise
                message = f"left out the figure {kind.__module__}.{kind.__qualname__}: {type(error).__name__}: {error}"
                if message not in self.failed:
                    log.error(message)
                    self.failed.append(message)
        return found
