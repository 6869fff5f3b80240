"""Write the two pages of results and the results of README.md from the numbers recorded in docs/results/:

python docs/results_tables.py                                    write all three
python docs/results_tables.py maps NAME COMMIT RUN [RUN..]       record the scores of maps of runs, before that
python docs/results_tables.py detection NAME COMMIT RUN [RUN..]  record the scores of detectors of runs, before that
python docs/results_tables.py summary NAME COMMIT RUN [RUN..]    record the summaries of runs, before that
python docs/results_tables.py speed NAME TABLE [TABLE..]         record the tables of a benchmark, before that

The text lies in docs/results/*.md.j2. It names numbers and never holds them; a number is written as in the findings of
a run, and a sentence that claims a lead cannot be made of an interval that does not show one.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd

from dovision.functional.intervals import Number
from dovision.measurement.detector_fits import for_thresholds
from dovision.results import explanation_metrics, map_summary
from dovision.results.detection_summary import (
    WHOLE_FAMILY,
    WORST,
    convergence,
    fit_controls,
    read_detection,
)
from dovision.results.detection_tables import (
    ADAPTIVE_ATTACKS,
    ALL_ATTACKS,
    READS_FOLDER,
    VAL,
    all_but,
    best_variant,
    detectors_of,
    read_adaptive,
    read_reads,
)
from dovision.results.detector_comparison import detector_differences
from dovision.results.display_names import component_name
from dovision.results.finding import direction, interval_text, number_text
from dovision.results.image_ranges import join_ranges
from dovision.results.map_findings import RIVALS
from dovision.results.run_record import Run, read_run
from dovision.results.schemas import SUMMARY
from dovision.results.tables import CLEAN

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 150  # of a line of README
COMMAND = "python docs/results_tables.py"
ENDS = ("", "_low", "_high")
ESTIMATE = ("estimate", "low", "high")
PLACES = 6  # of a recorded number
FURTHER_RIVALS = ("hires_cam", "layer_cam", "occlusion", "rise", "lime", "random_map", "other_donors")  # of photographs
METRICS = (
    "single_deletion",
    "single_deletion_soft",
    "single_deletion_content",
    "true_effects",
    "pooled_true_effects",
    "pooled_true_effects_given_area",
    "energy",
    "pointing",
)
CONDITION_METRICS = ("accuracy", "classifier_auroc", "success_rate", "mean_abs_expected_effect")
DETECTION_METRICS = ("auroc", "auroc_paired", "auroc_twins", "auroc_noise", "tpr_1", "tpr_5", "false_clean_5")
NO_RIVALS = (*explanation_metrics.TRUTH_CONTROLS, "other_donors")  # controls, and the ceiling of content swaps
READABLE = {"beyond": "BEYOND", "odin": "ODIN", "feature_squeezing_supervised": "feature squeezing, fitted"}
VERDICTS = ("broken", "loses", "behind", "no difference", "ahead", "wins")  # how they begin, the worst first
ALL_BUT = "all but the family"
INVERTED = "max_softmax_inverted"
FITTED_ON = ("fgsm", "pgd")  # beside all but the family
USUAL = ("14 x 14", 1, 1)  # grid, images and threads of the tables of speed
BLOCK = re.compile(r"(<!-- results, made by `python docs/results_tables.py` -->\n).*?(<!-- end -->)", re.DOTALL)
Row = Mapping[str, Any] | Sequence[float] | float


def text(number: Row, form: str = ".2f") -> str:
    """A number, or one with its interval, as findings write it.

    Args:
        number: a recorded row, of which what is small has more places; or what an earlier text printed, as a number or
            as estimate, low and high.
        form: how each is written, such as "+.2f".
    """
    if isinstance(number, Mapping):
        return interval_text(Number.of({**number, "reason": None}, "estimate"), form)
    if isinstance(number, Sequence):
        estimate, low, high = (number_text(each, form) for each in number)
        return f"{estimate} [{low}, {high}]"
    return number_text(number, form)


def several(numbers: Sequence[Row], form: str = ".2f", by: str = "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}") -> str:
    """Numbers side by side, one a training; those that are recorded without their intervals."""
    return by.join(text(each["estimate"] if isinstance(each, Mapping) else each, form) for each in numbers)


def listed(numbers: Sequence[Row], form: str = "+.2f", way: int | Sequence[int] | None = None) -> str:
    """Numbers with their intervals in a sentence.

    Args:
        numbers: with intervals.
        form: how each is written.
        way: 1 or -1 where the sentence says that all lie above or below zero, 0 where that none is shown to; one a
            number where it says so of each.

    Raises:
        ValueError: an interval shows something else.
    """
    ways = [direction(_named(number)) for number in numbers]
    claimed = [way] * len(ways) if isinstance(way, int) else way
    if claimed is not None and list(claimed) != ways:
        raise ValueError(f"a sentence claims {way} of intervals on the sides {ways} of zero. Mend the sentence.")
    *first, last = [text(number, form) for number in numbers]
    return f"{', '.join(first)} and {last}" if first else last


def _named(number: Row) -> dict[str, Any]:
    numbers = [number["estimate"], number["low"], number["high"]] if isinstance(number, Mapping) else number
    return dict(zip(("mean", "low", "high"), numbers, strict=True))


class Rows:
    """Recorded rows: called with what names some of them, gives these in the order of the trainings.

    Args:
        recorded: origin, and rows, one a seed.
    """

    names: tuple[str, ...]  # columns, in the order of the arguments; the last may be left out, and is then ""

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self.kind, self.origin, self.rows = recorded["kind"], recorded["origin"], recorded["rows"]
        self.seeds = sorted({row["seed"] for row in self.rows})
        self._by_names: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in sorted(self.rows, key=lambda row: row["seed"]):
            self._by_names.setdefault(tuple(row[name] for name in self.names), []).append(row)

    def __call__(self, *words: str, **others: str) -> list[dict[str, Any]]:
        """The rows of these words.

        Raises:
            ValueError: there are none, or the words are not one a column.
        """
        key = {self.names[-1]: "", **dict(zip(self.names, words, strict=False)), **others}
        if set(key) != set(self.names) or len(words) > len(self.names):
            raise ValueError(f"a number is named by {', '.join(self.names)}, got {words} {others}. Name each once.")
        found = self._by_names.get(tuple(key[name] for name in self.names))
        if not found:
            raise ValueError(f"no number is recorded of {key}. Record it, or mend the text.")
        return found

    def has(self, *words: str) -> bool:
        """Whether a number is recorded of these words."""
        return (*words, "") in self._by_names or words in self._by_names


class Maps(Rows):
    """Scores of maps, and their differences to another map, from `map_scores`."""

    names = ("explainer", "metric", "minus")


class Detectors(Rows):
    """Scores of detectors on families of attacks, and their differences to another, from `detector_scores`."""

    names = ("detector", "fitted_on", "family", "metric", "minus")

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        """Max-softmax inverted, where it was not run, has one minus the AUROC of max-softmax."""
        rows = list(recorded["rows"])
        if not any(row["detector"] == INVERTED for row in rows):
            of = [row for row in rows if row["detector"] == "max_softmax" and not row["minus"]]
            rows += [{**row, "detector": INVERTED} for row in of if row["metric"] == "passes"]
            flipped = [row for row in of if row["metric"] in ("auroc", "auroc_noise")]
            ends = {"estimate": "estimate", "low": "high", "high": "low"}
            for row in flipped:
                numbers = {to: None if row[end] is None else 1 - row[end] for to, end in ends.items()}
                rows.append({**row, "detector": INVERTED, **numbers})
        super().__init__({**recorded, "rows": rows})

    def families(self) -> list[str]:
        """Families of attacks, in their order."""
        return list(dict.fromkeys(row["family"] for row in self.rows if row["metric"] == "success"))

    def candidates(self, family: str, metric: str, effects: bool) -> dict[tuple[str, str], list[Row]]:
        """Rows of the detectors that read effects, or of the others, by detector and what it was fitted to."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            named = row["detector"] and (row["family"], row["metric"], row["minus"]) == (family, metric, "")
            if named and row["fitted_on"] in ("", ALL_BUT, ALL_ATTACKS) and reads_effects(row["detector"]) is effects:
                found.setdefault((row["detector"], row["fitted_on"]), []).append(row)
        return found

    def duel(self, family: str, metric: str = "auroc") -> dict[str, Any]:
        """The best detector that reads effects beside the best other one on a family of attacks.

        Returns:
            family, ours, rival (detector and what it was fitted to), difference (paired, one a training; none where the
            record has none), verdict, and needed, how many times as many attacked images would show the difference of
            the training that needs most, if it stayed as large.
        """
        ours, rival = (best_other(self.candidates(family, metric, side)) for side in (True, False))  # type: ignore[type-var]
        paired = self(*ours, family, metric, rival[0]) if self.has(*ours, family, metric, rival[0]) else []
        towards_zero = [row["estimate"] - row["low" if row["estimate"] > 0 else "high"] for row in paired]
        outcome = verdict(self(*ours, family, metric), self(*rival, family, metric), paired)
        needed = max(((end / row["estimate"]) ** 2 for end, row in zip(towards_zero, paired, strict=True)), default=1)
        named = {"family": family, "ours": ours, "rival": rival}
        return {**named, "difference": paired, "verdict": outcome, "needed": needed}

    def duels(self, families: Iterable[str]) -> list[dict[str, Any]]:
        """Duels of families, the one that is lost most clearly first."""
        return sorted(map(self.duel, families), key=lambda of: sum(row["estimate"] for row in of["difference"]))


