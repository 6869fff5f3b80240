"""Results of a notebook: tables that the commands would write, sentences, and the figures of the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dovision import checks
from dovision.findings.finding import Finding
from dovision.findings.run_findings import run_findings
from dovision.notebook.measuring import ResultFolder
from dovision.store.run_record import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dovision.report.report_figure import FigureComponent, ReportFigure


class MeasuredImages:
    """Measurements of some images: tables, sentences and figures, those of a run of dovision-evaluate.

    Args:
        run: of the folder that the callbacks have written.
        folder: where it lies.
    """

    shown: Sequence[str] = ("overlay", "effects")  # components of figures: the first that draws one is shown
    drawing: Sequence[str] = ()  # components whose figures it has; all where there are none

    def __init__(self, run: Run, folder: ResultFolder) -> None:
        self.run = run
        self._folder = folder

    @property
    def folder(self) -> Path:
        """The folder of the tables, samples.parquet and so on; a temporary one goes with the result."""
        return self.run.folder

    @property
    def summary(self) -> dict[str, Any]:
        """Headline numbers with intervals, by condition: summary.json of the run."""
        return dict(self.run.summary)

    @property
    def samples(self) -> pd.DataFrame:
        """A row per (sample, condition): label, prediction, success of the attack, norms: samples.parquet."""
        from dovision.store.tables import read_samples

        return read_samples(self.folder)

    @property
    def findings(self) -> list[str]:
        """One to three sentences, each with its number, interval and n."""
        return [found.text for found in self._findings()]

    def _findings(self) -> Iterable[Finding]:
        return run_findings(self.run)

    def to_pandas(self) -> pd.DataFrame:
        """The main table, with intervals."""
        return self.samples

    def plot(self, name: str | None = None) -> Figure:
        """A figure of the page, drawn of this result.

        Args:
            name: one of `figures`; None: the first.

        Raises:
            ValueError: there is no such figure, or none at all.
        """
        from dovision.notebook.drawing import shown_in_notebooks

        if name is None:
            found = self._first_figure()
            if found is None:
                raise ValueError("there is no figure of this result, which has no pictures and no intervals.")
            return shown_in_notebooks(found)
        figures = {each.name: each for each in self._drawn(())}
        return shown_in_notebooks(figures[checks.choice("name", name, figures)].figure)

    @property
    def figures(self) -> list[str]:
        """Names of the figures that `plot` can draw of this result."""
        return [each.name for each in self._drawn(())]

    def _drawn(self, groups: Sequence[str]) -> Iterator[ReportFigure]:
        components = figure_components()
        for name in groups or self.drawing or components:
            yield from components[name].of_run(self.run)

    def _first_figure(self) -> Figure | None:
        """What a notebook shows; None where it cannot be drawn."""
        return next((found.figure for found in self._drawn(self.shown)), None)

    def _repr_html_(self) -> str:
        from dovision.notebook.drawing import html

        text = "\n".join([self._title(), *self.findings])
        return html(text, self._first_figure(), self._first_rows())

    def _first_rows(self) -> pd.DataFrame:
        """The rows and columns of the main table that a notebook shows, the first of them."""
        return self.to_pandas()

    def _title(self) -> str:
        """Images and conditions, in words."""
        found = self.run.summary["conditions"]
        images = max(each["images"] for each in found.values())
        return f"{images:,} images; conditions: {', '.join(name.replace('eps=', 'epsilon ') for name in found)}"

    def __repr__(self) -> str:
        conditions = self.run.summary.get("conditions", {})
        images = max((found["images"] for found in conditions.values()), default=0)
        return f"{type(self).__name__}(images={images}, conditions={list(conditions)})"


def figure_components() -> dict[str, FigureComponent]:
    """The components that draw figures, by name, in their order on the page."""
    from dovision.config.component import make_group

    return dict(sorted(make_group("figure").items(), key=lambda item: item[1].order))
