"""Cost of an attack per image, over all starts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovision.interfaces import Attack


class Queries:
    """Forward passes that an image has cost an attack, by epsilon: the mean over the images of all starts of a run."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.images = 0  # of this start
        self._before: dict[str, float] = {}
        self._images_before = 0

    @property
    def mean(self) -> dict[str, float]:
        """Passes of an image, by epsilon as text."""
        total = self.images + self._images_before
        now = {f"{eps:g}": count for eps, count in self.attack.queries.items()}
        return {
            eps: (now.get(eps, 0.0) * self.images + self._before.get(eps, 0.0) * self._images_before) / max(total, 1)
            for eps in {**self._before, **now}
        }

    def state_dict(self) -> dict[str, Any]:
        """The counts, for `load_state_dict` in a later start of the run."""
        return {"mean": self.mean, "images": self.images + self._images_before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the counts of an earlier start."""
        self._before, self._images_before = state["mean"], state["images"]
