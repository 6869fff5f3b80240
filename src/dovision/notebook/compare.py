"""Results side by side: headline numbers, and paired differences from one of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from dovision import checks
from dovision.functional.detection import Scored, auroc_difference
from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import of_images
from dovision.functional.intervals import EFFECT_BOUNDS, LEVEL, UNBOUNDED, Number, withheld
from dovision.notebook.attack import AttackedImages
from dovision.notebook.detect import DetectedAttacks
from dovision.notebook.explain import ExplainedImages
from dovision.notebook.results import MeasuredImages, Result
from dovision.results.detection_summary import WHOLE_FAMILY
from dovision.results.detector_comparison import DIFFERENCES, detector_differences
from dovision.results.display_names import METRIC_HEADS, display_name
from dovision.results.explanation_metrics import MAP_METRICS
from dovision.results.finding import Finding, direction, finding, in_brackets
from dovision.results.map_findings import PRIMARY, at_chance
from dovision.results.map_summary import map_difference
from dovision.results.paired_difference import paired_difference
from dovision.results.sentences import BETTER, NOT_SHOWN, UNMOVED
from dovision.results.tables import CLEAN, read_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADLINES = ("accuracy", "success_rate", "robust_accuracy", "mean_abs_expected_effect")
_PAIRED = {"accuracy": "correct", "success_rate": "success", "mean_abs_expected_effect": "mean_abs_expected_effect"}
_SAME = ["sample", "condition"]
_MOST = 3  # metrics that have a sentence
_VERDICTS = {1: "higher", -1: "lower", 0: NOT_SHOWN}


class ComparedResults(Result):
    """Results compared with a reference on the same images, with paired intervals.

    Args:
        table: of `compare`.
        reference: the name of what the others are compared with.
        chance: that the classifier of the maps is at chance, in place of all sentences on them; "" where it is not.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), ["dark", "bright"])
        >>> images = torch.rand(20, 1, 8, 8)
        >>> result = {name: dv.attack(classifier, images, name, eps=0.1) for name in ("fgsm", "pgd")}
        >>> compared = dv.compare(result)
        >>> compared
        ComparedResults(reference='fgsm', rows=2)
        >>> sorted(compared.to_pandas()["result"].unique())
        ['fgsm', 'pgd']
        >>> all("FGSM" in text for text in compared.findings)
        True
    """

    def __init__(self, table: pd.DataFrame, reference: str, chance: str = "") -> None:
        self.table = table
        self.reference = reference
        self.chance = chance

    @property
    def findings(self) -> list[str]:
        """Sentences, one to three, with the largest differences, their intervals and n."""
        if self.chance:
            return [self.chance]
        counted = "attacked images" if "detector" in self.table else "maps" if "explainer" in self.table else "images"
        findings = comparison_findings(self._differences(), display_name(str(self.reference)), counted)
        return [finding.text for finding in findings]

    def to_pandas(self) -> pd.DataFrame:
        """The table, with intervals."""
        return self.table

    def plot(self) -> Figure:
        """Plot the differences with intervals, a panel per metric, and a zero line.

        Raises:
            ValueError: nothing has a difference, as where no attack succeeded.
        """
        from dovision.notebook.drawing import difference_dots

        rows = self._differences()
        if rows.empty:
            raise ValueError(f"there is no difference from {self.reference} to draw. See to_pandas().")
        return difference_dots(rows, f"difference from {display_name(str(self.reference))}")

    def _differences(self) -> pd.DataFrame:
        """Table of differences: panel, name, mean, low, high, and n (pairs of images or maps, or attacked images)."""
        table, count = self.table, "pairs"
        if "metric" in table:
            if "explainer" in table:
                name = table["explainer"].map(display_name)
            else:
                name = table["result"].astype(str)
                if table["condition"].nunique() > 1:
                    name += ", " + table["condition"].astype(str).map(display_name)
            drawn = {"difference": table["metric"].map(METRIC_HEADS)}
        else:
            table, count = (table[table["attack"] == WHOLE_FAMILY] if len(table) else table), "successful"
            others = table["reference"].replace(self.reference, "")
            columns = (table["detector"], table["fitted_on"], table["family"], others)
            name = pd.Series([_fit(*names) for names in zip(*columns, strict=True)], table.index, dtype=object)
            heads = zip(DIFFERENCES, ("AUROC against clean images", "AUROC against noise"), strict=True)
            drawn = {column: pd.Series(head, table.index) for column, head in heads}
        rows = []
        for column, panel in drawn.items():
            numbers = table.reindex(columns=[column, f"{column}_low", f"{column}_high", count])
            named = numbers.set_axis(["mean", "low", "high", "n"], axis=1)
            rows.append(pd.concat([panel.rename("panel"), name.rename("name"), named], axis=1))
        return pd.concat(rows, ignore_index=True).dropna(subset="mean")

    def _figure(self) -> Figure | None:
        return None if self._differences().empty else self.plot()

    def _title(self) -> str:
        return f"compared with {display_name(str(self.reference))}"

    def _counts(self) -> dict[str, object]:
        return {"reference": self.reference, "rows": len(self.table)}


def compare(results: MeasuredImages | Mapping[str, Any], reference: str | None = None) -> ComparedResults:
    """Compare results of one kind with a reference on the same images, paired by their number, with paired intervals.

    Args:
        results: by name, from `effects` or `attack`: two classifiers, fills, attacks, or defences; from `explain`, by
            name or a single one: its explainers; or a single one from `detect`: its detectors; or, by name, scores of
            detectors that exist already: a pair of arrays, of attacked and of clean images, the same for all; if they
            are equally many, row by row of the same image.
        reference: what the others are compared with: a name of `results`; an explainer (of several results
            "NAME: EXPLAINER"); or a detector. None: the first.

    Returns:
        A table that plots itself and states its findings. Of effects and attacks it has a row per (result, condition,
        metric): estimate, low, high, and difference from the reference over the images that both have, with
        difference_low, difference_high, difference_reason, pairs. Of maps a row per (explainer, metric): mean,
        difference and so on. Of detectors the rows of `analysis.detector_comparison.detector_differences`.

    Raises:
        ValueError: there is nothing to compare; the results are of several kinds, or of images with other labels; there
            is no such reference.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), ["dark", "bright"])
        >>> images = torch.rand(20, 1, 8, 8)
        >>> fills = {"black": dv.Constant(0.0), "mean": dv.Mean()}
        >>> result = {name: dv.effects(classifier, images, dv.PixelGrid(2, 2, fill)) for name, fill in fills.items()}
        >>> table = dv.compare(result).to_pandas()
        >>> table[["result", "metric"]].values.tolist()[-1], int(table["pairs"].iloc[-1])
        (['mean', 'mean_abs_expected_effect'], 20)
    """
    if isinstance(results, DetectedAttacks):
        names = list(results.to_pandas()["detector"].unique())
        chosen = names[0] if reference is None else checks.choice("reference", reference, names)
        return ComparedResults(detector_differences(results.folder, chosen), chosen)
    named = dict(results) if isinstance(results, Mapping) else {"": results}
    if len(named) > 1 and all(isinstance(result, (tuple, list)) for result in named.values()):
        chosen = next(iter(named)) if reference is None else checks.choice("reference", reference, named)
        return ComparedResults(_scores(named, chosen), chosen)
    for name, result in named.items():
        checks.instance(f"results[{name!r}]" if name else "results", result, MeasuredImages, "a result of effects(...)")
    if named and all(isinstance(result, ExplainedImages) for result in named.values()):
        return _maps(named, reference)
    classes = {type(result).__name__ for result in named.values()}
    if len(classes) > 1 or len(named) < 2 or "DetectedAttacks" in classes:
        got = " and ".join(sorted(classes)) or "none"
        raise ValueError(f"results must be two or more of one kind, by name, or one of detect or explain, got {got}.")
    chosen = next(iter(named)) if reference is None else checks.choice("reference", reference, named)
    return ComparedResults(_conditions(named, chosen), chosen)


def _check_labels(named: Mapping[str, MeasuredImages]) -> None:
    """Raise if a sample has two labels, of which -1 is none, or an image two numbers."""
    texts: dict[Any, tuple[str, str]] = {}
    for name, result in named.items():
        classes, clean = read_task(result.folder).classes, result.samples.query(f"condition == '{CLEAN}'")
        labels = zip(clean["sample"], clean["label"].astype(str), strict=True)
        rows = {(classes, number): f"sample {number} of label {of}" for number, of in labels if "-1" not in of}
        contents = result.run.record["contents"]
        for key, text in (rows | {of: f"an image as sample {number}" for of, number in contents.items()}).items():
            reference, expected = texts.setdefault(key, (name, text))
            if text != expected:
                got = f"{expected} in {reference!r} and {text} in {name!r}"
                raise ValueError(f"results must be of the same images in the same order, got {got}.")
    images = [result.run.record["contents"].keys() for result in named.values()]
    if all(images) and not set.intersection(*map(set, images)):
        warnings.warn("results share no image: pairs are by number. Give all of them the same images.", stacklevel=4)


def _scores(named: Mapping[str, Any], reference: str) -> pd.DataFrame:
    """Differences of AUROC between detectors, each with its scores of attacked and of clean images."""
    arrays = {
        name: [np.asarray(of.detach().cpu() if isinstance(of, torch.Tensor) else of, float) for of in pair]
        for name, pair in named.items()
    }
    shapes = [tuple(of.shape for of in pair) for pair in arrays.values()]
    finite = all(np.isfinite(of).all() for pair in arrays.values() for of in pair)
    if len({*shapes}) > 1 or [len(shape) for shape in shapes[0]] != [1, 1] or not finite:
        got = " and ".join(map(str, shapes)) if finite else "nan or infinity"
        raise ValueError(f"results must be scores of attacked and of clean images, shapes (N,) and (M,), got {got}.")
    (attacked,), (clean,) = shapes[0]
    start = 0 if attacked == clean else attacked  # row by row the same images, or others
    groups = np.arange(attacked), np.arange(start, start + clean)
    scored = {name: [(Scored(pair[0], groups[0]), Scored(pair[1], groups[1]))] for name, pair in arrays.items()}
    same = {"fitted_on": "", "attack": WHOLE_FAMILY, "family": "", "reference": reference, "successful": attacked}
    return pd.DataFrame(
        {"detector": name, **same, **auroc_difference(pair, scored[reference], LEVEL).columns("auroc")}
        for name, pair in scored.items()
        if name != reference
    )


def _conditions(named: Mapping[str, MeasuredImages], reference: str) -> pd.DataFrame:
    """Headline numbers of each result by condition, with paired differences from the reference."""
    _check_labels(named)
    compared, rows = named[reference].samples, []
    for name, result in named.items():
        samples = result.samples
        for condition, numbers in result.summary["conditions"].items():
            for metric in _HEADLINES[: 3 if isinstance(result, AttackedImages) else 4]:  # nobody asked for its effects
                if (number := numbers[metric]) is None:
                    continue
                row: dict[str, Any] = {"result": name, "condition": condition, "metric": metric}
                row |= {end: number[end] for end in ("estimate", "low", "high")} | {"images": numbers["images"]}
                if name != reference and metric in _PAIRED:
                    row |= _difference(samples[samples["condition"] == condition], compared, _PAIRED[metric])
                rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["result", "condition", "metric"])


def _difference(samples: pd.DataFrame, compared: pd.DataFrame, column: str) -> dict[str, Any]:
    """Mean paired difference of a column over a condition's common images, with its interval."""
    both = samples[[*_SAME, "group", column]].merge(compared[[*_SAME, column]], on=_SAME, suffixes=("", "_reference"))
    difference = (both[column].astype(float) - both[f"{column}_reference"].astype(float)).to_numpy()
    if not np.isfinite(difference).any():
        return {"pairs": 0}
    limits = (RESOLUTION, EFFECT_BOUNDS) if column == "mean_abs_expected_effect" else (0.0, UNBOUNDED)
    groups, numbers = both["group"].to_numpy(), both["sample"].to_numpy()
    return paired_difference(difference, groups, numbers, LEVEL, *limits).columns()


