"""Counts of a run's attacks: zero or broken gradients, which they depend on, and forward passes, which they take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dovision.attacks._gradients import dead_gradients
from dovision.interfaces import Attack, Classifier
from dovision.store.detection_tables import MASKED
from dovision.types import Batch

log = logging.getLogger(__name__)


class GradientHealth:
    """Share of zero and NaN gradients over the clean images of a run; above 5 % it warns once."""

    def __init__(self) -> None:
        self.dead = 0.0
        self.images = 0

    def add(self, batch: Batch, classifier: Classifier) -> None:
        """Take clean images into account."""
        self.dead += float(dead_gradients(batch, classifier).double().sum())
        self.images += len(batch.image)

    @property
    def share(self) -> float | None:
        """Mean share of an image's pixels; None where no image was looked at."""
        return self.dead / self.images if self.images else None

    def state_dict(self) -> dict[str, float]:
        """The counts, for `load_state_dict` in a later start of the run."""
        return {"dead": self.dead, "images": self.images}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from the counts of an earlier start."""
        self.dead, self.images = state["dead"], int(state["images"])

    def warn(self) -> None:
        """A line in the log where an attack by gradient may have failed for want of one."""
        if self.share is not None and self.share > MASKED:
            log.warning(
                "%.0f %% of the gradients are zero or not finite: attacks by gradient may fail, which is no sign of "
                "robustness. Try loss@attack.loss=margin, or attack=square, which needs none.",
                100 * self.share,
            )


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