def reads_effects(detector: str) -> bool:
    """Whether a detector reads effects of interventions, by its name."""
    return detector.startswith(("effect_", "log_odds_effect"))


class Summary(Rows):
    """What a run's summary says in short of its conditions, maps and detectors, from `summary_scores`."""

    names = ("of", "metric")

    def cell(self, of: str, metric: str, form: str = ".2f") -> str:
        """Numbers with their intervals, one a training, for a cell of a table; a dash where none was measured."""
        rows = [row for row in self.rows if (row["of"], row["metric"]) == (of, metric)]
        return "; ".join(text(row, form) for row in sorted(rows, key=lambda row: row["seed"])) or "-"


class Speed:
    """Recorded rows of a benchmark: called with a network and a peer, gives a column of the row.

    Args:
        recorded: the table.json of a benchmark.
    """

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self.origin, self.rows = recorded["origin"], recorded["rows"]

    def __call__(self, network: str, peer: str = "channels_last loop", column: str = "ratio") -> float:
        return float(self._row(network, peer)[column])

    def has(self, network: str, peer: str) -> bool:
        """Whether the peer could run the network."""
        return self._row(network, peer)["ratio"] is not None

    def _row(self, network: str, peer: str) -> Mapping[str, Any]:
        (row,) = [row for row in self.usual(peer) if network_of(row) == network]
        return row

    def usual(self, peer: str) -> list[Mapping[str, Any]]:
        """The rows of a peer on one image, a grid of 14 x 14 cells, and one thread."""
        return [row for row in self.rows if row["peer"] == peer and _setting(row) == USUAL]

    def others(self, peer: str) -> dict[tuple[str, Any], Mapping[str, Any]]:
        """All other rows of a peer that could be measured, by the network and the setting."""
        found = [row for row in self.rows if row["peer"] == peer and row["ratio"] is not None]
        return {(network_of(row), _setting(row)): row for row in found if _setting(row) != USUAL}

    def largest(self, column: str) -> float:
        """The largest number of a column."""
        return max(row[column] for row in self.rows if row[column] is not None)


