"""Detection of each condition against clean images and against noise, as a table of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dovision.functional.detection import (
    Flags,
    Integers,
    Scored,
    auroc,
    fewest_for_threshold,
    pooled_auroc,
    threshold,
)
from dovision.functional.estimates import of_images, share_of_images
from dovision.functional.intervals import LEVEL, Number, withheld
from dovision.results.detection_tables import (
    ADAPTIVE,
    ADAPTIVE_ATTACKS,
    ALL_ATTACKS,
    CONDITION,
    DETECTOR,
    NOISE,
    NOISE_OF,
    NOISES,
    PERMUTED_LABELS,
    TEST,
    UNFITTED_SUM,
    VAL,
    all_but,
    best_variant,
    detectors_of,
    leaves_out,
    read_scores,
    read_stated,
    widest,
)
from dovision.results.tables import CLEAN, read_table, write_frame

DETECTION = "detection.parquet"
WHOLE_FAMILY = "whole family"  # the condition of all successful attacks of a family, at all epsilons
WORST = "worst case"  # the condition of an attacker who picks, image by image, the attack that is detected least
NOT_ADAPTIVE = "not adaptive"
TRUE_LABELS = "true labels"
RATES = {"1": 0.01, "5": 0.05}  # false positive rates, and how the columns that belong to them end
TOO_FEW = "too few clean validation images for a threshold: " + ", ".join(
    f"{rate:.0%} needs {fewest_for_threshold(rate)}" for rate in RATES.values()
)
_KEY = [*DETECTOR, *CONDITION, "norm", "family"]
TWINS = ("auroc_paired", "auroc_twins")  # of attacked images against their clean twins, and of these against all clean
AGAINST = ["auroc", *TWINS, "tpr_1", "tpr_5", "auroc_noise", "auroc_all"]
AT_RATES = [f"{name}_{rate}" for name in ("false_clean", "false_noise", "evasion") for rate in RATES]
DETECTION_METRICS = ["success", *AGAINST, *AT_RATES]
HEADLINES = ["auroc", *TWINS, "auroc_noise", "tpr_1", "tpr_5", "auroc_all", "false_clean_5", "false_noise_5"]


def detection(folder: Path, names: Sequence[str] | None = None, level: float = LEVEL) -> pd.DataFrame:
    """Table of detection metrics: a row per (detector, variant, fitted_on, attack, eps, norm, family), on test images.

    attack                  as there; "whole family": all attacks of a family at all epsilons (eps is nan); "worst
                            case": the attack with the lowest score for each image, at one epsilon or (eps is nan) at
                            any, among those that succeeded if there is one; "all attacks": of detectors with controls
    tuned                   settings that the fit has chosen on validation images, as text; "" if none
    norm                    of the attacks: linf, l2, l1 or spatial; of several "linf, l2"
    family                  of the attack; "" for noise, the worst case and the adaptive attacker
    attacker                "adaptive" (knows the detector of the row) or "not adaptive"
    images, right, successful   attacked; of these right when clean; of these wrong when attacked
    groups, successful_groups   patients, or images, of all attacked and of the successful: what intervals are over
    success                 successful / right
    auroc                   of successful attacks against all clean images
    auroc_paired            of successful attacks against the same images when clean, their twins
    auroc_twins             of these twins against all clean images: what was unusual before the attack
    tpr_1, tpr_5            share of successful attacks above the threshold
    auroc_noise             of successful attacks, each against noise of the same norm and epsilon; nan where the noise
                            of a norm was not measured at an epsilon; of norms without noise against all in Linf
    auroc_all               auroc of all attacked images, also those that the attack left as they were predicted
    false_clean_1, ..., false_noise_1, ...  share of clean images, and of that noise, above the threshold
    evasion_1, evasion_5    share of images right when clean on which the attack succeeds and lies below the threshold
    threshold_1, ...        above which lie at most 1% and 5% of clean images, with a confidence of 95%, from clean
                            validation scores (`functional.detection.threshold`); nan, as all that follows from them,
                            where there are too few images
    note                    the reason why a number is missing

    Each metric has its interval of a `level` in NAME_low and NAME_high, NAME_reason says why there is none. `names`
    selects some of the detectors, all by default.

    Raises:
        ValueError: a detector has no score of clean images of val or of test.
    """
    return pd.DataFrame([row for scored in names or detectors_of(folder) for row in _rows(folder, scored, level)])


def _rows(folder: Path, scored: str, level: float) -> Iterator[dict[str, Any]]:
    """Rows of one detector's table."""
    families, norms, tuned = read_stated(folder)
    scores_of_fits = read_scores(folder, scored)
    controlled = (scores_of_fits["fitted_on"] == PERMUTED_LABELS).any()
    for key, scores in scores_of_fits.groupby(DETECTOR, observed=True, sort=False):
        limits = _limits(scores, scored)
        scores = scores.assign(norm=norms_of(scores["attack"], norms))
        test = scores[scores["split"] == TEST]
        detector, variant, fitted_on = map(str, key)
        name = dict(zip(DETECTOR, key, strict=True)) | {"tuned": tuned.get((detector, variant, fitted_on), "")}
        conditions = [] if fitted_on == PERMUTED_LABELS else [*_conditions(test, families, fitted_on)]
        attacks = test[~test["attack"].isin([CLEAN, *NOISES, *ADAPTIVE_ATTACKS])]
        if controlled and not leaves_out(fitted_on) and len(attacks):
            conditions += [_Condition(ALL_ATTACKS, np.nan, "", attacks, test[test["attack"] == CLEAN], attacks[:0])]
        for condition in conditions:
            yield name | _row(condition, limits, level)


