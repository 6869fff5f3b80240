"""The share of gradients that are zero or not finite, which attacks by gradient depend on."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from dovision.attacks._gradients import dead_gradients
from dovision.interfaces import Classifier
from dovision.store.attack_tables import MASKED
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