def _fit(detector: str, fitted_on: str, family: str, other: str) -> str:
    """Detector with its fit, a family of attacks, and the compared reference, if another."""
    fitted = f" fitted to {display_name(fitted_on)}" if fitted_on else ""
    minus = f" minus {display_name(other)}" if other else ""
    return f"{display_name(detector)}{fitted}{minus}" + (f": {display_name(family)}" if family else "")


def _maps(named: Mapping[str, MeasuredImages], reference: str | None) -> ComparedResults:
    """Mean of each metric per explainer, with paired differences from the reference."""
    _check_labels(named)
    frames = []
    for name, result in named.items():
        frame = result.to_pandas()
        prefix = f"{name}: " if len(named) > 1 else ""
        frames.append(frame.assign(explainer=prefix + frame["explainer"].astype(str)))
    frame = pd.concat(frames, ignore_index=True)
    names = list(frame["explainer"].unique())
    if len(names) < 2:
        raise ValueError(f"results must have two or more explainers, got {names[0]} alone.")
    compared = names[0] if reference is None else checks.choice("reference", reference, names)
    rows = []
    for name in names:
        maps = frame[frame["explainer"] == name]
        for metric in dict.fromkeys((*PRIMARY, *MAP_METRICS)):
            scored = maps.dropna(subset=metric)
            if scored.empty:  # as pointing where no box is known
                continue
            mean = of_images(withheld(scored[metric].mean(), 0, ""), scored["sample"].nunique()).value
            row: dict[str, Any] = {"explainer": name, "metric": metric, "mean": mean, "maps": len(scored)}
            rows.append(row if name == compared else row | map_difference(frame, name, compared, metric, LEVEL))
    chance = (finding.text for result in named.values() if (finding := at_chance(result.run)) is not None)
    return ComparedResults(
        pd.DataFrame(rows, columns=None if rows else ["explainer", "metric"]), compared, next(chance, "")
    )


