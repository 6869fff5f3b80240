"""How effects are spread over images as an attack grows, attack beside attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from dovision.results.exhibit import Exhibit, settings, span
from dovision.results.figures import spread_against_epsilon
from dovision.results.reading import IRRELEVANT, Run, describe
from dovision.results.tables import read_samples

QUANTILES = {"low": 0.05, "lower": 0.25, "median": 0.5, "upper": 0.75, "high": 0.95}
MOST = 12  # panels that are drawn; the numbers have all
VALUE = "mean_abs_expected_effect"


def epsilon_exhibits(runs: Sequence[Run]) -> list[Exhibit]:
    """Quantiles of |ECE| over images against epsilon; none unless two attacks were run with all else equal."""
    alike: dict[tuple[str, ...], dict[str, Run]] = {}
    for run in runs:
        attack = describe(run.config.get("attack", {})).partition("(")[0]
        if read_samples(run.folder)["eps"].any():
            alike.setdefault(_all_else(run), {}).setdefault(attack, run)
    compared = {key: found for key, found in alike.items() if len(found) > 1}
    if not compared:
        return []
    frame = pd.DataFrame(row for key, found in compared.items() for row in _rows(_title(key, compared, found), found))
    panels = list(dict.fromkeys(frame["panel"]))
    cut = f" Drawn: the first {MOST} of {len(panels)} settings." if len(panels) > MOST else ""
    used = [run for found in compared.values() for run in found.values()]
    caption = (
        "Mean over units of the absolute expected causal effect of an image, of all images of an arm, whether the "
        "attack succeeded or not; epsilon 0: clean. Line: median over images; band: half of them; dotted: 5 % and "
        "95 %. Random-sign noise (RandomSign) is as large as the attacks and of no intent: what it changes is not "
        f"evidence of an attack. {settings(used)} n = {span(frame['images'])} images.{cut}"
    )
    title = "Distribution of |ECE| by attack and epsilon"
    figure = spread_against_epsilon(frame[frame["panel"].isin(panels[:MOST])])
    return [Exhibit("effect_spread", title, caption, figure, frame)]


def _all_else(run: Run) -> tuple[str, ...]:
    """What was asked for besides the attack."""
    return tuple(part for part in run.overrides if not part.startswith(("attack", *IRRELEVANT)))


def _title(key: tuple[str, ...], compared: dict[tuple[str, ...], dict[str, Run]], found: dict[str, Run]) -> str:
    shared = set.intersection(*map(set, compared))
    own = ", ".join(part for part in key if part not in shared)
    return own or describe(next(iter(found.values())).config.get("intervention", {})).partition("(")[0]


def _rows(panel: str, found: dict[str, Run]) -> Iterator[dict[str, Any]]:
    for attack, run in found.items():
        for eps, rows in read_samples(run.folder).dropna(subset=[VALUE]).groupby("eps"):
            quantiles = {name: float(rows[VALUE].quantile(share)) for name, share in QUANTILES.items()}
            yield {"panel": panel, "attack": attack, "eps": eps, "images": len(rows), **quantiles}
