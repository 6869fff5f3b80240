"""Figures of detectors: how well they separate attacks, against what, and what an adaptive attacker leaves of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.intervals import SHARE_INTERVALS
from dovision.functional.norms import ORDERS
from dovision.report.figures import _detection_plots as curves
from dovision.report.figures._detection_plots import cell, comparison_figures, family_table
from dovision.report.plots import draw_means, heat_maps, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, sample_size, span
from dovision.report.style import COLOURS, FAINT, FEWEST_FOR_CURVE, INK, LINE, logarithmic, styled, with_best
from dovision.results.detection_summary import (
    DETECTION,
    NOT_ADAPTIVE,
    TRUE_LABELS,
    WHOLE_FAMILY,
    WORST,
    convergence,
    detection_over_seeds,
    evasion_by_steps,
    fit_controls,
    matrix,
    norms_of,
    read_detection,
    unseen,
)
from dovision.results.detection_tables import (
    ADAPTIVE_ATTACKS,
    CONDITION,
    DETECTOR,
    NOISES,
    PERMUTED_LABELS,
    SUPERVISED,
    SUPERVISED_HARDENED,
    UNFITTED_SUM,
    detector_label,
    leaves_out,
    preferred,
    preferred_scores,
    read_adaptive,
    read_stated,
    widest,
)
from dovision.results.display_names import display_name
from dovision.results.finding import bracketed
from dovision.results.run_record import Run, alike
from dovision.results.tables import CLEAN

THRESHOLDS = (
    "Thresholds: of clean validation images of patients that no detector was fitted to, such that at most 1% and 5% of "
    "clean images are rejected, with 95% confidence; beside each rate, the share of clean test images rejected. "
    "Numbers: of test images, of the attacked ones those on which the attack succeeded."
)
NOISE_CONTROL = (
    "Random-sign noise is as large as the attack but harmless: a detector that separates noise from clean images, but "
    "not attacks from noise, detects that an image was altered and not that it was attacked."
)
KNOWING = (
    "The attacker knows the detector, keeps to a budget in Linf, L2 or L1, raises the margin of a wrong class in all "
    "views that the detector takes of the image, and lowers the score, by gradients: both at once (weighted), in turns "
    "(selective), or in turns along what leaves the other as it is (orthogonal), each on images that did not evade "
    "before. A spatial attacker tries rotations by up to epsilon times 30 degrees, and shifts by up to epsilon "
    "tenths of a side. An image that evades is not attacked further. What holds in one norm may fall in another."
)
WORST_IS = "In the worst case the attacker picks, image by image, the successful attack with the lowest score"
_NOISE = "noise of the same norm and epsilon (of a norm without noise, all in Linf)"
_SHOWN = "One variant of each detector: supervised before unsupervised, hardened before not."
_ONE_SEED = "One seed."
_BOLD = "bold: the best of a column, where its interval lies above those of all others"
_BEST = f"AUROC of detectors on attacks of families that they were not fitted to; {_BOLD}."
_LOWEST = "the lowest of the trainings; bold: the best of a column, where it lies above the highest of all others"
GROWTH = {
    "rounded": "the same, rounded to 8 bits",
    "steps": "growth, second half of steps",
    "starts": "growth, last start",
}
MEASURES = {
    "success": "attack succeeds",
    "evasion_5": "succeeds undetected, 5%",
    "tpr_5": "success detected, 5%",
    "false_clean_5": "clean rejected, 5%",
    "tpr_1": "success detected, 1%",
    "false_clean_1": "clean rejected, 1%",
}
FAMILY_METRICS = {  # of a cell
    "twins": "auroc_paired",
    "clean": "auroc",
    "(twins against clean)": "auroc_twins",
    "noise": "auroc_noise",
    "TPR 5%": "tpr_5",
    "(clean rejected)": "false_clean_5",
    "TPR 1%": "tpr_1",
    "(clean rejected 1%)": "false_clean_1",
}
LINES: dict[str, tuple[str, str, dict[str, Any]]] = {  # of what, its column, and its look; those of attacks have a band
    "attacks against clean": ("attacks", "auroc", {"color": COLOURS[0]}),
    "attacks against noise": ("attacks", "auroc_noise", {"color": COLOURS[1], "linestyle": "--"}),
    "worst case against clean": ("worst", "auroc", {"color": INK, "marker": "o"}),
    "worst case against noise": ("worst", "auroc_noise", {"color": INK, "marker": "s", "linestyle": "--"}),
    "noise itself against clean": ("noise", "auroc_all", {"color": FAINT, "marker": "^", "linestyle": ":"}),
}
_AREAS = ("auroc_paired", "auroc", "auroc_twins", "auroc_noise")  # of a cell, from above
_TUNED = "tuned on\nvalidation"  # a column of the tables
_FITTED = {SUPERVISED: "", SUPERVISED_HARDENED: "hardened: "}


class Detectors(FigureComponent):
    """Figures of a run's detectors, and a table over runs that differ only in seed."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if not (run.folder / DETECTION).is_file():
            return
        frame, scores = read_detection(run.folder), preferred_scores(run.folder)
        scores["norm"] = norms_of(scores["attack"], read_stated(run.folder).norms)
        norm = scores.loc[scores["eps"] > 0, "norm"].iloc[0]  # which curves are of
        in_one = scores[(scores["norm"] == norm) | (scores["attack"] == CLEAN)]
        yield from _families([run], frame, f"In brackets: {SHARE_INTERVALS}. {_ONE_SEED}")
        yield from comparison_figures(run)
        yield from _tables([run], frame, f"In brackets: {SHARE_INTERVALS}. {_ONE_SEED}")
        frame["label"] = [detector_label(*names) for names in frame[DETECTOR].to_numpy()]
        yield from _adaptive(run, frame)
        yield from _convergence(run)
        yield from _curves(run, frame[frame["norm"] == norm], in_one)
        yield from _epsilons(run, frame)
        yield from _matrices(run, frame)
        yield from _distributions(run, frame, in_one)
        yield from _controls(run, frame)

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        detecting = alike([run for run in runs if (run.folder / DETECTION).is_file()], apart_from=["seed"])
        several = (group for group in detecting.values() if len({run.seed for run in group}) == len(group) > 1)
        for number, group in enumerate(several):
            seeds = ", ".join(str(run.seed) for run in group)
            text = f"In the tables: numbers of each training, seeds {seeds} in this order; n is summed over them."
            frame = detection_over_seeds([run.folder for run in group])
            yield from _families(group, frame, text, f"_seeds{number or ''}")
            yield from _tables(group, frame, text, f"_seeds{number or ''}")


