"""Coverage of the intervals of nominal .95 that a run prints: simulated data of a known mean, share or area.

    python checks/interval_coverage.py --quick

A row per kind of number and per count of clusters: the share of samples for which an interval is withheld, how many of
the printed intervals hold the truth (what a reader relies on), and at the end the most that are wrong among all.
Exit code 1 if printed intervals cover less than .93 somewhere, beyond twice the simulation's own error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import integrate, stats

from dovision.functional.detection import Scored, auroc, auroc_difference, average_precision
from dovision.functional.intervals import Interval, balanced_interval, means, share_interval

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

CLUSTERS = (3, 5, 8, 12, 20, 48, 100)
LEAST = 0.93
FEW = 50  # of fewer printed intervals no coverage is given


class Coverage(NamedTuple):
    """Of `samples` simulated: how many intervals were printed, and how many of these hold the truth."""

    what: str
    clusters: int
    samples: int
    printed: int
    held: int

    @property
    def covered(self) -> float:
        """The share of the printed intervals that hold."""
        return self.held / self.printed if self.printed else np.nan

    @property
    def error(self) -> float:
        """The standard error of `covered`, at a coverage of LEAST."""
        return float(np.sqrt(LEAST * (1 - LEAST) / self.printed)) if self.printed else np.nan

    @property
    def too_low(self) -> bool:
        """Whether the printed intervals cover less than LEAST, and that is no accident of the simulation."""
        return self.printed >= FEW and self.covered < LEAST - 2 * self.error


def rare(share: float, size: Draw) -> Draw:
    """A cluster's effect is 0 but for a share of them."""
    return lambda random, shape: (random.random(shape) < share) * size(random, shape)


EFFECTS: dict[str, tuple[Draw, float]] = {  # of clusters, and their mean
    "normal": (lambda random, shape: random.normal(0.3, 1, shape), 0.3),
    "uniform": (lambda random, shape: random.random(shape), 0.5),
    "Student's t, 3 degrees": (lambda random, shape: random.standard_t(3, shape), 0.0),
    "exponential": (lambda random, shape: random.exponential(1, shape), 1.0),
    "log-normal": (lambda random, shape: random.lognormal(0, 1, shape), float(np.exp(0.5))),
    "correlations (beta)": (lambda random, shape: 2 * random.beta(5, 2, shape) - 1, 10 / 7 - 1),
    "paired hits and misses": (
        lambda random, shape: random.choice([-1.0, 0, 1], shape, p=[0.15, 0.75, 0.1]),
        -0.05,
    ),
    "1 in 10 large": (rare(0.1, lambda random, shape: np.ones(shape)), 0.1),
    "1 in 10 large, normal": (rare(0.1, lambda random, shape: random.normal(1, 0.3, shape)), 0.1),
    "1 in 10 large, exponential": (rare(0.1, lambda random, shape: random.exponential(1, shape)), 0.1),
    "1 in 20 large": (rare(0.05, lambda random, shape: np.ones(shape)), 0.05),
    "3 in 10 large, exponential": (rare(0.3, lambda random, shape: random.exponential(1, shape)), 0.3),
}
UNEQUAL = ("normal", "exponential", "log-normal", "1 in 10 large", "1 in 10 large, exponential")
SHARES = (0.5, 0.9, 0.98)
BALANCED = ((0.5, 0.9), (0.9, 0.98), (0.9,) * 10)
AREAS = (0.5, 0.75, 0.9, 0.98)
DIFFERENCES = ((0.8, 0.7), (0.9, 0.9), (0.98, 0.95), (0.995, 0.99))


def of_means(draw: Draw, truth: float, clusters: int, samples: int, unequal: bool, seed: int) -> tuple[int, int]:
    """How many intervals of means are printed, and how many hold; clusters of 1 to 10 rows if unequal."""
    random = np.random.default_rng([seed, clusters])
    counts = random.integers(1, 11, (clusters, samples)).astype(float) if unequal else np.ones((clusters, samples))
    found = means(counts * draw(random, (clusters, samples)), counts)
    low, high = found.ends()
    printed = found.reason == ""
    return int(printed.sum()), int((printed & (low <= truth) & (truth <= high)).sum())


