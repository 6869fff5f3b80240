"""Coverage of the printed intervals of nominal .95: of recorded effects, scores of detectors and scores of maps, and of
simulated shares and areas.

    python checks/interval_coverage.py --quick

A row per kind of number and per count of clusters: how many of the printed intervals hold the truth (what a reader
relies on), the median width of those of effects, and the share of samples for which an interval is withheld. Effects
and scores are drawn from `populations/`, where it is said how they are made. Exit code 1 if printed intervals cover
less than .93 somewhere, beyond twice the simulation's own error. More than .975 is marked "wide": such
intervals hold, and show less than they could.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import special, stats

from dovision.functional.detection import Scored, auroc, auroc_difference, threshold
from dovision.functional.intervals import (
    EFFECT_BOUNDS,
    Number,
    balanced_interval,
    bounded_means,
    mean_interval,
    means,
    share_interval,
    share_of,
    spread,
    withheld,
)
from dovision.results.tables import CLEAN, EFFECTS, read_samples, read_table, read_task

Array = npt.NDArray[np.float64]

POPULATIONS = Path(__file__).parent / "populations"
SCORES = POPULATIONS / "scores" / "mnist.npz"
IMAGES = (5, 10, 20, 50, 100, 200)  # drawn of a population
CLUSTERS = (3, 5, 8, 12, 20, 48, 100)
ATTACKED = (20, 60, 250)  # images drawn of recorded scores, with four times as many clean ones, and for a threshold
LEAST, MOST = 0.93, 0.975
FEW = 50  # of fewer printed intervals no coverage is given


class Coverage(NamedTuple):
    """Of `samples` simulated: how many intervals were printed, and how many of these hold the truth."""

    what: str
    clusters: int
    samples: int
    printed: int
    held: int
    width: float = np.nan  # the median of the printed ones

    @property
    def covered(self) -> float:
        """The share of the printed intervals that hold."""
        return self.held / self.printed if self.printed else np.nan

    @property
    def too_low(self) -> bool:
        """Whether the printed intervals cover less than LEAST, by more than two standard errors of the simulation."""
        error = np.sqrt(LEAST * (1 - LEAST) / max(self.printed, 1))
        return self.printed >= FEW and self.covered < LEAST - 2 * error

    @property
    def wide(self) -> bool:
        """Whether the printed intervals cover more than MOST, by more than two standard errors of the simulation."""
        error = np.sqrt(MOST * (1 - MOST) / max(self.printed, 1))
        return self.printed >= FEW and self.covered > MOST + 2 * error


SPREADS = ("effect on P(predicted class)", "log-odds of the predicted class")
ENDS = ("share on the median's side", "median")
SCORED = (
    "AUROC",
    "AUROC against twins",
    "AUROC, worst case",
    "difference of AUROC",
    "difference of AUROC against twins",
    "difference of AUROC, worst case",
    "TPR at 5%",
    "TPR at 5%, worst case",
    "difference of TPR at 5%",
    "difference of TPR at 5%, worst case",
    "false alarms of a threshold at 5%",
)
SHARES = (0.5, 0.9, 0.98)
BALANCED = ((0.5, 0.9), (0.9, 0.98), (0.9,) * 10)
AREAS = (0.5, 0.75, 0.9, 0.98)
DIFFERENCES = ((0.8, 0.7), (0.9, 0.9), (0.98, 0.95), (0.995, 0.99))


class Population(NamedTuple):
    """Effects of some units on all images of a population, in log-odds.

    control  log-odds of each class, shape (N, K)
    change   effects of each unit on them, shape (N, U, K)
    """

    control: Array
    change: Array

    def quantities(self) -> dict[str, Array]:
        """What is averaged over images, by name; each of shape (N, C), which have an average each."""
        before = special.expit(self.control)[:, np.newaxis]
        effect = special.expit(self.control[:, np.newaxis] + self.change) - before
        predicted = self.control.argmax(1)[:, np.newaxis, np.newaxis]
        of_predicted, log_odds = (np.take_along_axis(each, predicted, 2)[..., 0] for each in (effect, self.change))
        sizes = np.abs(of_predicted)
        return {
            "effect on P(predicted class)": of_predicted,
            "effect on P(class), every class": effect.reshape(len(effect), -1),
            "expected effect": (effect * before).sum(-1),
            "difference of two sizes": sizes[:, :-1] - sizes[:, 1:],
            "P(predicted class) falls by .1": (of_predicted < -0.1).astype(float),
            "log-odds of the predicted class": log_odds,
            "effect minus another, log-odds": log_odds[:, :-1] - log_odds[:, 1:],
            "effect minus twice another, log-odds": log_odds[:, :-1] - 2 * log_odds[:, 1:],
            "interaction of effects, log-odds": log_odds[:, 2:] - log_odds[:, 1:-1] - log_odds[:, :-2],
            "interaction of effects on P": of_predicted[:, 2:] - of_predicted[:, 1:-1] - of_predicted[:, :-2],
            "log-odds of a class, every class": self.change.reshape(len(effect), -1),
        }


class Scores(NamedTuple):
    """Scores of D detectors of the same test images, of which the first M were attacked in A ways.

    validation  of clean images for thresholds, shape (D, V)
    clean       of clean test images, shape (D, N)
    attacked    nan where the attack did not succeed, shape (D, A, M)
    """

    validation: Array
    clean: Array
    attacked: Array

    def in_condition(self, detector: int, attack: int) -> Array:
        """Scores of one attack, or, after the last, of the attack that is detected least, shape (M,)."""
        of_detector = self.attacked[detector]
        if attack < len(of_detector):
            return of_detector[attack]
        return np.where(np.isnan(of_detector).all(0), np.nan, np.nanmin(np.nan_to_num(of_detector, nan=np.inf), axis=0))


def recorded_scores() -> Scores:
    """The recorded scores of detectors of digits."""
    with np.load(SCORES) as file:
        return Scores(**{name: file[name].astype(np.float64) for name in Scores._fields})


def populations() -> dict[str, Population]:
    """The recorded populations, by name."""
    return {path.stem: Population(**_arrays(path)) for path in sorted(POPULATIONS.glob("*.npz"))}


def _arrays(path: Path) -> dict[str, Array]:
    with np.load(path) as file:
        return {name: file[name].astype(np.float64) for name in Population._fields}


def record(name: str, folder: Path) -> None:
    """Write a population of a run: the strongest unit, and those at 1/4, 1/2 and 3/4 of the order by strength."""
    samples, task = read_samples(folder, ["logits"]), read_task(folder)
    clean = samples[samples["condition"] == CLEAN].set_index("sample")
    control = task.log_odds(torch.tensor(np.stack(clean["logits"].tolist()))).numpy()
    rows = read_table(folder / EFFECTS, ["sample", "condition", "unit", "class", "log_odds_effect"]).to_pandas()
    rows = rows[rows["condition"] == CLEAN].astype({"unit": str, "class": str})
    wide = rows.pivot(index="sample", columns=["unit", "class"], values="log_odds_effect").reindex(clean.index)
    units = list(dict.fromkeys(rows["unit"]))
    change = wide[[(unit, label) for unit in units for label in task.classes]].to_numpy()
    change = change.reshape(len(wide), len(units), -1)
    order = np.argsort(-np.abs(change).mean(axis=(0, 2)), kind="stable")
    chosen = change[:, order[[0, len(units) // 4, len(units) // 2, 3 * len(units) // 4]]]
    np.savez_compressed(POPULATIONS / name, control=control.astype(np.float32), change=chosen.astype(np.float16))


def of_effects(
    population: Population, what: str, groups: int, samples: int, unequal: bool, seed: int
) -> tuple[int, int, float]:
    """How many intervals of averages of a population are printed, how many hold, and their median width.

    Each sample is of one of the quantity's averages, such as that of a unit and a class. Each group is an image, or, if
    unequal, 1 to 10 images of which one class is predicted. Images are drawn with repetition, so that the truth is the
    average over the population.
    """
    random = np.random.default_rng([seed, groups])
    values = population.quantities()[what]
    column = random.integers(values.shape[1], size=samples)
    images = random.integers(len(values), size=(1, groups, samples))
    counts = np.ones((groups, samples))
    if unequal:
        predicted = population.control.argmax(1)
        order, label = np.argsort(predicted, kind="stable"), predicted[images[0]]
        start, size = np.searchsorted(predicted[order], label), np.bincount(predicted)[label]
        images = order[start + (random.random((10, groups, samples)) * size).astype(int)]
        counts = random.integers(1, 11, (groups, samples)).astype(float)
    used = np.arange(len(images))[:, np.newaxis, np.newaxis] < counts
    low, high = _printed(what, (values[images, column] * used).sum(0), counts)
    truth, printed = values.mean(0)[column], ~np.isnan(low)
    held = printed & (low <= truth) & (truth <= high)
    return int(printed.sum()), int(held.sum()), float(np.median((high - low)[printed])) if printed.any() else np.nan


def of_spreads(
    population: Population, what: str, images: int, samples: int, seed: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many intervals of shares of the sign of the median are printed and hold, and how many of medians."""
    random = np.random.default_rng([seed, images])
    values, names = population.quantities()[what], np.arange(images)
    shares, medians = [], []
    for column in random.integers(values.shape[1], size=samples):
        every = values[:, column]
        found = spread(every[random.integers(len(every), size=images)], names)
        share = float((np.sign(every) == np.sign(found["median"])).mean())
        shares.append(found["share_low"] <= share <= found["share_high"])
        if np.isfinite(found["median_low"]):
            medians.append(found["median_low"] <= np.median(every) <= found["median_high"])
    return (len(shares), sum(shares)), (len(medians), sum(medians))