def network_of(row: Mapping[str, Any]) -> str:
    """The name of a row's network, without the tag of its weights."""
    return row["what"].split(",")[0].partition(".")[0]


def _setting(row: Mapping[str, Any]) -> tuple[str, int, int]:
    """The grid, the number of images and that of threads."""
    return row["what"].split(", ")[1], row["images"], row["threads"]


class Contest(NamedTuple):
    """A question of README: our numbers, one a training, against the best of all others that were measured."""

    question: str
    data: str
    ours: Sequence[Row]
    other: str  # its name
    others: Sequence[Row]
    paired: Sequence[Row]  # differences from the other, one a training; empty where the record has none
    verdict: str

    def line(self) -> str:
        """A row of a table in Markdown."""
        missing = len(self.ours) - len(self.others)
        best = f"{self.other} {_ends(self.others)}{' (in one)' * (missing > 0)}" if self.others else "-"
        return f"| {self.question} | {self.data} | {_ends(self.ours)} | {best} | {self._worst()} | {self.verdict} |"

    def _worst(self) -> str:
        """The least of the differences; of unpaired ones between the far ends of both; without a rival the largest."""
        if not self.others:
            return text(max(self.ours, key=lambda row: (row["estimate"], row["high"] - row["low"])))
        ends = {"estimate": "estimate", "low": "high", "high": "low"}
        apart = [
            {end: one[end] - two[opposite] for end, opposite in ends.items()}
            for one, two in zip(self.ours, self.others, strict=False)
        ]
        least = min(self.paired or apart, key=lambda row: row["estimate"])
        return text(least, "+.2f") + ", unpaired" * (not self.paired)