def _families(runs: Sequence[Run], frame: pd.DataFrame, text: str, end: str = "") -> Iterator[ReportFigure]:
    """Heat map and table of AUROC by unseen family."""
    rows = unseen(frame)
    rows = rows[rows["successful"] > 0]
    if rows.empty:
        return
    names = [detector_label(*key) for key in rows[DETECTOR].to_numpy()]
    rows = rows.assign(label=names)
    about = (
        "AUROC of successful attacks of a family, at all epsilons together, against the same images when clean "
        "(twins) and against all clean images, of which the twins differ before the attack by the number in "
        "parentheses. A supervised detector was fitted to all "
        "families but the one of the column. Against noise: "
        f"{_NOISE} as of each attacked image. {NOISE_CONTROL} No attack is adaptive. {THRESHOLDS}"
    )
    counted = f"n, successful of attacked images: {_counted(rows, 'family')}."
    best = _BEST.replace(_BOLD, _LOWEST) if end else _BEST
    words = caption(f"{best} {about}", runs, counted, text.replace("In brackets", "In the table"), rows)
    panels, texts = _panels(rows, "detector", {"against clean": "auroc", "against noise": "auroc_noise"})
    figure = heat_maps(panels, texts, "AUROC minus one half", limit=0.5)
    yield ReportFigure(f"detection_unseen{end}", "Detection of unseen families", words, figure, rows)
    words = caption(about, runs, counted, text, rows)
    table = family_table(rows, FAMILY_METRICS)
    yield ReportFigure.of_table(f"detection_families{end}", "Detectors and unseen families", words, rows, table)