def _printed(what: str, totals: Array, counts: Array) -> tuple[Array, Array]:
    """The ends of the intervals that a run prints of such a quantity, shapes (C,)."""
    if "falls" in what:
        return share_of((totals > 0).sum(0), len(totals))
    bounds = (-2.0, 2.0) if what.startswith("interaction") else EFFECT_BOUNDS  # of pairs of units
    found = means(totals, counts) if "log-odds" in what else bounded_means(totals, counts, bounds)
    return found.low, found.high


def of_shares(truth: float, clusters: int, samples: int, correlation: float, seed: int) -> Iterator[Number]:
    """Intervals of shares: a row a cluster, or, where rows of a cluster are correlated, 1 to 10."""
    random = np.random.default_rng([seed, clusters])
    for _ in range(samples):
        sizes = random.integers(1, 11, clusters) if correlation else np.ones(clusters, int)
        odds = (1 - correlation) / correlation if correlation else np.inf
        own = random.beta(truth * odds, (1 - truth) * odds, clusters) if correlation else np.full(clusters, truth)
        groups = np.arange(clusters).repeat(sizes)
        yield share_interval((random.random(len(groups)) < own[groups]).astype(float), groups)


def of_areas(
    area: Callable[[Scored, Scored], Number], shift: float, clusters: int, samples: int, twins: bool, seed: int
) -> Iterator[Number]:
    """Intervals of areas, of normal scores of as many attacked as clean images: twins of them, or of other clusters."""
    random = np.random.default_rng([seed, clusters])
    names = np.arange(clusters)
    for _ in range(samples):
        shared = random.normal(size=clusters) if twins else np.zeros(clusters)
        own = np.sqrt(0.36 if twins else 1.0)
        attacked, clean = (0.8 * shared + own * random.normal(size=clusters) + move for move in (shift, 0.0))
        yield area(Scored(attacked, names), Scored(clean, names if twins else names + clusters))