def _ends(rows: Sequence[Row]) -> str:
    """The least and the largest number of the trainings."""
    least, most = (find(row["estimate"] for row in rows) for find in (min, max))
    form = ".3f" if 0.99 < most < 1 or most < 0.05 else ".2f"
    return " to ".join(dict.fromkeys((text(least, form), text(most, form))))


def best_other(candidates: Mapping[str, Sequence[Row]]) -> str:
    """The name with the highest mean over the trainings in which it was measured."""
    return max(candidates, key=lambda name: sum(row["estimate"] for row in candidates[name]) / len(candidates[name]))


def verdict(ours: Sequence[Row], others: Sequence[Row], paired: Sequence[Row] = ()) -> str:
    """What intervals show in all trainings: paired differences where these are recorded, else whether they are apart.

    Where they do not, and all estimates lie on one side, this is said.
    """
    pairs = list(zip(ours, others, strict=False))  # of a rival that was not measured in all trainings, the first ones
    apart = [int(one["low"] > two["high"]) - int(one["high"] < two["low"]) for one, two in pairs]
    shown = {direction(_named(row)) for row in paired} if paired else set(apart)
    ahead = {one["estimate"] > two["estimate"] for one, two in pairs}
    if shown in ({1}, {-1}):
        return "wins" if 1 in shown else "loses"
    side = {(True,): "ahead, ", (False,): "behind, "}.get(tuple(ahead), "")
    return f"{side}not shown{' in every training' * (len(ours) > 1)}" if side else "no difference shown"


def maps_contest(question: str, data: str, record: Maps, ours: str, metric: str) -> Contest:
    """A map of ours against all maps that are none of painted cells, no control and no ceiling."""
    candidates: dict[str, list[Row]] = {}
    for row in (row for row in record.rows if row["metric"] == metric and not row["minus"]):
        if not row["explainer"].startswith("effect_map") and row["explainer"] not in NO_RIVALS:
            candidates.setdefault(row["explainer"], []).append(row)
    name = best_other(candidates)
    paired = record(ours, metric, name) if record.has(ours, metric, name) else []
    outcome = verdict(record(ours, metric), candidates[name], paired)
    if len(record.seeds) == 1:
        outcome = {"wins": "ahead, in one network", "loses": "behind, in one network"}.get(outcome, outcome)
    return Contest(question, data, record(ours, metric), component_name(name), candidates[name], paired, outcome)


def detectors_contest(question: str, data: str, record: Detectors, family: str, metric: str = "auroc") -> Contest:
    """The best detector that reads effects against the best other one."""
    duel = record.duel(family, metric)
    ours, others = (record(*duel[side], family, metric) for side in ("ours", "rival"))
    name = READABLE.get(duel["rival"][0], component_name(duel["rival"][0]))
    return Contest(question, data, ours, name, others, duel["difference"], duel["verdict"])