def _counted(rows: pd.DataFrame, column: str) -> str:
    """Successful and attacked images by attack or family, such as "FGSM 63 of 120"; behind groups that are fewer.

    Over seeds, of which no interval is given, there are no groups.
    """
    groups = rows.get("successful_groups", rows["successful"])
    most = rows[[column, "successful", "images"]].assign(groups=groups).groupby(column, sort=False).max()
    fewer = (most["groups"] < most["successful"]).any()
    rows_of = ((display_name(name), of_groups, *counts) for name, *counts, of_groups in most.itertuples())
    return "; ".join(f"{name} {f'{of:,} groups, ' if fewer else ''}{hits:,} of {n:,}" for name, of, hits, n in rows_of)


def _panels(
    rows: pd.DataFrame, index: str, columns: Mapping[str, str]
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """AUROC minus one half by panel title, the lowest over seeds, rows of `index` by family; with texts."""
    panels, texts = {}, {}
    for title, column in columns.items():
        names = (f"{column}{end}" for end in ("_low" if "seeds" in rows else "", "_low", "_high"))
        tables = (rows.pivot(index=index, columns="family", values=name) for name in names)
        order = list(dict.fromkeys(rows[index])), list(dict.fromkeys(rows["family"]))
        table, *ends = (pivoted.loc[order].rename(index=display_name, columns=display_name) for pivoted in tables)
        panels[title] = table - 0.5
        text = table.map(lambda value: "-" if pd.isna(value) else f"{value:.3f}".replace("0.", "."))
        texts[title] = with_best(text, table, *ends)
    return panels, texts


def _controls(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    """Table of what fits owe to their labels: permuted ones, and no fit, beside the true ones."""
    rows = fit_controls(frame)
    if rows.empty:
        return
    cells = rows.assign(text=[cell(rows[row : row + 1], "auroc") for row in range(len(rows))])
    table = cells.pivot(index="detector", columns="fit", values="text").fillna("-")
    table = table[[fit for fit in (TRUE_LABELS, PERMUTED_LABELS, UNFITTED_SUM) if fit in table]]
    text = (
        "AUROC of all successful attacks against clean test images, of a detector fitted to clean and attacked "
        "validation images with their true labels, with the same labels permuted among them, and, where its score may "
        "only rise with each feature, of the sum of the features without a fit. What a fit to permuted labels or the "
        "sum still detect is owed to the features and to the constraint, and not to the labels. No attack is adaptive."
    )
    words = caption(text, [run], _n(rows), f"In brackets: {SHARE_INTERVALS}. {_ONE_SEED}", rows)
    title = "What the labels of a fit are worth"
    yield ReportFigure.of_table("detection_controls", title, words, rows, table.rename(index=display_name))


def _tables(runs: Sequence[Run], frame: pd.DataFrame, text: str, end: str = "") -> Iterator[ReportFigure]:
    costs = runs[0].record.get("detector_costs", {})
    for (norm, eps), rows in widest(frame).groupby(["norm", "eps"], sort=False):
        size = f"epsilon {eps:.3g}{_in(norm)}"
        attacks = [name for name in dict.fromkeys(rows["attack"]) if name not in (*NOISES, *ADAPTIVE_ATTACKS)]
        knowing = [name for name in ADAPTIVE_ATTACKS if name in set(rows["attack"])]
        detectors = list(rows.groupby(DETECTOR, sort=False))
        table = pd.DataFrame(
            [_row(of_detector, attacks, knowing, costs) for _, of_detector in detectors],
            [display_name(str(key[0])) for key, _ in detectors],
        )
        if not rows["tuned"].any():
            table = table.drop(columns=_TUNED)
        about = (
            f"AUROC of successful attacks at {size}, from above: against the same images when clean (twins), against "
            f"all clean test images, of these twins against all, and against {_NOISE}. {THRESHOLDS} {WORST_IS}; "
            f"the adaptive one knows the detector and stops once it evades it. "
            f"Passes and milliseconds: for an image. {NOISE_CONTROL}"
        )
        counts = _counted(rows[~rows["attack"].isin(NOISES)], "attack")
        words = caption(about, runs, f"n, successful of attacked images: {counts}.", text, rows)
        name = f"detection_table{end}_eps_{eps:.3g}" + (f"_{norm}" if _in(norm) else "")
        title = f"Detectors and attacks at {size}"
        yield ReportFigure.of_table(name, title, words, rows, table)


def _in(norm: str) -> str:
    """Words for a norm other than Linf."""
    return "" if norm == "linf" else f" in {norm.upper() if norm in ORDERS else norm}"


def _row(
    rows: pd.DataFrame, attacks: Sequence[str], knowing: Sequence[str], costs: Mapping[str, Mapping[str, float]]
) -> dict[str, str]:
    """Table cells of a detector."""
    cost = costs.get(rows["detector"].iloc[0], {})
    heads = {name: f"{display_name(name)}\n{NOT_ADAPTIVE}" for name in attacks}
    heads |= {name: f"adaptive,\n{ADAPTIVE_ATTACKS[name]}" for name in knowing}
    passes, milliseconds = (f"{cost[name]:,.3g}" if name in cost else "-" for name in ("passes", "milliseconds"))
    return {
        "variant": rows["variant"].iloc[0],
        _TUNED: rows["tuned"].iloc[0].replace(", ", "\n") or "-",
        "passes": passes,
        "ms": milliseconds,
        "clean images\nrejected, 5%": cell(rows, "false_clean_5"),
        "noise\nrejected, 5%": cell(rows, "false_noise_5"),
        "noise against\nclean, AUROC": cell(rows[rows["attack"].isin(NOISES)], "auroc_all"),
        **{head: cell(rows[rows["attack"] == name], *_AREAS) for name, head in heads.items()},
    }


def _adaptive(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    rows = frame[frame["attack"].isin(ADAPTIVE_ATTACKS)]
    if rows.empty:
        return
    grown = convergence(read_adaptive(run.folder)).astype({"attack": str}).set_index([*DETECTOR, *CONDITION])
    rows = rows.assign(budget=rows["attack"].map(ADAPTIVE_ATTACKS) + rows["eps"].map(" {:.3g}".format))
    names = [display_name(f"{row.label}, {row.budget}") for row in rows.itertuples()]
    cells = {title: bracketed(rows, name) for name, title in MEASURES.items()}
    for name, title in GROWTH.items():
        numbers = grown[name].reindex(pd.MultiIndex.from_frame(rows[[*DETECTOR, *CONDITION]]))
        cells[title] = numbers.map("{:.3f}".format).replace("nan", "-").to_numpy()
    table = pd.DataFrame(cells, names)
    counted = sample_size(rows, "images", "attacked images")
    text = (
        f"{KNOWING} Success and undetected success: of the images that were right when clean, with the image that "
        f"fools the classifier at the lowest score; detection: of the attacks that succeed. Growth: what undetected "
        f"success gained in the second half of the steps, and in the last start: above 0 more would evade more. "
        f"{THRESHOLDS}"
    )
    words = caption(text, [run], counted, f"In brackets: {SHARE_INTERVALS}. {_ONE_SEED}", rows)
    yield ReportFigure.of_table("detection_adaptive", "Against an adaptive attacker", words, rows, table)


def _convergence(run: Run) -> Iterator[ReportFigure]:
    frame = read_adaptive(run.folder)
    if frame.empty:
        return
    data = evasion_by_steps(frame)
    labels = [detector_label(*names) for names in data[DETECTOR].to_numpy()]
    data["detector"] = [
        f"{label}, {ADAPTIVE_ATTACKS[attack]} {eps:.3g}"
        for label, attack, eps in zip(labels, data["attack"], data["eps"], strict=True)
    ]
    text = (
        f"{KNOWING} Undetected success: share of the images that were right when clean of which one of the first steps "
        "has led to an image that is misclassified and below the 5% threshold. Where a line still rises at its end, "
        f"more steps would evade more. {THRESHOLDS}"
    )
    counted = sample_size(data, "images", "images")
    words = caption(text, [run], counted, f"Whiskers: {SHARE_INTERVALS}. {_ONE_SEED}", data)
    title = "An adaptive attacker against the number of its steps"
    yield ReportFigure("detection_convergence", title, words, _convergence_curves(data), data)


@styled
def _convergence_curves(frame: pd.DataFrame) -> Figure:
    """Plot undetected success against steps, a panel per detector and epsilon, a line per direction."""
    figure, panels = curves.detector_panels(frame["detector"], "steps", "succeeds undetected, 5%")
    directions = list(dict.fromkeys(frame["direction"]))
    for axes, (_, of_detector) in zip(panels, frame.groupby("detector", sort=False), strict=False):
        for direction, rows in of_detector.groupby("direction", sort=False):
            draw_means(axes, rows["steps"], rows, directions.index(str(direction)), str(direction))
        logarithmic(axes, ticks=4)
        axes.set_ylim(0, 1.03)
        axes.grid(axis="y")
    return with_legend(figure)


def _curves(run: Run, frame: pd.DataFrame, scores: pd.DataFrame) -> Iterator[ReportFigure]:
    drawn = curves.operating_curves(scores)
    if drawn.empty:
        return
    shown = frame[frame["eps"].isin(drawn["eps"].unique()) & ~frame["attack"].isin([*NOISES, *ADAPTIVE_ATTACKS])]
    last = preferred(shown).groupby(["label", "eps"], sort=False).tail(1)  # the worst case; of one attack, that attack
    operating = curves.operating_points(last)
    text = (
        "Successful attacks against all clean images; circles and squares: at the thresholds for 1% and 5%; dotted: "
        f"chance. {WORST_IS}; it is {NOT_ADAPTIVE}. {_SHOWN} Precision depends on the share of attacked images, here "
        f"{last['prevalence'].min():.2f} to {last['prevalence'].max():.2f}. {THRESHOLDS}"
    )
    words = caption(text, [run], _n(last), f"Intervals are in the tables. {_ONE_SEED}")
    figure = curves.operating_curves_plot(drawn, operating)
    yield ReportFigure("detection_curves", "ROC and precision-recall, worst case", words, figure, drawn)


def _epsilons(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    shown = preferred(frame[~frame["attack"].isin(ADAPTIVE_ATTACKS)])
    attacks = shown[~shown["attack"].isin([*NOISES, WORST, WHOLE_FAMILY])]
    sizes = attacks.groupby("norm")["eps"].nunique()
    norms = sizes.index[sizes > 1]  # of a norm with one epsilon there is no curve
    if norms.empty:
        return
    shown, attacks = (
        rows[rows["norm"].isin(norms)].assign(label=lambda rows: rows["label"] + rows["norm"].map(_in))
        for rows in (shown, attacks)
    )
    worst = shown[(shown["attack"] == WORST) & shown["eps"].notna()]
    rows = {"attacks": attacks, "worst": worst, "noise": shown[shown["attack"].isin(NOISES)]}
    lines = []
    for line, (of, name, _) in LINES.items():
        columns = {"label": "detector", name: "mean"} | {f"{name}_{end}": end for end in ("low", "high", "reason")}
        curve = rows[of][["attack", "eps", "images", "successful", *columns]].rename(columns=columns)
        if of == "attacks":
            over = curve.groupby(["detector", "eps"], sort=False, as_index=False)["mean"]
            curve = over.agg(mean="mean", low="min", high="max")
        lines.append(curve.assign(line=line))
    data = pd.concat(lines, ignore_index=True)
    names = ", ".join(map(display_name, dict.fromkeys(attacks["attack"])))
    text = (
        f"AUROC of successful attacks. Coloured: mean over attacks ({names}), bands from the least to the largest; "
        f"solid: against all clean images; dashed: against {_NOISE}. Dotted: all noise "
        f"images against clean ones, which should be one half. {NOISE_CONTROL} {WORST_IS}. No attack is "
        f"adaptive. {_SHOWN}"
    )
    words = caption(text, [run], _n(attacks), f"Whiskers: {SHARE_INTERVALS}. {_ONE_SEED}", data)
    yield ReportFigure("detection_epsilon", "AUROC against epsilon", words, _auroc_against_epsilon(data), data)


@styled
def _auroc_against_epsilon(frame: pd.DataFrame) -> Figure:
    """Plot AUROC against epsilon, a panel per detector; bands for LINES, whiskers for others."""
    figure, panels = curves.detector_panels(frame["detector"], "epsilon (pixel units)", "AUROC")
    for axes, (_, of_detector) in zip(panels, frame.groupby("detector", sort=False), strict=False):
        axes.axhline(0.5, color=LINE, linewidth=0.9)
        for line, (of, _, look) in LINES.items():
            rows = of_detector[of_detector["line"] == line].sort_values("eps")
            if of == "attacks":
                axes.fill_between(rows["eps"], rows["low"], rows["high"], color=look["color"], alpha=0.2, linewidth=0)
                axes.plot(rows["eps"], rows["mean"], label=line, **look)
            elif len(rows):
                draw_means(axes, rows["eps"], rows, 0, line, **look)
        axes.set_ylim(max(0.0, min(0.4, frame["low"].min() - 0.02)), 1.02)
        axes.grid(axis="y")
    return with_legend(figure)


def _matrices(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    means = matrix(frame)
    unfitted = preferred(means[means["fitted_on"] == ""])
    for name, of_detector in means[means["fitted_on"] != ""].groupby("detector", sort=False):
        seen = of_detector["fitted_on"].where(~of_detector["fitted_on"].map(leaves_out), "all others")
        of_detector = of_detector.assign(fit=of_detector["variant"].map(_FITTED) + seen.map(display_name))
        rows = pd.concat([unfitted.assign(fit=unfitted["detector"]), of_detector], ignore_index=True)
        panels, texts = _panels(rows, "fit", {"against clean": "auroc", "against noise": "auroc_noise"})
        text = (
            "Rows: detectors that have seen no attack, then the family of attacks that "
            f"{display_name(str(name))} was fitted to on validation images; columns: the family of the test images; "
            f"{_BOLD}. AUROC of successful attacks at all epsilons together, against all clean "
            f"images and against {_NOISE}; intervals are in the file. "
            f"{NOISE_CONTROL} No attack is adaptive. {_SHOWN}"
        )
        words = caption(text, [run], _n(of_detector), _ONE_SEED)
        figure = heat_maps(panels, texts, "AUROC minus one half", limit=0.5)
        title = f"Fitted to and tested on: {display_name(str(name))}"
        yield ReportFigure(f"detection_matrix_{name}", title, words, figure, rows)


def _distributions(run: Run, frame: pd.DataFrame, scores: pd.DataFrame) -> Iterator[ReportFigure]:
    data = curves.distributions(scores)
    if data["eps"].isna().all():
        return
    text = (
        f"Clean images, random-sign noise and successful attacks at epsilon {data['eps'].iloc[0]:.3g}. {WORST_IS}; it "
        f"is {NOT_ADAPTIVE}. Vertical: the threshold for 5%. {_SHOWN} Dots "
        f"where there are fewer than {FEWEST_FOR_CURVE} images; the lowest and the highest 1% are not drawn."
    )
    words = caption(text, [run], f"n = {span(data['images'])} images a line.", _ONE_SEED)
    figure = curves.score_distributions(data, dict(zip(frame["label"], frame["threshold_5"], strict=True)))
    yield ReportFigure("detection_scores", "Scores of clean, noisy and attacked images", words, figure, data)


def _n(rows: pd.DataFrame) -> str:
    beaten = rows[rows["successful"] > 0]
    return sample_size(beaten, "successful", "successful attacks") if len(beaten) else "No attack succeeded."