def of_differences(area: float, other: float, clusters: int, samples: int, twins: bool, seed: int) -> Iterator[Number]:
    """Paired intervals of differences of AUROC of two scores of the same images, which agree in part."""
    random = np.random.default_rng([seed, clusters])
    names, shifts = np.arange(clusters), np.sqrt(2) * stats.norm.ppf([area, other])
    groups = names, names if twins else names + clusters
    for _ in range(samples):
        shared = random.normal(size=(2, clusters))
        shared[1] = shared[0] if twins else shared[1]
        own = 0.8 * shared + 0.6 * random.normal(size=(2, 2, clusters))  # of a score, attacked and clean
        pairs = [
            [(Scored(attacked + shift, groups[0]), Scored(clean, groups[1]))]
            for (attacked, clean), shift in zip(own, shifts, strict=True)
        ]
        yield auroc_difference(*pairs)


def of_balanced(rates: Sequence[float], clusters: int, samples: int, seed: int) -> Iterator[Number]:
    """Intervals of balanced accuracies: so many images of the first class, ten times as many of each other."""
    random = np.random.default_rng([seed, clusters])
    label = np.repeat(np.arange(len(rates)), [clusters] + [10 * clusters] * (len(rates) - 1))
    for _ in range(samples):
        hits = random.random(len(label)) < np.array(rates)[label]
        yield balanced_interval(hits, label, np.arange(len(label)))


