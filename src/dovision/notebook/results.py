"""Results of a notebook: each is a table, sentences and a figure, which the notebook shows together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dovision import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dovision.notebook.measuring import ResultFolder
    from dovision.report.report_figure import ReportFigure
    from dovision.results.finding import Finding
    from dovision.results.run_record import Run


class Result(ABC):
    """Table with findings and a figure."""

    columns: Sequence[str] = ()  # of the table that a notebook shows; all where none is named

    @abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """Main table, with intervals."""

    @property
    def findings(self) -> list[str]:
        """Sentences, each with its number, interval and n; the last ones name what the run cannot show."""
        return [finding.text for finding in self._findings()]

    def _findings(self) -> Iterable[Finding]:
        return ()

    @abstractmethod
    def _title(self) -> str:
        """First line of the notebook display."""

    @abstractmethod
    def _counts(self) -> Mapping[str, object]:
        """Numbers and names for `repr`."""

    @abstractmethod
    def _figure(self) -> Figure | None:
        """Figure of the notebook display; None if there is nothing to draw."""

    def _rows(self) -> pd.DataFrame:
        """Table of the notebook display, most important rows first."""
        return self.to_pandas()

    def _repr_html_(self) -> str:
        from dovision.notebook.drawing import html

        rows = self._rows()
        text = "\n".join([self._title(), *self.findings])
        return html(
            text, self._figure(), rows[[name for name in self.columns if name in rows]] if self.columns else rows
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._counts().items())})"


class MeasuredImages(Result):
    """Result with the tables, findings and figures of a run of dovision-evaluate.

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
        """Folder of the tables, such as samples.parquet; a temporary one is deleted with the result."""
        return self.run.folder

    @property
    def summary(self) -> dict[str, Any]:
        """Headline numbers with intervals, by condition: the run's summary.json."""
        return dict(self.run.summary)

    @property
    def samples(self) -> pd.DataFrame:
        """A row per (sample, condition): label, prediction, success of the attack, norms: samples.parquet."""
        from dovision.results.tables import read_samples

        return read_samples(self.folder)

    def _findings(self) -> Iterable[Finding]:
        from dovision.results.run_findings import run_findings

        return run_findings(self.run)

    def plot(self, name: str | None = None) -> Figure:
        """Draw a figure of the page from this result.

        Args:
            name: one of `figures`; None: the first.

        Raises:
            ValueError: there is no such figure, or none at all.
        """
        from dovision.notebook.drawing import shown_in_notebooks

        if name is None:
            figure = self._figure()
        else:
            pictures = {picture.name: picture.figure for picture in self._drawn()}
            figure = pictures[checks.choice("name", name, [*pictures])]
        if figure is None:
            raise ValueError("there is no figure of this result, which has no pictures and no intervals.")
        return shown_in_notebooks(figure)

    @property
    def figures(self) -> list[str]:
        """Names of the figures that `plot` can draw."""
        return [picture.name for picture in self._drawn()]

    def _drawn(self, components: Sequence[str] = ()) -> Iterator[ReportFigure]:
        """The pictures of some components, in the order of the page; by default of those of the result."""
        from dovision.config.component import make_each, read_group

        by_name = dict(sorted(make_each(read_group("figure")).items(), key=lambda item: item[1].order))
        for name in components or self.drawing or by_name:
            yield from (drawn for drawn in by_name[name].of_run(self.run) if drawn.figure is not None)

    def _figure(self) -> Figure | None:
        return next((report_figure.figure for report_figure in self._drawn(self.shown)), None)

    def _title(self) -> str:
        names = ", ".join(name.replace("eps=", "epsilon ") for name in self.summary["conditions"])
        return f"{self._counts()['images']:,} images; conditions: {names}"

    def _counts(self) -> Mapping[str, object]:
        conditions = self.summary.get("conditions", {})
        images = max((numbers["images"] for numbers in conditions.values()), default=0)
        return {"images": images, "conditions": list(conditions)}
