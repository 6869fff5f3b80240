"""The figures of a run that detects: how well, against what, and what an adaptive attacker leaves of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from dovision.analysis.detection_summary import DETECTION, NOT_ADAPTIVE, WORST, matrix, read_detection
from dovision.functional.intervals import SHARE_INTERVALS
from dovision.report.figures import detection_curves
from dovision.report.figures import detection_plots as figures
from dovision.report.figures.detection_tables import NOISE_CONTROL, THRESHOLDS, WORST_IS, table_figures
from dovision.report.heat_map import heat_maps
from dovision.report.report_figure import ReportFigure, missing_intervals, setup_sentence, span
from dovision.report.style import FEWEST_FOR_CURVE
from dovision.store.detection_tables import (
    ADAPTIVES,
    DETECTOR,
    NOISE,
    SUPERVISED,
    SUPERVISED_HARDENED,
    detector_label,
    preferred,
    read_scores,
)
from dovision.store.run_record import Run

_SHOWN = "One variant of each detector: supervised before unsupervised, hardened before not."
_FITTED = {SUPERVISED: "", SUPERVISED_HARDENED: "hardened: "}
MEASURES = {
    "success": "attack succeeds",
    "evasion_5": "succeeds undetected, 5 %",
    "tpr_5": "success detected, 5 %",
    "tpr_1": "success detected, 1 %",
}


def detection_figures(run: Run) -> list[ReportFigure]:
    """The figures of a run's detectors; none if it has none."""
    if not (run.folder / DETECTION).is_file():
        return []
    frame, scores = read_detection(run.folder), read_scores(run.folder)
    frame["label"] = [detector_label(*names) for names in frame[DETECTOR].to_numpy()]
    return [
        *table_figures(run),
        *_adaptive(run, frame),
        *_curves(run, frame, scores),
        *_epsilons(run, frame),
        *_matrices(run, frame),
        *_distributions(run, frame, scores),
    ]


def _adaptive(run: Run, frame: pd.DataFrame) -> list[ReportFigure]:
    rows = frame[frame["attack"].isin(ADAPTIVES)]
    if rows.empty:
        return []
    data = pd.concat([_measured(rows, name).assign(measure=title) for name, title in MEASURES.items()])
    data["detector"] += data["eps"].map(", epsilon {:.3g}".format)
    caption = (
        "The attacker knows the detector, and maximises the classifier's loss minus lambda times the score (orth.: in "
        "turns, each along what leaves the other as it is). Success "
        "and undetected success: of the images that were right when clean; detection: of the attacks that succeed. "
        f"n = {rows['images'].max():,} attacked images. {THRESHOLDS} Whiskers: {SHARE_INTERVALS}."
        f"{missing_intervals(data)} One seed. {setup_sentence([run])}"
    )
    figure = figures.adaptive_curves(data)
    return [ReportFigure("detection_adaptive", "Against an adaptive attacker", caption, figure, data)]


def _curves(run: Run, frame: pd.DataFrame, scores: pd.DataFrame) -> list[ReportFigure]:
    curves = detection_curves.operating_curves(scores)
    if curves.empty:
        return []
    operating = _operating(frame, list(curves["eps"].unique()))
    caption = (
        f"Successful attacks against all clean images. {WORST_IS}; it is {NOT_ADAPTIVE}. Circles and squares: at the "
        f"thresholds for 1 % and 5 %. {_SHOWN} Precision depends on the share of attacked images, here "
        f"{operating['prevalence'].min():.2f} to {operating['prevalence'].max():.2f}. {_n(operating)} {THRESHOLDS} "
        f"Intervals are in the tables. One seed. {setup_sentence([run])}"
    )
    figure = figures.operating_curves_plot(curves, operating)
    return [ReportFigure("detection_curves", "ROC and precision-recall, worst case", caption, figure, curves)]


def _operating(frame: pd.DataFrame, known: Sequence[float]) -> pd.DataFrame:
    """A row per (detector, epsilon, rate): where the thresholds in use lie in the worst case."""
    shown = preferred(frame[frame["eps"].isin(known) & ~frame["attack"].isin([NOISE, *ADAPTIVES])])
    last = shown.groupby(["label", "eps"], sort=False).tail(1)  # the worst case; of a single attack, that attack
    parts = []
    for rate in figures.RATE_MARKERS:
        point = last[["eps", "successful", "prevalence"]].assign(detector=last["label"], rate=rate)
        point = point.assign(false=last[f"false_clean_{rate}"], found=last[f"tpr_{rate}"])
        right, wrong = point["found"] * point["prevalence"], point["false"] * (1 - point["prevalence"])
        parts.append(point.assign(precision=right / (right + wrong)))
    return pd.concat(parts, ignore_index=True)


