"""Figures of detectors: how well they separate attacks, against what, and what an adaptive attacker leaves of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.intervals import PAIRED_INTERVALS, SHARE_INTERVALS
from dovision.functional.norms import ORDERS
from dovision.report.plots import panel_rows, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, sample_size, span
from dovision.report.style import INK, logarithmic, series, styled
from dovision.results.detection_summary import (
    DETECTION,
    NOT_ADAPTIVE,
    TRUE_LABELS,
    WHOLE_FAMILY,
    convergence,
    fit_controls,
    norms_of,
    read_detection,
    unseen,
    worst_case,
)
from dovision.results.detection_tables import (
    ADAPTIVE_ATTACKS,
    CONDITION,
    DETECTOR,
    NOISES,
    PERMUTED_LABELS,
    TEST,
    UNFITTED_SUM,
    all_but,
    best_variant,
    detector_label,
    preferred_scores,
    read_adaptive,
    read_stated,
    widest,
)
from dovision.results.detector_comparison import read_comparison
from dovision.results.display_names import display_name
from dovision.results.finding import bracketed
from dovision.results.run_record import Run
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
    "The attacker knows the detector, keeps to a budget in Linf, L2 or L1, raises the margin of a wrong class and "
    "lowers the score, by gradients; a spatial one tries rotations and shifts. An image that evades is not attacked "
    "further. What holds in one norm may fall in another."
)
WORST_IS = "In the worst case the attacker picks, image by image, the successful attack with the lowest score"
_NOISE = "noise of the same norm and epsilon (of a norm without noise, all in Linf)"
_VARIANT = "One variant of each detector: supervised before unsupervised, hardened before not."
_INTERVALS = f"In brackets: {SHARE_INTERVALS}. One seed."
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
_AREAS = ("auroc_paired", "auroc", "auroc_twins", "auroc_noise")  # of a cell, from above
_TUNED = "tuned on\nvalidation"  # a column of the tables
_AGAINST = {"clean": "auroc", "noise": "auroc_noise"}
_EPSILONS = 3  # that are drawn side by side


class Detectors(FigureComponent):
    """Tables of a run's detectors, and their ROC curves."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if not (run.folder / DETECTION).is_file():
            return
        frame = read_detection(run.folder)
        frame["label"] = [detector_label(*names) for names in frame[DETECTOR].to_numpy()]
        yield from _families(run, frame)
        yield from _comparison(run)
        yield from _tables(run, frame)
        yield from _adaptive(run, frame)
        yield from _curves(run)
        yield from _controls(run, frame)