def contests(found: Mapping[str, Any]) -> list[Contest]:
    """The table of README, from the records, the worst news first."""
    digits, further, photographs = (found[name] for name in ("mnist_thousand", "mnist_families", "cifar10_thousand"))
    attacked = f"{digits.origin['images']} attacked digits"
    of_cifar = f"{photographs.origin['images']} attacked photographs of CIFAR-10"
    birds, swaps = found["funnybirds_maps"], found["photo_swaps"]
    knowing, tried = (
        found["cifar10_adaptive"]("effect_consistency_natural", ALL_ATTACKS, "adaptive", f"{metric} at 0.0313725")
        for metric in ("evasion", "images")
    )
    rows = [
        Contest(
            "An attacker who knows the detector: share of images that evade it",
            f"{tried[0]['estimate']:.0f} photographs of CIFAR-10",
            knowing,
            "",
            (),
            (),
            VERDICTS[0],
        ),
        detectors_contest(
            "Rotated and shifted images, which no fit saw: AUROC of detecting them", attacked, digits, "spatial"
        ),
        detectors_contest("Images under uneven light, which no fit saw: AUROC", attacked, further, "lighting"),
        detectors_contest(
            "The attack of each image, of eleven families, that is detected least: share found",
            attacked,
            further,
            WORST,
            "tpr_5",
        ),
        detectors_contest(
            "Square (Linf 8/255), an attack by queries, which no fit saw: AUROC", of_cifar, photographs, "square"
        ),
        detectors_contest(
            "PGD and APGD-T (Linf 8/255, L2 .5), which no fit saw: AUROC", of_cifar, photographs, "iterated"
        ),
        maps_contest(
            "Does a map name the patch whose content counts? (rank correlation with swaps of it)",
            f"{swaps.origin['images']} photographs, one network",
            swaps,
            "effect_map_fills",
            "single_deletion_content",
        ),
        maps_contest(
            "Does a map follow what counts? (rank correlation with true effects)",
            f"{birds.origin['images']} rendered birds",
            birds,
            "effect_map_combined",
            "true_effects",
        ),
    ]
    return sorted(rows, key=lambda contest: list(map(contest.verdict.startswith, VERDICTS)).index(True))


def recorded() -> dict[str, Any]:
    """What the text can name: each file of docs/results/ by its name."""
    files = {path.stem: read_record(path) for path in sorted((ROOT / "docs/results").glob("*.json"))}
    kinds = {"maps": Maps, "detection": Detectors, "summary": Summary, "speed": Speed}
    return {name: kinds[found["kind"]](found) if found["kind"] in kinds else found for name, found in files.items()}


