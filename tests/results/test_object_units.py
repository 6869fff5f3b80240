"""Units over objects."""

from __future__ import annotations

import pandas as pd

from dovision.results.object_units import _over
from dovision.types import Box


def test_frames_controls_and_sets_are_neither_over_an_object_nor_its_control():
    """A tag in the left one of two cells, -3, and of the right one, -1; the frames do nothing."""
    left, right = Box(0, 0, 8, 4), Box(0, 4, 8, 8)
    units = {"r0c0 frame": (left, 0), "r0c0": (left, -3), "r0c0 control 1": (right, 5), "r0c1": (right, -1)}
    units |= {"r0c1 frame": (right, 0), "r0c0+r0c1": (Box(0, 0, 8, 8), -9)}
    rows = pd.DataFrame(
        [{"unit": unit, "log_odds_effect": effect, **box._asdict()} for unit, (box, effect) in units.items()]
    )
    tag = pd.DataFrame([{"sample": 0, "object": "tag", "label": None, **Box(1, 1, 3, 3)._asdict()}])
    (over,) = _over(rows.assign(sample=0, condition="clean", **{"class": "sick"}), tag, "clean").to_dict("records")
    assert (over["unit"], over["log_odds_effect"], over["elsewhere"]) == ("r0c0", -3, -1)