def _epsilons(run: Run, frame: pd.DataFrame) -> list[ReportFigure]:
    shown = preferred(frame[~frame["attack"].isin(ADAPTIVES)])
    attacks, noise = shown[~shown["attack"].isin([NOISE, WORST])], shown[shown["attack"] == NOISE]
    if attacks["eps"].nunique() < 2:
        return []
    worst = shown[(shown["attack"] == WORST) & shown["eps"].notna()]
    lines = {figures.ATTACKS_CLEAN: _over_attacks(attacks, "auroc")}
    lines[figures.ATTACKS_NOISE] = _over_attacks(attacks, "auroc_noise")
    lines[figures.WORST_CLEAN] = _measured(worst, "auroc")
    lines[figures.WORST_NOISE] = _measured(worst, "auroc_noise")
    lines[figures.NOISE_CLEAN] = _measured(noise, "auroc_all")
    data = pd.concat([rows.assign(line=line) for line, rows in lines.items()], ignore_index=True)
    names = ", ".join(dict.fromkeys(attacks["attack"]))
    caption = (
        f"AUROC of successful attacks. Coloured: mean over attacks ({names}), bands from the least to the largest; "
        f"solid: against all clean images; dashed: against random-sign noise of the same epsilon. Dotted: all noise "
        f"images against clean ones, which should be one half. {NOISE_CONTROL} {WORST_IS}. All attacks are "
        f"{NOT_ADAPTIVE}. {_SHOWN} {_n(attacks)} Whiskers: {SHARE_INTERVALS}.{missing_intervals(data)} One seed. "
        f"{setup_sentence([run])}"
    )
    figure = figures.auroc_against_epsilon(data)
    return [ReportFigure("detection_epsilon", "AUROC against epsilon", caption, figure, data)]


def _over_attacks(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    means = rows.groupby(["label", "eps"], sort=False)[name].agg(mean="mean", low="min", high="max")
    return means.reset_index().rename(columns={"label": "detector"})


def _matrices(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    means = matrix(frame)
    plain = preferred(means[means["fitted_on"] == ""])
    for name, own in means[means["fitted_on"] != ""].groupby("detector", sort=False):
        own = own.assign(fit=own["variant"].map(_FITTED) + own["fitted_on"])
        rows = pd.concat([plain.assign(fit=plain["detector"]), own], ignore_index=True)
        panels, texts = {}, {}
        for column, title in (("auroc", "against clean"), ("auroc_noise", "against noise")):
            table = rows.pivot(index="fit", columns="attack", values=column)
            table = table.loc[list(dict.fromkeys(rows["fit"])), list(dict.fromkeys(own["attack"]))]
            panels[title] = table - 0.5
            texts[title] = table.map(lambda value: "-" if pd.isna(value) else f"{value:.2f}".replace("0.", "."))
        attacked = frame[(frame["detector"] == name) & frame["attack"].isin(own["attack"])]
        caption = (
            f"Rows: detectors that have seen no attack, then the attack that {name} was fitted to on validation "
            "images; columns: the attack of the test images. Mean over epsilons of the AUROC of successful attacks, "
            "against all clean images and against random-sign noise of the same epsilon; intervals at each epsilon are "
            f"in the tables. {NOISE_CONTROL} All attacks are {NOT_ADAPTIVE}. {_SHOWN} {_n(attacked)} One seed. "
            f"{setup_sentence([run])}"
        )
        figure = heat_maps(panels, texts, "AUROC minus one half", limit=0.5)
        yield ReportFigure(f"detection_matrix_{name}", f"Fitted to and tested on: {name}", caption, figure, rows)


def _distributions(run: Run, frame: pd.DataFrame, scores: pd.DataFrame) -> list[ReportFigure]:
    data = detection_curves.distributions(scores)
    if data["eps"].isna().all():
        return []
    caption = (
        f"Clean images, random-sign noise and successful attacks at epsilon {data['eps'].iloc[0]:.3g}. {WORST_IS}; it "
        f"is {NOT_ADAPTIVE}. Vertical: the threshold that rejects 5 % of the clean validation images. {_SHOWN} "
        f"n = {span(data['images'])} images a line; dots where fewer than {FEWEST_FOR_CURVE}; the lowest "
        f"and the highest 1 % are not drawn. One seed. {setup_sentence([run])}"
    )
    limits = dict(zip(frame["label"], frame["threshold_5"], strict=True))
    figure = figures.score_distributions(data, limits)
    return [ReportFigure("detection_scores", "Scores of clean, noisy and attacked images", caption, figure, data)]


def _measured(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """One metric of `detection`, as mean, low, high and reason."""
    columns = {"label": "detector", name: "mean"} | {f"{name}_{end}": end for end in ("low", "high", "reason")}
    return rows[["attack", "eps", "strength", "images", "successful", *columns]].rename(columns=columns)


def _n(rows: pd.DataFrame) -> str:
    counts = rows.loc[rows["successful"] > 0, "successful"]
    return f"n = {span(counts)} successful attacks." if len(counts) else "No attack succeeded."
