"""Refuters of the headline effects of a run: a table of verdicts."""

from __future__ import annotations

from collections.abc import Iterator

from dovision.functional.intervals import MEAN_INTERVALS, PAIRED_INTERVALS
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, images
from dovision.results.refuter_findings import verdict_table
from dovision.results.refuters import refutations
from dovision.results.run_record import Run

_VERDICTS = (
    "Effects in log-odds, first the headline as it is, then with each refuter. Placebo region: passed if the headline "
    "is shown to be more than twice as large, and what is left of it is given. Unseen fill: passed if the effect lies "
    "on the headline's side of 0. Random weights: a sanity check that does not count. Intervals are of the level at "
    "which the headline itself was chosen."
)


class Refuters(FigureComponent):
    """Table of the verdicts of refuters; none without refuters.parquet."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        frame = refutations(run.folder)
        if frame.empty:
            return
        intervals = f"In brackets: {MEAN_INTERVALS}; of differences, {PAIRED_INTERVALS}."
        words = caption(_VERDICTS, [run], images(frame["images"]), intervals, frame)
        yield ReportFigure.of_table("refuters", "Do the headline effects stand?", words, frame, verdict_table(frame))
