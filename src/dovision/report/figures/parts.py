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

MODELS_OF_PARTS = "parts"  # of the dataset's facts: by class, the model of each part


class BirdParts(FigureComponent):
    """Figure of accuracy, background independence, target sensitivity and single deletion; none without parts."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        models = run.record.get("dataset", {}).get(MODELS_OF_PARTS)
        frame = part_protocol(run.folder, models) if models else pd.DataFrame()
        if frame.empty:
            return
        text = (
            "The protocol of FunnyBirds, from effects of taking objects away. Background independence: objects of the "
            "background without which the class keeps 95% of its probability. Target sensitivity: the parts that an "
            "image shares with another class speak more for it, against a third, than those that it shares with that. "
            "Single deletion: (1 + rho) / 2, rho the rank correlation of the map's sums over parts with their evidence."
        )
        words = caption(text, [run], f"n = {span(frame['images'])} images.", f"Brackets: {BOTH_INTERVALS}.", frame)
        table = pd.DataFrame(
            {
                "method": frame["method"].map(display_name),
                "value": bracketed(frame, ""),
                "images": frame["images"].astype(str),
            }
        )
        table.index = pd.Index(frame["measure"], name="measure")
        yield ReportFigure.of_table("part_protocol", "Parts of birds", words, frame, table)
