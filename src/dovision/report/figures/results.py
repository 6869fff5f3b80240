"""Tables of headline numbers and of the classifier's quality: job by job, and class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from dovision.functional.estimates import FEW_IMAGES
from dovision.functional.intervals import BOTH_INTERVALS, SHARE_INTERVALS
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, images
from dovision.results import summary
from dovision.results.display_names import MEAN_EFFECT, METRIC_HEADS, display_name
from dovision.results.headline_numbers import INTERVAL_FIELDS, intervals_of, result_texts, results_frame
from dovision.results.number_text import HEADLINE_METRICS, SIZE_SPREAD, bracketed
from dovision.results.run_record import Run

MEANING = (  # of the metrics of the classifier
    "AUROC, sensitivity and specificity are those of the second class where there are two, and means over classes "
    "otherwise; calibration error: the expected one, in 15 bins of the highest probability (of several labels: the "
    "mean of theirs)."
)
CLASS_HEADS = {  # of the metrics of a class
    {"classifier_auroc": "auroc"}.get(name, name): head
    for name, head in METRIC_HEADS.items()
    if name in ("images", "prevalence", *summary.QUALITY)
}


class Results(FigureComponent):
    """Tables, in files only, of headline numbers and classifier quality of all jobs, and of quality by class."""

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        frame = results_frame(runs)
        texts = result_texts(frame)
        shown = (
            ("results", "Headline numbers", "", HEADLINE_METRICS),
            ("classifier_quality", "Quality of the classifier", MEANING, summary.QUALITY),
        )
        for name, title, text, possible in shown:
            columns = {"condition": frame["condition"].map(display_name), "images": frame["images"].map("{:,}".format)}
            columns |= {"images by class": frame["labels"]} if frame["labels"].any() else {}
            metrics = [name for name in possible if frame[name].notna().any()]
            if not metrics:  # without labels
                continue
            columns |= {METRIC_HEADS[name]: texts[name] for name in metrics}
            table = pd.DataFrame(columns).set_axis(frame["job"])
            ends = [f"{metric}{end}" for metric in metrics for end in INTERVAL_FIELDS]
            ends += [column for column in (f"{MEAN_EFFECT}_{end}" for end in SIZE_SPREAD) if MEAN_EFFECT in metrics]
            data = frame[[*frame.columns[:5], *ends]]
            words = caption(text, runs, images(frame["images"]), f"In brackets: {BOTH_INTERVALS}.", data)
            yield ReportFigure.of_table(name, title, words, data, table, on_page=False)

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        conditions = run.summary["conditions"]
        rows = [
            {"condition": condition, "class": name} | intervals_of(metrics, CLASS_HEADS)
            for condition, numbers in conditions.items()
            for name, metrics in numbers["classes"].items()
        ]
        if not rows:
            return
        frame = pd.DataFrame(rows)
        frame = frame.astype({name: float for name in frame.columns[2:] if not name.endswith("_reason")})
        heads = {name: head for name, head in CLASS_HEADS.items() if frame[name].notna().any()}
        if frame["accuracy"].equals(frame["sensitivity"]):
            heads.pop("accuracy", None)
        columns = {"class": frame["class"]} | {head: bracketed(frame, name) for name, head in heads.items()}
        table = pd.DataFrame(columns | {"images": frame["images"].map("{:,.0f}".format)})
        table = table.set_axis(frame["condition"].map(display_name))
        text = (
            "Each class against all others. Sensitivity: the share of its images for which it is predicted. A label is "
            "predicted if its probability reaches its threshold; its accuracy is the share of right predictions. "
            f"-: not defined on these images, or {FEW_IMAGES} of the class, or of the others."
        )
        counted = f"n = {max(numbers['images'] for numbers in conditions.values()):,} images in each condition."
        words = caption(text, [run], counted, f"In brackets: {SHARE_INTERVALS}.", frame)
        yield ReportFigure.of_table("classes", "Quality of the classifier, class by class", words, frame, table)