def pages() -> dict[Path, str]:
    """Content of each page, by its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "docs/results"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found = recorded()
    records = {name: each for name, each in found.items() if isinstance(each, Rows)}
    names = {"text": text, "several": several, "listed": listed, "ALL_BUT": ALL_BUT}
    names |= {**found, "records": records, "network_of": network_of, "contests": contests(found)}
    templates = ("results", "earlier_results", "readme")
    made = {name: environment.get_template(f"{name}.md.j2").render(names) for name in templates}
    readme = (ROOT / "README.md").read_text()
    return {
        ROOT / "docs/results.md": made["results"],
        ROOT / "docs/earlier_results.md": made["earlier_results"],
        ROOT / "README.md": BLOCK.sub(lambda found: found[1] + filled(made["readme"]) + found[2], readme),
    }


def filled(blocks: str) -> str:
    """Paragraphs in Markdown, filled to the width of a line, and tables as they are."""
    width = {"width": WIDTH, "break_long_words": False, "break_on_hyphens": False}
    texts = [block.strip() for block in blocks.split("\n\n")]
    return (
        "\n\n".join(block if block[:1] == "|" else textwrap.fill(" ".join(block.split()), **width) for block in texts)
        + "\n"
    )


def of_runs(kind: str, commit: str, folders: Sequence[Path]) -> dict[str, Any]:
    """Scores of runs of several seeds, and what they are of.

    Args:
        kind: maps, detection or summary.
        commit: of the code of the runs.
        folders: of completed runs; those of one seed may have different detectors or maps, or ranges of images.

    Raises:
        ValueError: two runs of a seed have different numbers of the same.
    """
    scores, images = RECORDED[kind]
    ranges = [read_run(folder) for folder in folders]
    runs = join_ranges(ranges)
    records = [
        {**ranges[0].record, **run.record} for run in runs
    ]  # joined ones have no passes and digests of their own
    origin = {
        "commit": commit,
        "overrides": [
            [re.sub("^checkpoint=.*", "checkpoint=FILE", word) for word in of["overrides"] if "root=" not in word]
            for of in records
        ],
        "started": [of["started"][:10] for of in records],
        "minutes": [round(of["wall_seconds"] / 60) for of in records],
        "device": f"{records[0]['device']}, {records[0]['threads']} thread",
        "versions": records[0]["versions"],
        "images": images(runs[0]),
        "digests": [run.record["digests"][SUMMARY]["sha256"][:12] for run in ranges],
    }
    both = zip(runs, records, strict=True)
    rows = agreeing({"seed": record["seed"], **row} for run, record in both for row in scores(run.folder, record))
    return {"kind": kind, "origin": origin, "rows": rows}


def agreeing(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of all runs, once where two runs of a seed have the same.

    Raises:
        ValueError: they have different numbers of the same.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        names = tuple(value for name, value in row.items() if name not in ("estimate", "low", "high"))
        if found.setdefault(names, row) != row:
            raise ValueError(f"two of the runs have different numbers of {names}. Record one of each seed.")
    return list(found.values())


def map_scores(folder: Path, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a run: passes, scores, their differences from each rival, and agreement where maps agree and differ."""
    frame, parts = explanation_metrics.agreements(folder), explanation_metrics.estimates(folder)
    controls = explanation_metrics.control_estimates(folder)
    for name, passes in facts["passes_per_map"].items():
        yield {"explainer": name, "metric": "passes", "minus": "", **_interval([passes, None, None])}
    for rival in [name for name in (*RIVALS, *FURTHER_RIVALS) if (frame["explainer"] == name).any()]:
        table = map_summary.scores(frame, parts, controls, rival)
        shown = (table["cases"] == "all") & table["metric"].isin(METRICS) & table["mean"].notna()
        for row in table[shown].to_dict("records"):
            names = {"explainer": row["explainer"], "metric": row["metric"]}
            if rival == RIVALS[0]:
                yield {**names, "minus": "", **_interval([row["mean"], row["low"], row["high"]])}
            if row["explainer"] != rival:
                yield {**names, "minus": rival, **_interval(_numbers(row, "difference"))}
    for row in reliability(parts).to_dict("records"):
        names = {"explainer": row["explainer"], "metric": row["half"], "minus": ""}
        yield {**names, **_interval([row["mean"], row["low"], row["high"]])}


def reliability(objects: pd.DataFrame) -> pd.DataFrame:
    """Correlation with true effects over objects where averaged maps agree, and over the others.

    Args:
        objects: from `estimates`.

    Returns:
        A row per explainer with a spread, and half of its objects ("agree", "differ"), by the spread over a box divided
        by the size of the map there: mean (the rank correlation over the objects), low, high, reason, clusters,
        objects. Empty where no map has a spread.
    """
    rows = []
    for explainer, rated in objects[objects["spread"].notna()].groupby("explainer", sort=False):
        relative = rated["spread"] / rated["density"].abs()
        agree = relative <= relative.median()
        for half, chosen in (("agree", rated[agree]), ("differ", rated[~agree])):
            columns = map_summary.correlation_columns(chosen)
            rows.append({"explainer": explainer, "half": half, **columns, "objects": len(chosen)})
    return pd.DataFrame(rows)