def write_detection(folder: Path) -> None:
    """Write `detection` of a run's folder as detection.parquet there."""
    write_frame(folder / DETECTION, detection(folder))


def read_detection(folder: Path) -> pd.DataFrame:
    """detection.parquet, with names as text."""
    frame: pd.DataFrame = read_table(folder / DETECTION).to_pandas()
    return frame


def headlines(frame: pd.DataFrame) -> pd.DataFrame:
    """Select the rows and columns of `detection` that a summary reports.

    The families of attacks that a detector was not fitted to (see `unseen`). Then, of detectors that need no fit, were
    fitted to clean images or to all attacks: the worst case (each attack where there is only one), the noise control
    and the adaptive attacker.
    """
    whole = widest(frame)
    several = (whole["attack"] == WORST).any()
    chosen = whole["attack"].isin([WORST, *NOISES, *ADAPTIVE_ATTACKS])
    if not several:
        chosen |= ~whole["attack"].isin([WHOLE_FAMILY, ALL_ATTACKS])
    columns = [*_KEY, "tuned", "attacker", "images", "successful", "note"]
    ends = [f"{name}{end}" for name in HEADLINES for end in ("", "_low", "_high", "_reason")]
    return pd.concat([unseen(frame), whole[chosen]])[columns + ends].reset_index(drop=True)


def fit_controls(frame: pd.DataFrame) -> pd.DataFrame:
    """AUROC of all successful attacks, of the fits of `detection` to true labels and of what stands beside them.

    Returns:
        detector, fit ("true labels", "permuted labels" or "unfitted sum"), successful and their groups, auroc with its
        interval.
    """
    rows = frame[frame["attack"] == ALL_ATTACKS]
    widest_fit = rows["fitted_on"].eq(ALL_ATTACKS).groupby(rows["detector"], sort=False).transform("any")
    true = rows[(rows["fitted_on"] == ALL_ATTACKS) | (~widest_fit & ~rows["fitted_on"].isin(["", PERMUTED_LABELS]))]
    controls = rows[(rows["fitted_on"] == PERMUTED_LABELS) | (rows["variant"] == UNFITTED_SUM)]
    fit = controls["fitted_on"].where(controls["fitted_on"] != "", UNFITTED_SUM)
    both = pd.concat([best_variant(true).assign(fit=TRUE_LABELS), controls.assign(fit=fit)])
    ends = [f"auroc{end}" for end in ("", "_low", "_high", "_reason")]
    return both[["detector", "fit", "successful", "successful_groups", *ends]].reset_index(drop=True)