def of_scores(scores: Scores, kind: str, images: int, samples: int, seed: int) -> Iterator[tuple[Number, float]]:
    """Intervals of a kind of SCORED, each with its truth, over the recorded images.

    Each sample draws two detectors, an attack, attacked images with their clean twins, and other clean images. The
    truth of a rate is that at the threshold which the sample has set, over the recorded images.
    """
    random = np.random.default_rng([seed, images])
    detectors, attacks, attacked = scores.attacked.shape
    rest = scores.clean.shape[1] - attacked
    population = np.arange(attacked), np.arange(attacked + rest)
    for _ in range(samples):
        pair = random.choice(detectors, 2, replace=False)
        attack = attacks if "worst" in kind else int(random.integers(attacks))
        rows = random.integers(attacked, size=images)
        clean = np.concatenate([rows, attacked + random.integers(rest, size=images * rest // attacked)])
        drawn = [_scored(scores, detector, attack, rows, clean, "twins" in kind) for detector in pair]
        every = [_scored(scores, detector, attack, *population, "twins" in kind) for detector in pair]
        if "AUROC" in kind:
            paired = "difference" in kind
            areas = [auroc(*each).value for each in every]
            found = auroc_difference([drawn[0]], [drawn[1]]) if paired else auroc(*drawn[0])
            yield found, areas[0] - areas[1] if paired else areas[0]
            continue
        validation = scores.validation[pair][:, random.integers(scores.validation.shape[1], size=4 * images)]
        limits = [threshold(of_detector, 0.05) for of_detector in validation]
        if np.isnan(limits).any():
            yield withheld(np.nan, images, "no threshold"), np.nan
        elif "false alarms" in kind:
            rejected = float((scores.validation[pair[0]] > limits[0]).mean())
            yield Number(rejected, 0.0, 0.05, 4 * images, "", ""), rejected
        elif "difference" in kind:
            over, truth = (
                [(attack.score > limit).astype(float) for (attack, _), limit in zip(some, limits, strict=True)]
                for some in (drawn, every)
            )
            found = mean_interval(over[0] - over[1], drawn[0][0].group, bounds=EFFECT_BOUNDS)
            yield found, float((truth[0] - truth[1]).mean())
        else:
            above, truth = (pairs[0][0].score > limits[0] for pairs in (drawn, every))
            yield share_interval(above, drawn[0][0].group), float(truth.mean())


def _scored(
    scores: Scores, detector: int, attack: int, rows: Array, clean: Array, twins: bool
) -> tuple[Scored, Scored]:
    """Successfully attacked images and clean ones, or their twins alone; each drawn image is a group of its own."""
    score, names = scores.in_condition(detector, attack)[rows], np.arange(len(clean))
    won = ~np.isnan(score)
    kept = np.flatnonzero(won) if twins else names
    return Scored(score[won], np.flatnonzero(won)), Scored(scores.clean[detector][clean[kept]], names[kept])


def counted(found: Iterator[Number], truth: float) -> tuple[int, int]:
    """How many intervals are printed, and how many hold."""
    printed = [interval for interval in found if not interval.reason]
    return len(printed), sum(interval.low <= truth <= interval.high for interval in printed)


def effect_rows(images: Sequence[int], samples: int, seed: int = 0) -> Iterator[Coverage]:
    """The coverage of the intervals of each quantity of each population, of single images and of unequal groups."""
    for name, population in populations().items():
        for what in population.quantities():
            for unequal in (False, True)[: 1 + ("falls" not in what)]:  # of a share of groups, groups are what counts
                end = "; groups of 1 to 10" if unequal else ""
                for count in images:
                    found = of_effects(population, what, count, samples, unequal, seed)
                    yield Coverage(f"{name}: {what}{end}", count, samples, *found)


def map_rows(images: Sequence[int], samples: int, seed: int = 0) -> Iterator[Coverage]:
    """The coverage of mean scores of maps on photographs, of their paired differences, and of paired rates."""
    ranks = np.load(POPULATIONS / "photo_ranks.npy").astype(np.float64)
    caught = (ranks > np.quantile(ranks, 0.9)).astype(float)
    scaled = (1 + ranks) / 2
    kinds = {
        "rank correlation of a map": (ranks, None),
        "rank correlation, difference of two maps": (ranks[:, 1:] - ranks[:, :-1], None),
        "rate of one in ten, difference of two detectors": (caught[:, 1:] - caught[:, :-1], EFFECT_BOUNDS),
        "mean of scores in [0, 1]": (scaled, (0.0, 1.0)),
    }
    for what, (values, bounds) in kinds.items():
        for count in images:
            random = np.random.default_rng([seed, count])
            column = random.integers(values.shape[1], size=samples)
            totals, ones = (
                values[random.integers(len(values), size=(count, samples)), column],
                np.ones((count, samples)),
            )
            found = means(totals, ones) if bounds is None else bounded_means(totals, ones, bounds)
            truth, printed = values.mean(0)[column], ~np.isnan(found.low)
            held, width = (
                printed & (found.low <= truth) & (truth <= found.high),
                np.median((found.high - found.low)[printed]),
            )
            yield Coverage(what, count, samples, int(printed.sum()), int(held.sum()), float(width))


def spread_rows(images: Sequence[int], samples: int, seed: int = 0) -> Iterator[Coverage]:
    """The coverage of medians of effects, and of shares of images on the side of the median."""
    for name, population in populations().items():
        for what in SPREADS:
            for count in images:
                shares, medians = of_spreads(population, what, count, samples, seed)
                for end, found in zip(ENDS, (shares, medians), strict=True):
                    yield Coverage(f"{name}: {what}, {end}", count, samples, *found)


def score_rows(images: Sequence[int], samples: int, seed: int = 0) -> Iterator[Coverage]:
    """The coverage of what is printed of detectors, on recorded scores."""
    scores = recorded_scores()
    for kind in SCORED:
        for count in images:
            held = [
                interval.low <= truth <= interval.high
                for interval, truth in of_scores(scores, kind, count, samples, seed)
                if not interval.reason
            ]
            yield Coverage(f"scores: {kind}", count, samples, len(held), sum(held))


def share_rows(clusters: Sequence[int], samples: int, seed: int = 0) -> Iterator[Coverage]:
    """The coverage of intervals of shares, of balanced accuracies, and of areas under curves."""
    for truth in SHARES:
        for correlation, end in ((0.0, ""), (0.3, "; clusters of 1 to 10, correlation .3")):
            for count in clusters:
                found = of_shares(truth, count, samples, correlation, seed)
                yield Coverage(f"share of {truth:g}{end}", count, samples, *counted(found, truth))
    for rates in BALANCED:
        for count in clusters:
            found = of_balanced(rates, count, samples, seed)
            name = f"balanced accuracy of {len(rates)} classes, {rates[0]:g} and {rates[-1]:g}"
            yield Coverage(name, count, samples, *counted(found, float(np.mean(rates))))
    for truth in AREAS:
        shift = float(np.sqrt(2) * stats.norm.ppf(truth))
        for twins, end in ((False, ""), (True, "; twins")):
            for count in clusters:
                found = of_areas(auroc, shift, count, samples, twins, seed)
                yield Coverage(f"AUROC of {truth:g}{end}", count, samples, *counted(found, truth))


def difference_rows(clusters: Sequence[int], samples: int, seed: int = 0) -> Iterator[Coverage]:
    """The coverage of paired intervals of differences of areas."""
    for area, other in DIFFERENCES:
        for twins, end in ((False, ""), (True, "; twins")):
            for count in clusters:
                found = of_differences(area, other, count, samples, twins, seed)
                name = f"AUROC of {area:g} minus {other:g}{end}"
                yield Coverage(name, count, samples, *counted(found, area - other))


def table(rows: Sequence[Coverage]) -> str:
    """Markdown: a row per kind of number, a cell per count of clusters: covered, and withheld and missed of all."""
    counts = list(dict.fromkeys(row.clusters for row in rows))
    lines = [f"| clusters | {' | '.join(map(str, counts))} |", f"| --- |{' --- |' * len(counts)}"]
    for what in dict.fromkeys(row.what for row in rows):
        cells = {row.clusters: _cell(row) for row in rows if row.what == what}
        lines.append(f"| {what} | {' | '.join(cells[count] for count in counts)} |")
    return "\n".join(lines)


def _cell(row: Coverage) -> str:
    withheld = f" ({1 - row.printed / row.samples:.0%} withheld)" if row.printed < row.samples else ""
    if row.printed < FEW:
        return f"-{withheld}"
    width = "" if np.isnan(row.width) else f", {row.width:.2g}"
    side = " too low" if row.too_low else " wide" if row.wide else ""
    return f"{row.covered:.3f}{side}{width}{withheld}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, in a minute")
    parser.add_argument("--samples", type=int, default=5_000, help="of effects; two fifths for shares and areas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", nargs=2, metavar=("NAME", "RUN"), help="make a population of a run's tables")
    options = parser.parse_args()
    if options.record:
        record(options.record[0], Path(options.record[1]))
        return 0
    samples = options.samples // 10 if options.quick else options.samples
    kinds = (
        (effect_rows, IMAGES, samples),
        (map_rows, IMAGES, samples),
        (spread_rows, IMAGES, samples),
        (score_rows, ATTACKED, 2 * samples // 5),
        *((rows, CLUSTERS, 2 * samples // 5) for rows in (share_rows, difference_rows)),
    )
    every: list[Coverage] = []
    for rows, counts, of_kind in kinds:
        print(f"Printed intervals of nominal .95 that hold, and median widths, of {of_kind:,} samples\n")
        every += (found := list(rows(counts, of_kind, options.seed)))
        print(f"{table(found)}\n")
    low = [row for row in every if row.too_low]
    wide = sum(row.wide for row in every)
    print(f"Below {LEAST} by more than chance: {len(low)} of {len(every)}; above {MOST}: {wide}.")
    return int(bool(low))


if __name__ == "__main__":
    sys.exit(main())
