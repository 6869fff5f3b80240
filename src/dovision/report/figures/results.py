"""Tables of headline numbers, the classifier's quality, attacks, and refuters, job by job and class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from dovision.functional.estimates import FEW_IMAGES
from dovision.functional.intervals import BOTH_INTERVALS, SHARE_INTERVALS
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, images, sample_size
from dovision.results.detection_tables import ATTACKS, MASKED, SHARES, attack_rates
from dovision.results.display_names import METRIC_HEADS, display_name
from dovision.results.effect_findings import condition_head
from dovision.results.finding import bracketed, metric_text
from dovision.results.headline_numbers import intervals_of, results_frame
from dovision.results.run_record import Run
from dovision.results.schemas import METRICS, QUALITY
from dovision.results.tables import CLEAN, read_task

MEANING = (
    "Headline numbers. Attack success counts among images that were right before; robust accuracy is the share of all "
    "images right before and after. With several labels an image is right if each of its labels is. AUROC of |expected "
    "effect|: successfully attacked images against all clean ones; below 0.5, attacks lower it. "
    "AUROC, sensitivity and specificity are those of the second class where there are two, and means over classes "
    "otherwise; calibration error: the expected one, in 15 bins of the highest probability (of several labels: the "
    "mean of theirs)."
)
CLASS_HEADS = {  # of the metrics of a class
    {"classifier_auroc": "auroc"}.get(name, name): head
    for name, head in METRIC_HEADS.items()
    if name in ("images", "prevalence", *QUALITY)
}
BRACKETS = f"In brackets: {SHARE_INTERVALS}."


class Results(FigureComponent):
    """Table of headline numbers and classifier quality of all jobs, and one of quality by class."""

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        frame = results_frame(runs)
        conditions = [condition_head(run, name) for run in runs for name in run.summary["conditions"]]
        rows = [numbers for run in runs for numbers in run.summary["conditions"].values()]
        again = (frame["condition"] == CLEAN) & frame.drop(columns="job").duplicated()  # of several attacks
        defined = {name: METRIC_HEADS[name] for name in METRICS if frame[name].notna().any()}
        texts = {head: [metric_text(name, row.get(name)) for row in rows] for name, head in defined.items()}
        columns = {"images": frame["images"].map("{:,}".format)}
        columns |= {"images by class": frame["labels"]} if frame["labels"].any() else {}
        table = pd.DataFrame({"condition": conditions} | columns | texts).set_axis(frame["job"])[~again.to_numpy()]
        if len(runs) == 1:  # a row a number
            table = table.set_index("condition").T.rename_axis(index="number", columns=None)
        words = caption(MEANING, runs, images(frame["images"]), f"In brackets: {BOTH_INTERVALS}.", frame)
        yield ReportFigure.of_table("results", "Headline numbers and quality of the classifier", words, frame, table)

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        conditions = run.summary["conditions"]
        rows = [
            {"condition": condition, "class": name} | intervals_of(metrics, CLASS_HEADS)
            for condition, numbers in conditions.items()
            for name, metrics in numbers["classes"].items()
        ]
        if not rows or read_task(run.folder).opposite:  # of two classes the headline numbers say the same
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


class Attacks(FigureComponent):
    """Table of the strength of the attacks that detectors are tested on."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if (run.folder / ATTACKS).is_file():
            yield _strength(run)


def _strength(run: Run) -> ReportFigure:
    frame = attack_rates(run.folder)
    queries = run.record.get("condition_queries", {})
    pairs = zip(frame["attack"], frame["eps"], strict=True)
    frame["passes"] = [queries.get(attack, {}).get(f"{eps:g}") for attack, eps in pairs]
    text = (
        "Success: of the test images that are right when clean, the share that is wrong when attacked; with several "
        "labels an image is right if each of its known labels is. Robust accuracy: of all test images, the share that "
        "is right before and after the attack. All together: an image counts if any of the attacks succeeds. Passes: "
        "forward passes of the classifier for an image."
    )
    if (dead := run.record.get("condition_dead_gradients")) is not None:
        text += f" Zero or not finite: {dead:.1%} of the clean images' gradients."
        if dead > MASKED:
            text += " Attacks by gradient may fail for want of one, which is no sign of robustness."
    columns = {"epsilon": frame["eps"].map("{:.3g}".format)}
    columns["right of images"] = frame["right"].map("{:,} of ".format) + frame["images"].map("{:,}".format)
    for head, name in zip(("success", "success at 8 bits", "robust accuracy"), SHARES, strict=True):
        columns[head] = bracketed(frame, name)
    for head, name in (("largest Linf", "linf"), ("mean L2", "l2"), ("passes", "passes")):
        columns[head] = ["-" if pd.isna(number) else f"{number:,.4g}" for number in frame[name]]
    table = pd.DataFrame(columns).set_axis(frame["attack"].map(display_name))
    words = caption(text, [run], sample_size(frame, "images", "images"), BRACKETS, frame)
    return ReportFigure.of_table("detection_attacks", "The attacks", words, frame, table)