def comparison_findings(differences: pd.DataFrame, reference: str, counted: str) -> list[Finding]:
    """Findings on the largest difference in each of the first three metrics that differ; a single one if none does.

    Args:
        differences: a row a metric (`panel`, its display name) and result (`name`): mean, low, high, and n; of the
            same images as the reference's.
        reference: display name of what the others are compared with.
        counted: what n counts, such as "images".
    """
    rows = differences.dropna(subset="mean")
    differing = rows["mean"].ne(0).groupby(rows["panel"]).transform("any")
    if len(rows) and not differing.any():
        row = rows.iloc[0].to_dict()
        return [finding(BETTER, "compared", UNMOVED, str(row["name"]), Number.of(row), reference=reference)]
    result = []
    for panel, of_metric in rows[differing].groupby("panel", sort=False):
        row = of_metric.loc[of_metric["mean"].abs().idxmax()].to_dict()
        words = {"rival": str(row["name"]), "reference": reference}
        number = Number.of(row)._replace(n=int(row["n"]))
        one = finding(BETTER, "compared", _VERDICTS[direction(row)], str(panel), number, **words)
        others = of_metric.to_dict("records")
        detail = [(str(of["name"]), f"{in_brackets(of)}, n = {int(of['n']):,} {counted}") for of in others]
        result.append(one._replace(detail=detail))
    return result[:_MOST]