def detector_scores(folder: Path, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a run: scores of detectors on whole families, fitted to nothing or to one of FITTED_ON; differences.

    Beside them how often attacks of a family succeed (of detector ""), the worst case of all attacks, also of fits to
    all of them, what an attacker who knows the detector reaches at each epsilon, controls of the fits, and each
    detector's passes and milliseconds.
    """
    frame = read_detection(folder)

    def made(detector: str, fitted_on: str, family: str, metric: str, numbers: Any, minus: str = "") -> dict[str, Any]:
        names = (detector, fitted_on, family, metric, minus)
        return {**dict(zip(Detectors.names, names, strict=True)), **_interval(numbers)}

    for name, cost in facts["detector_costs"].items():
        for metric in ("passes", "milliseconds"):
            yield made(name, "", "", metric, [cost[metric], None, None])
    families = best_variant(frame[frame["attack"] == WHOLE_FAMILY])
    for row in families.drop_duplicates("family").to_dict("records"):
        yield made("", "", row["family"], "success", _numbers(row, "success"))
    effects = {name: reads_effects(name) for name in detectors_of(folder)}
    ours, rivals = ([name for name in effects if effects[name] is side] for side in (True, False))
    of_rivals = [detector_differences(folder, rival, ours) for rival in rivals if ours]
    comparison = pd.concat(of_rivals) if of_rivals else frame[:0]
    compared = [rows for _, rows in comparison.groupby("reference", sort=False)] if len(comparison) else []
    for table, (attack, widest) in product((frame, *compared), ((WHOLE_FAMILY, ALL_BUT), (WORST, ALL_ATTACKS))):
        for row in best_variant(table[(table["attack"] == attack) & table["eps"].isna()]).to_dict("records"):
            fitted_on = ALL_BUT if row["fitted_on"] == all_but(row["family"]) else row["fitted_on"]
            for metric in DETECTION_METRICS if fitted_on in ("", widest, *FITTED_ON) else ():
                if row.get(metric, np.nan) == row.get(metric):
                    family, minus = row["family"] or WORST, row.get("reference", "")
                    yield made(row["detector"], fitted_on, family, metric, _numbers(row, metric), minus)
    if (folder / READS_FOLDER).is_dir():
        images = pd.concat([reads.images for reads in read_reads(folder, [*effects][-1])])
        clean = images[(images["attack"] == CLEAN) & (images["split"] == VAL)]
        reserved = int(for_thresholds(clean["group"]).sum())
        for metric, count in (("images to fit", len(clean) - reserved), ("images for thresholds", reserved)):
            yield made("", "", "", metric, [count, None, None])
    for row in frame[frame["attack"].isin(ADAPTIVE_ATTACKS)].to_dict("records"):
        numbers = _numbers(row, "evasion_5")
        yield made(row["detector"], row["fitted_on"], row["attack"], f"evasion at {row['eps']:g}", numbers)
    for row in convergence(read_adaptive(folder)).to_dict("records"):
        for name in ("images", "rounded", "steps", "starts"):
            metric = f"{'growth by ' * (name in ('steps', 'starts'))}{name} at {row['eps']:g}"
            yield made(row["detector"], row["fitted_on"], row["attack"], metric, [row[name], None, None])
    for row in fit_controls(frame).to_dict("records"):
        yield made(row["detector"], row["fit"], ALL_ATTACKS, "auroc", _numbers(row, "auroc"))


def summary_scores(folder: Path, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a run: numbers of each condition, scores of each map, AUROC of each detector on whole families."""
    summary = read_run(folder).summary
    for condition, numbers in summary["conditions"].items():
        for metric in CONDITION_METRICS:
            if (interval := numbers[metric]) is not None:
                yield {"of": condition, "metric": metric, **_interval([interval[end] for end in ESTIMATE])}
    for row in map_summary.whole_scores(summary).to_dict("records"):
        yield {"of": row["explainer"], "metric": row["metric"], **_interval([row["mean"], row["low"], row["high"]])}
    for row in summary.get("mask_contrasts", []):
        for metric in ("minus_moved", "minus_moved_log_odds", "minus_outside", "minus_outside_log_odds"):
            numbers = [row[f"{metric}{end}"] for end in ("", "_low", "_high")]
            yield {"of": row["mask"], "metric": metric, **_interval(numbers)}
    for row in summary.get("detection", []):
        if row["attack"] == WHOLE_FAMILY and row["auroc"] is not None:
            yield {"of": row["detector"], "metric": f"auroc {row['family']}", **_interval(_numbers(row, "auroc"))}


def attacked_images(run: Run) -> int:
    """Number of images that each attack was tried on."""
    frame = read_detection(run.folder)
    return int(frame[frame["attack"].isin(frame["family"])]["images"].max())


RECORDED = {
    "maps": (map_scores, lambda run: run.record["images"]),
    "detection": (detector_scores, attacked_images),
    "summary": (summary_scores, lambda run: run.record["images"]),
}


def _numbers(row: Mapping[str, Any], metric: str) -> list[float]:
    return [row[f"{metric}{end}"] for end in ENDS]


def _interval(numbers: Sequence[float | None]) -> dict[str, float | None]:
    known = [None if number is None or number != number else round(number, PLACES) for number in numbers]
    return dict(zip(ESTIMATE, known, strict=True))


def read_record(path: Path) -> dict[str, Any]:
    """A file of docs/results/; each of its rows by the names of the columns."""
    found: dict[str, Any] = json.loads(path.read_text())
    columns = found.pop("columns", None)
    return (
        found if columns is None else {**found, "rows": [dict(zip(columns, row, strict=True)) for row in found["rows"]]}
    )


def joined(tables: Sequence[Path]) -> dict[str, Any]:
    """Rows of tables of a benchmark, each with the code that it was measured on; of two of the same, the later one's.

    Raises:
        ValueError: a file is no such table, or they are of several machines, or of several versions of packages.
    """
    found = [json.loads(table.read_text()) for table in tables]
    for table, each in zip(tables, found, strict=True):
        if not (isinstance(each, dict) and {"origin", "rows"} <= each.keys()):
            raise ValueError(f"{table} must be the table.json of a benchmark, with 'origin' and 'rows'")
    origins = [each["origin"] for each in found]
    if len({(origin["machine"], origin["versions"]) for origin in origins}) > 1:
        raise ValueError(f"the tables have several origins: {origins}")
    rows = [{**row, "code": each["origin"]["code"]} for each in found for row in each["rows"]]
    named = {tuple(row[part] for part in ("what", "images", "threads", "peer")): row for row in rows}
    codes = " and ".join(dict.fromkeys(row["code"] for row in named.values()))
    return {"origin": {**origins[0], "code": codes}, "rows": list(named.values())}


def write_record(name: str, found: Mapping[str, Any]) -> None:
    """Write a file of docs/results/, a row a line, without the names of the columns that all rows have."""
    columns = list(found["rows"][0]) if len({tuple(row) for row in found["rows"]}) == 1 else None
    named = {} if columns is None else {"columns": columns}
    head = json.dumps({**{key: value for key, value in found.items() if key != "rows"}, **named}, indent=1)
    rows = ",\n".join(f"  {json.dumps(row if columns is None else list(row.values()))}" for row in found["rows"])
    (ROOT / "docs/results" / f"{name}.json").write_text(f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n')


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case [("maps" | "detection" | "summary") as kind, name, commit, folder, *more]:
                write_record(name, of_runs(kind, commit, list(map(Path, (folder, *more)))))
            case ["speed", name, table, *more]:
                write_record(name, {"kind": "speed", **joined(list(map(Path, (table, *more))))})
            case []:
                pass
            case other:
                sys.exit(f"{__doc__}\ngot {' '.join(other)}")
    except (OSError, ValueError) as error:
        remedy = "Give the folder of a completed run, or the table.json of a benchmark."
        sys.exit(f"nothing was recorded: {str(error).rstrip('.')}. {remedy}")
    for path, content in pages().items():
        path.write_text(content)