def of_shares(truth: float, clusters: int, samples: int, correlation: float, seed: int) -> Iterator[Interval]:
    """Intervals of shares: a row a cluster, or, where rows of a cluster are correlated, 1 to 10."""
    random = np.random.default_rng([seed, clusters])
    for _ in range(samples):
        sizes = random.integers(1, 11, clusters) if correlation else np.ones(clusters, int)
        odds = (1 - correlation) / correlation if correlation else np.inf
        own = random.beta(truth * odds, (1 - truth) * odds, clusters) if correlation else np.full(clusters, truth)
        groups = np.arange(clusters).repeat(sizes)
        yield share_interval((random.random(len(groups)) < own[groups]).astype(float), groups)


def of_areas(
    area: Callable[[Scored, Scored], Interval], shift: float, clusters: int, samples: int, twins: bool, seed: int
) -> Iterator[Interval]:
    """Intervals of areas, of normal scores of as many attacked as clean images: twins of them, or of other clusters."""
    random = np.random.default_rng([seed, clusters])
    names = np.arange(clusters)
    for _ in range(samples):
        shared = random.normal(size=clusters) if twins else np.zeros(clusters)
        own = np.sqrt(0.36 if twins else 1.0)
        attacked, clean = (0.8 * shared + own * random.normal(size=clusters) + move for move in (shift, 0.0))
        yield area(Scored(attacked, names), Scored(clean, names if twins else names + clusters))


def of_differences(
    area: float, other: float, clusters: int, samples: int, twins: bool, seed: int
) -> Iterator[Interval]:
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


def of_balanced(rates: Sequence[float], clusters: int, samples: int, seed: int) -> Iterator[Interval]:
    """Intervals of balanced accuracies: so many images of the first class, ten times as many of each other."""
    random = np.random.default_rng([seed, clusters])
    label = np.repeat(np.arange(len(rates)), [clusters] + [10 * clusters] * (len(rates) - 1))
    for _ in range(samples):
        hits = random.random(len(label)) < np.array(rates)[label]
        yield balanced_interval(hits, label, np.arange(len(label)))


def precision_of(shift: float) -> float:
    """The average precision of infinitely many normal scores, as many attacked as clean."""

    def density(score: float) -> float:
        right, wrong = stats.norm.sf(score, shift), stats.norm.sf(score)
        return float(stats.norm.pdf(score, shift) * right / (right + wrong))

    return float(integrate.quad(density, -10, 10 + shift)[0])


def counted(found: Iterator[Interval], truth: float) -> tuple[int, int]:
    """How many intervals are printed, and how many hold."""
    printed = [interval for interval in found if not interval.reason]
    return len(printed), sum(interval.low <= truth <= interval.high for interval in printed)


def mean_rows(clusters: Sequence[int], samples: int, seed: int = 0) -> Iterator[Coverage]:
    """The coverage of intervals of means, of each of EFFECTS."""
    for name, (draw, truth) in EFFECTS.items():
        for unequal in (False, True)[: 1 + (name in UNEQUAL)]:
            what = f"{name}; clusters of 1 to 10" if unequal else name
            for count in clusters:
                yield Coverage(what, count, samples, *of_means(draw, truth, count, samples, unequal, seed))


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
        for count in clusters:
            found = of_areas(average_precision, shift, count, samples, False, seed)
            yield Coverage(f"AUPRC at {truth:g}", count, samples, *counted(found, precision_of(shift)))


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
    return f"{row.covered:.3f}{' too low' if row.too_low else ''}{withheld}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="2,000 samples for means and 200 for shares, in a minute")
    parser.add_argument("--samples", type=int, default=20_000, help="for means; a tenth of it for shares and areas")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    samples = 2_000 if options.quick else options.samples
    rows = [*mean_rows(CLUSTERS, samples, options.seed)]
    rows += [row for kind in (share_rows, difference_rows) for row in kind(CLUSTERS, samples // 10, options.seed)]
    print(f"Printed intervals of nominal .95 that hold, of {samples:,} samples (shares and areas: {samples // 10:,})\n")
    print(table(rows))
    low = [row for row in rows if row.too_low]
    missed = max((row.printed - row.held) / row.samples for row in rows)
    print(f"\nBelow {LEAST} by more than chance: {len(low)} of {len(rows)}.")
    print(f"Wrong intervals among all samples, those without an interval included: at most {missed:.3f}.")
    return int(bool(low))


if __name__ == "__main__":
    sys.exit(main())