def unseen(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of `detection` for whole families that the detector was not fitted to.

    Of each detector the preferred variant: as it is, fitted to clean images, or to all families but this one. None
    where there is one family only.
    """
    rows = frame[frame["attack"] == WHOLE_FAMILY]
    if rows["family"].nunique() < 2:
        return rows[:0]
    return best_variant(rows[(rows["fitted_on"] == "") | (rows["fitted_on"] == rows["family"].map(all_but))])


def worst_case(rows: pd.DataFrame) -> pd.DataFrame:
    """The attacked row of each image that an attacker with access to scores would pick.

    Args:
        rows: of one detector, an image in several conditions: sample, attack, success (1, 0 or nan), score, whatever
            else; noise and the adaptive attacker are left out.

    Returns:
        A row a sample: of the attacks that succeed, or else of all, the one with the lowest score.
    """
    attacked = rows[~rows["attack"].isin([CLEAN, *NOISES, *ADAPTIVE_ATTACKS])]
    order = np.lexsort([attacked["score"], attacked["success"] != 1])
    return attacked.iloc[order].drop_duplicates("sample")


def _limits(scores_of_fit: pd.DataFrame, detector: str) -> Mapping[str, float]:
    clean = scores_of_fit[scores_of_fit["attack"] == CLEAN]
    for split in (VAL, TEST):
        if not clean["split"].eq(split).any():
            raise ValueError(
                f"detector {detector} must have scores of clean {split} images, got none. Thresholds come from val, "
                "numbers from test: evaluate on both."
            )
    scores = clean.loc[clean["split"] == VAL, "score"].to_numpy(float)
    return {name: threshold(scores, rate) for name, rate in RATES.items()}


def convergence(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of correctly classified images that evade, and by how much it still grows with steps and with starts.

    Args:
        frame: of adaptive.parquet.

    Returns:
        A row per detector, variant, fitted_on, attack and eps: `images`, `evaded`, the same of images `rounded` to 8
        bits, and the growth of `evaded` in the second half of the `steps` and in the last of the `starts` (nan for a
        single one).
    """
    right = frame[frame["right"]].assign(
        evaded=lambda rows: rows["first"].notna(),
        early=lambda rows: (rows["first"] <= rows["steps"] // 2).fillna(False),
        before_last=lambda rows: (rows["start"] < rows["starts"] - 1).fillna(False),
    )
    key, flags = [*DETECTOR, *CONDITION], ["evaded", "rounded", "early", "before_last"]
    images = right.groupby([*key, "sample"], sort=False, observed=True)[[*flags, "starts"]].max().astype(float)
    grouped = images.groupby(level=key, sort=False)
    rows = grouped.mean().assign(images=grouped.size())
    grown = rows["evaded"].sub(rows["before_last"]).where(rows["starts"] > 1)
    shares = rows[["images", "evaded", "rounded"]].assign(steps=rows["evaded"] - rows["early"], starts=grown)
    return shares.reset_index()


class _Condition(NamedTuple):
    """Test images of a detector in one condition, and the images they are compared with."""

    attack: str
    eps: float
    family: str
    rows: pd.DataFrame
    clean: pd.DataFrame
    noise: pd.DataFrame  # of all epsilons


def _conditions(test: pd.DataFrame, families: Mapping[str, str], fitted_on: str) -> Iterator[_Condition]:
    """Conditions of each attack and epsilon, of whole families, and of the worst cases."""
    clean, attacked = test[test["attack"] == CLEAN], test[test["attack"] != CLEAN]
    noise = attacked[attacked["attack"].isin(NOISES)]
    not_adaptive = attacked[~attacked["attack"].isin([*NOISES, *ADAPTIVE_ATTACKS])]
    for (attack, eps), rows in attacked.groupby(CONDITION, observed=True, sort=False):
        family = "" if attack in (*NOISES, *ADAPTIVE_ATTACKS) else families.get(attack, attack)
        yield _Condition(attack, eps, family, rows, clean, noise)
    family_of = not_adaptive["attack"].astype(str).map(lambda attack: families.get(attack, attack))
    for family, rows in not_adaptive.groupby(family_of, sort=False):
        yield _Condition(WHOLE_FAMILY, np.nan, str(family), rows, clean, noise)
    of_each = ((eps, rows) for (_, eps), rows in not_adaptive.groupby(["norm", "eps"], sort=False))
    for eps, rows in [*of_each, (np.nan, not_adaptive)]:
        if rows["attack"].nunique() > 1 and not leaves_out(fitted_on):
            yield _Condition(WORST, float(eps), "", worst_case(rows), clean, noise)


def _row(condition: _Condition, limits: Mapping[str, float], level: float) -> dict[str, Any]:
    rows, clean = condition.rows, condition.clean
    right, successful = int(rows["success"].notna().sum()), int((rows["success"] == 1).sum())
    row: dict[str, Any] = {"attack": condition.attack, "eps": condition.eps, "family": condition.family}
    row |= {"norm": ", ".join(rows["norm"].unique())}
    row |= {"attacker": ADAPTIVE if condition.attack in ADAPTIVE_ATTACKS else NOT_ADAPTIVE}
    row |= {"images": len(rows), "right": right, "successful": successful}
    row |= {"groups": rows["group"].nunique(), "successful_groups": rows.loc[rows["success"] == 1, "group"].nunique()}
    row |= {"note": "" if successful else "No attack succeeded, so there is none to detect."}
    metrics = _metrics(rows, clean, condition.noise, limits, level)
    for name in DETECTION_METRICS:
        row |= metrics[name].columns(name)
    return row | {f"threshold_{name}": limit for name, limit in limits.items()}


def _metrics(
    rows: pd.DataFrame, clean: pd.DataFrame, noise: pd.DataFrame, limits: Mapping[str, float], level: float = LEVEL
) -> dict[str, Number]:
    """Metrics of a condition by name; `noise` holds images with noise of any epsilon."""
    tried = rows[rows["success"].notna()]
    success, scored = tried["success"].to_numpy() == 1, scored_images(tried)
    metrics = {"success": share_of_images(success, scored.group, level)}
    by_eps = beside_noise(rows, noise)
    same = pd.concat([others for _, others in by_eps]).drop_duplicates(["sample", *CONDITION])
    for name, limit in limits.items():
        metrics[f"evasion_{name}"] = _beyond(limit, success & (scored.score <= limit), scored.group, level)
        for condition, images in (("clean", scored_images(clean)), ("noise", scored_images(same))):
            metrics[f"false_{condition}_{name}"] = _beyond(limit, images.score > limit, images.group, level)
    against = [] if rows["attack"].isin(NOISES).all() else by_eps  # noise is not held against itself
    among = rows["success"] == 1
    scored, everyone = scored_images(rows[among]), scored_images(clean)
    twins = scored_images(clean.set_index("sample").reindex(rows.loc[among, "sample"]).dropna(subset="score"))
    pairs = {"auroc": (scored, everyone), "auroc_paired": (scored, twins), "auroc_twins": (twins, everyone)}
    for name, (attacked, negative) in (pairs | {"auroc_all": (scored_images(rows), everyone)}).items():
        area = auroc(attacked, negative, level)
        metrics[name] = of_images(area, len(attacked.score), len(negative.score))
    strata = [(scored_images(attacked[among[attacked.index]]), scored_images(others)) for attacked, others in against]
    metrics["auroc_noise"] = of_images(pooled_auroc(strata, level), len(scored.score), len(same))
    for name, limit in limits.items():
        metrics[f"tpr_{name}"] = _beyond(limit, scored.score > limit, scored.group, level)
    return metrics


def norms_of(attack: pd.Series[str], norms: Mapping[str, str]) -> pd.Series[str]:
    """Norm of each row's attack, as of `Stated`; adaptive ones have it in their name."""
    of = {name: norms.get(name, ADAPTIVE_ATTACKS.get(name, "Linf").lower()) for name in attack.unique()}
    return attack.map(of).astype(str)


def beside_noise(rows: pd.DataFrame, noise: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Attacked rows by norm and epsilon, each with the noise of both; of norms without noise with all noise in Linf.

    No noise for any of them where that of a norm was not measured at an epsilon.

    Args:
        rows: with columns eps and norm (see `norms_of`).
        noise: rows of noise.
    """
    pairs = []
    for (norm, eps), attacked in rows.groupby(["norm", "eps"], sort=False, observed=True):
        of_norm = noise[noise["attack"] == NOISE_OF[norm]]
        same = of_norm[of_norm["eps"] == eps] if len(of_norm) else noise[noise["attack"] == NOISE]
        pairs.append((attacked, same))
    complete = all(len(same) for _, same in pairs)
    return pairs if complete else [(attacked, same[:0]) for attacked, same in pairs]


def _beyond(limit: float, hits: Flags, group: Integers, level: float) -> Number:
    """Share of images beyond a threshold; nan without a threshold."""
    if np.isnan(limit):
        return withheld(np.nan, len(np.unique(group)), TOO_FEW)
    return share_of_images(hits, group, level)


def scored_images(rows: pd.DataFrame, end: str = "") -> Scored:
    """Scores and groups of rows; `end` is that of the name of the score."""
    return Scored(rows[f"score{end}"].to_numpy(float), rows["group"].to_numpy())
