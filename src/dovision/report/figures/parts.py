"""The protocol of FunnyBirds as a table of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from dovision.analysis.part_protocol import part_protocol
from dovision.findings.number_text import bracketed
from dovision.functional.intervals import BOTH_INTERVALS
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, span
from dovision.store.display_names import display_name
from dovision.store.run_record import Run


class BirdParts(FigureComponent):
    """Figure of the eight numbers of the protocol of FunnyBirds; none where the run did not follow it."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        frame = part_protocol(run.folder).sort_values("measure", kind="stable")
        if frame.empty:
            return
        text = (
            "The protocol of FunnyBirds, from pictures of the same scenes without some objects, as its authors compute "
            "it; 1 is best. Controlled check, preservation check, deletion check and distractibility are at the "
            "threshold of importance where they are largest together, which intervals do not cover. Drawn: the share "
            "of the objects of the background that pictures are drawn without; the others are left out."
        )
        words = caption(text, [run], f"n = {span(frame['images'])} images.", f"Brackets: {BOTH_INTERVALS}.", frame)
        table = pd.DataFrame(
            {
                "method": frame["method"].map(display_name),
                "value": bracketed(frame, ""),
                "threshold": frame["threshold"].map("{:.3f}".format).replace("nan", ""),
                "drawn": frame["drawn"].map("{:.0%}".format).replace("nan%", ""),
                "images": frame["images"].astype(str),
            }
        )
        table.index = pd.Index(frame["measure"].map(display_name), name="measure")
        yield ReportFigure.of_table("part_protocol", "Parts of birds", words, frame, table)
