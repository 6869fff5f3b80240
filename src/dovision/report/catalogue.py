"""The figures of runs: all that the components of conf/figure draw of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from dovision import checks
from dovision.config.instantiate import instantiate
from dovision.config.sources import component_files
from dovision.report.report_figure import FigureComponent, ReportFigure
from dovision.store.run_record import Run


def figure_components() -> list[FigureComponent]:
    """A component for each yaml of the group, in their order.

    Raises:
        ValueError: a yaml describes something else, or a component refuses its arguments.
    """
    made = [_made(name, OmegaConf.load(path)) for name, path in component_files("figure").items()]
    return sorted(made, key=lambda component: component.order)


def run_figures(run: Run) -> list[ReportFigure]:
    """The figures of one completed run."""
    return [drawn for component in figure_components() for drawn in component.of_run(run)]


def sweep_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """The figures that compare completed runs."""
    return [drawn for component in figure_components() for drawn in component.of_sweep(runs)]


def _made(name: str, node: Any) -> FigureComponent:
    made = instantiate(OmegaConf.create({"figure": {name: node}}).figure[name])
    return checks.instance(
        f"figure.{name}", made, FigureComponent, "a FigureComponent of dovision.report.report_figure"
    )
