"""Effects of units beyond those of others: interactions of sets of units, and effects beyond frames."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import without_few
from dovision.functional.intervals import LEVEL, bounded_means, means
from dovision.results.average_effect import group_sums
from dovision.results.effect_sums import CELL, read_cells
from dovision.types import FRAME, MATCHED_CONTROL, SET_JOIN

_BEYOND = [f"beyond{scale}{end}" for scale in ("", "_log_odds") for end in ("", "_low", "_high", "_reason", "_p")]
EFFECTS_BEYOND = [*CELL, "effect", "effect_of_others", *_BEYOND, "clusters", "images"]


def effects_beyond(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Effect of a unit minus the sum of those of others, paired by group.

    Of a set of units the others are its members, and the difference is their interaction, e(u, v) - e(u) - e(v); a set
    is a unit that is named after others of the run, such as c1+c4, and its matched controls have none. Of a unit whose
    frame was painted alone the other is the frame: what it has as well is an effect of the edge that painting draws.

    Returns:
        Columns condition, unit, class; effect and effect_of_others (means on the probability); beyond, the mean of the
        difference, and beyond_log_odds, each with _low, _high, _reason, _p; clusters, images. No rows where the run has
        neither sets of units nor frames.
    """
    cells = read_cells(folder)
    framed = [(unit, [f"{unit}{FRAME}"]) for unit in cells.unit]
    sets = [(unit, unit.split(SET_JOIN)) for unit in cells.unit if SET_JOIN in unit and MATCHED_CONTROL not in unit]
    others_of = {unit: others for unit, others in chain(framed, sets) if {*others} <= {*cells.unit}}
    if not others_of:
        return pd.DataFrame(columns=EFFECTS_BEYOND)
    names = [*dict.fromkeys(chain(others_of, *others_of.values()))]
    sums = group_sums(folder, cells._replace(unit=tuple(names)).row_index())
    by_unit = np.moveaxis(sums.reshape(*sums.shape[:2], cells.shape[0], len(names), cells.shape[2]), 3, 0)
    by_unit = by_unit.reshape(*by_unit.shape[:3], -1)  # (N, 3, G, C), by condition and class
    frames = []
    for unit, others in others_of.items():
        of_units = by_unit[[names.index(name) for name in (unit, *others)]]
        of_units = of_units * (of_units[:, 2] == of_units[0, 2]).all(axis=0)  # groups of the same images
        counts, of_others = of_units[0, 2], of_units[1:].sum(axis=0)
        beyond, bound = of_units[0] - of_others, float(len(others))
        frame = cells._replace(unit=(unit,)).row_index().to_frame(index=False)
        frame = frame.assign(
            effect=means(of_units[0, 0], counts).value,
            effect_of_others=means(of_others[0], counts).value,
            **bounded_means(beyond[0], counts, (-bound, bound), RESOLUTION, level).columns("beyond"),
            **means(beyond[1], counts, level=level).columns("beyond_log_odds"),
            clusters=(counts > 0).sum(axis=0),
            images=counts.sum(axis=0).astype(np.int64),
        )
        frames.append(frame[frame["images"] > 0])
    return without_few(pd.concat(frames, ignore_index=True)[EFFECTS_BEYOND])