def _families(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    rows = unseen(frame)
    rows = rows[rows["successful"] > 0]
    if rows.empty:
        return
    about = (
        "AUROC of successful attacks of a family, at all epsilons together, against the same images when clean "
        "(twins) and against all clean images, of which the twins differ before the attack by the number in "
        "parentheses. A supervised detector was fitted to all "
        "families but the one of the column. Against noise: "
        f"{_NOISE} as of each attacked image. {NOISE_CONTROL} No attack is adaptive. {THRESHOLDS}"
    )
    words = caption(about, [run], f"n, successful of attacked images: {_counted(rows, 'family')}.", _INTERVALS, rows)
    table = _by_family(rows, FAMILY_METRICS)
    yield ReportFigure.of_table("detection_families", "Detectors and unseen families", words, rows, table)


def _comparison(run: Run) -> Iterator[ReportFigure]:
    """Table of AUROC differences from the reference, by family, with paired intervals; none without one."""
    rows = read_comparison(run.folder)
    if rows.empty:  # no attack has succeeded
        return
    rows = rows[rows["attack"] == WHOLE_FAMILY]
    if rows["family"].nunique() > 1:  # whole families that the detector has not seen; of a single one the widest fit
        rows = rows[(rows["fitted_on"] == "") | (rows["fitted_on"] == rows["family"].map(all_but))]
    rows = best_variant(rows).assign(label=lambda frame: frame["detector"])
    if rows.empty:
        return
    apart = (rows["fitted_on"] != "") & (rows["reference_fitted_on"] == "")
    others = ", ".join(map(display_name, dict.fromkeys(rows.loc[apart, "detector"])))
    reference = " or ".join(map(display_name, dict.fromkeys(rows["reference"])))
    text = (
        f"AUROC of each detector minus that of {reference} on the same images, of successful attacks of a family at "
        "all epsilons together, against clean images and against noise; above 0: ahead. Of detectors fitted to attacks "
        "the reference is its form fitted to the same attacks, where the run has it"
        f"{f'; fitted against unfitted: {others}' if others else ''}. A "
        f"supervised detector was fitted to all other families. No attack is adaptive."
    )
    counted = sample_size(rows, "successful", "successful attacks")
    words = caption(text, [run], counted, f"In brackets: {PAIRED_INTERVALS}. One seed.", rows)
    title, table = f"Detectors against {reference}", _by_family(rows, _AGAINST)
    yield ReportFigure.of_table("detection_comparison", title, words, rows, table)


def _by_family(rows: pd.DataFrame, metrics: Mapping[str, str]) -> pd.DataFrame:
    """Table of detectors by family; each cell lists its metrics, by the word before each number, with intervals."""
    cells = {
        key: "\n".join(f"{head} {_cell(of_cell, name)}" for head, name in metrics.items())
        for key, of_cell in rows.groupby(["label", "family"], sort=False)
    }
    labels, families = (list(dict.fromkeys(rows[name])) for name in ("label", "family"))
    table = pd.Series(cells).unstack(fill_value="-").loc[labels, families]
    return table.rename(index=display_name, columns=display_name).rename_axis("detector")


def _cell(rows: pd.DataFrame, *columns: str) -> str:
    """Format the first row's numbers with intervals, one per line."""
    return "\n".join(bracketed(rows[:1], name)[0] for name in columns if len(rows)).replace("0.", ".") or "-"


def _counted(rows: pd.DataFrame, column: str) -> str:
    """Successful and attacked images by attack or family, such as "FGSM 63 of 120"; behind groups that are fewer."""
    most = rows.groupby(column, sort=False)[["successful", "images", "successful_groups"]].max()
    fewer = (most["successful_groups"] < most["successful"]).any()
    return "; ".join(
        f"{display_name(name)} {f'{groups:,} groups, ' if fewer else ''}{hits:,} of {images:,}"
        for name, hits, images, groups in most.itertuples()
    )


def _controls(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    """Table of what fits owe to their labels: permuted ones, and no fit, beside the true ones."""
    rows = fit_controls(frame)
    if rows.empty:
        return
    cells = rows.assign(text=[_cell(rows[row : row + 1], "auroc") for row in range(len(rows))])
    table = cells.pivot(index="detector", columns="fit", values="text").fillna("-")
    table = table[[fit for fit in (TRUE_LABELS, PERMUTED_LABELS, UNFITTED_SUM) if fit in table]]
    text = (
        "AUROC of all successful attacks against clean test images, of a detector fitted to clean and attacked "
        "validation images with their true labels, with the same labels permuted among them, and, where its score may "
        "only rise with each feature, of the sum of the features without a fit. What a fit to permuted labels or the "
        "sum still detect is owed to the features and to the constraint, and not to the labels. No attack is adaptive."
    )
    beaten = rows[rows["successful"] > 0]
    counted = sample_size(beaten, "successful", "successful attacks") if len(beaten) else "No attack succeeded."
    words = caption(text, [run], counted, _INTERVALS, rows)
    title = "What the labels of a fit are worth"
    yield ReportFigure.of_table("detection_controls", title, words, rows, table.rename(index=display_name))


def _tables(run: Run, frame: pd.DataFrame) -> Iterator[ReportFigure]:
    costs = run.record.get("detector_costs", {})
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
        words = caption(about, [run], f"n, successful of attacked images: {counts}.", _INTERVALS, rows)
        name = f"detection_table_eps_{eps:.3g}" + (f"_{norm}" if _in(norm) else "")
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
        "clean images\nrejected, 5%": _cell(rows, "false_clean_5"),
        "noise\nrejected, 5%": _cell(rows, "false_noise_5"),
        "noise against\nclean, AUROC": _cell(rows[rows["attack"].isin(NOISES)], "auroc_all"),
        **{head: _cell(rows[rows["attack"] == name], *_AREAS) for name, head in heads.items()},
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
    words = caption(text, [run], counted, _INTERVALS, rows)
    yield ReportFigure.of_table("detection_adaptive", "Against an adaptive attacker", words, rows, table)


def _curves(run: Run) -> Iterator[ReportFigure]:
    """Figure of ROC curves against the worst case, in the norm of the first attack."""
    scores = preferred_scores(run.folder)
    norms = norms_of(scores["attack"], read_stated(run.folder).norms)
    test = scores[
        (scores["split"] == TEST) & ((norms == norms[scores["eps"] > 0].iloc[0]) | (scores["attack"] == CLEAN))
    ]
    curves = roc_curves(test)
    if curves.empty:
        return
    text = (
        f"Successful attacks against all clean images; dotted: chance. {WORST_IS}; it is {NOT_ADAPTIVE}. {_VARIANT} "
        "Intervals are in the tables. One seed."
    )
    words = caption(text, [run], f"n = {span(curves['successful'])} successful attacks.")
    yield ReportFigure("detection_curves", "ROC, worst case", words, _roc_plot(curves), curves)


def roc_curves(test: pd.DataFrame) -> pd.DataFrame:
    """ROC curves of detectors: successful attacks of the worst case against clean images, at up to three epsilons.

    Args:
        test: rows of test images from `preferred_scores`.

    Returns:
        detector, eps, successful (attacks), threshold, false (share of clean images at or above it), found (the same
        of attacks).
    """
    from sklearn.metrics import roc_curve

    sizes = np.sort(test.loc[test["eps"] > 0, "eps"].unique())
    drawn = sizes[np.unique(np.linspace(0, len(sizes) - 1, min(_EPSILONS, len(sizes))).round().astype(int))]
    curves = []
    for key, of_detector in test.groupby(DETECTOR, sort=False):
        clean = of_detector.loc[of_detector["attack"] == CLEAN, "score"]
        for eps in drawn:
            attacked = worst_case(of_detector[of_detector["eps"] == eps]).query("success == 1")["score"]
            if len(attacked):
                is_attack = np.repeat([0, 1], [len(clean), len(attacked)])
                false_rate, true_rate, threshold = roc_curve(is_attack, np.concatenate([clean, attacked]))
                columns = {"threshold": threshold, "false": false_rate, "found": true_rate}
                curves.append(
                    pd.DataFrame({"detector": detector_label(*key), "eps": eps, "successful": len(attacked)} | columns)[
                        1:
                    ]
                )
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


@styled
def _roc_plot(curves: pd.DataFrame) -> Figure:
    """Plot a panel per epsilon, a line per detector."""
    detectors, lowest = (
        list(dict.fromkeys(curves["detector"])),
        max(curves.loc[curves["false"] > 0, "false"].min(), 1e-4),
    )
    titles = [f"epsilon {eps:.3g}" for eps in dict.fromkeys(curves["eps"])]
    figure, panels = panel_rows(titles, ("clean images rejected", "attacked images found"), (2.0, 2.2), sharey=True)
    for axes, (_, of_eps) in zip(panels, curves.groupby("eps"), strict=True):
        axes.plot(chance := np.geomspace(lowest, 1), chance, color=INK, linewidth=0.9, linestyle=":")
        for name, rows in of_eps.groupby("detector", sort=False):
            look = series(detectors.index(name)) | {"drawstyle": "steps-post", "label": display_name(str(name))}
            axes.plot(rows["false"].clip(lower=lowest), rows["found"], **look)
        logarithmic(axes)
        axes.set(xlim=(lowest, 1), ylim=(0, 1.03))
        axes.grid()
    return with_legend(figure)
