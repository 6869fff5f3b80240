"""A map that is measured a few units at a time, and can be looked at on the way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dovision.functional.effects import evidence
from dovision.interfaces import Intervention
from dovision.view.image_effects import ImageEffects


class BackgroundMap:
    """Effects of the units of an intervention on one class of an image, as far as they are measured.

    Args:
        effects: of the image.
        intervention: whose units have places in the image.
        target: number of the class.

    Raises:
        ValueError: the image has no room for the units.
    """

    def __init__(self, effects: ImageEffects, intervention: Intervention, target: int) -> None:
        self.effects = effects
        self.intervention = intervention
        self.target = target
        self.shape = tuple(effects.batch.image.shape[1:])
        self.units = len(intervention.units(self.shape))
        intervention.region(self.shape, 0, 0)  # refuses more cells than pixels
        self.treated: dict[int, Tensor] = {}  # logits by unit
        self.problem = ""

    def measure(self) -> Iterator[None]:
        """Measure the units, a few a step; an error ends it, and is the `problem` of the map."""
        try:
            for units, treated in self.effects.map_steps(self.intervention):
                self.treated.update(zip(units, treated, strict=True))
                yield
        except ValueError as error:
            self.problem = str(error)

    def values(self, scale: str) -> list[float | None]:
        """The effect of each unit, on the scale probability or log_odds; None of those that are not measured yet."""
        task = self.effects.task
        values: list[float | None] = [None] * self.units
        control = evidence(self.effects.control.double(), task, scale)[self.target]
        for unit, treated in self.treated.items():
            values[unit] = float(evidence(treated.double(), task, scale)[self.target] - control)
        return values

    def painted(self, scale: str) -> npt.NDArray[np.float64]:
        """The same where the units lie, shape (H, W); 0 where nothing is measured yet."""
        values = [value or 0.0 for value in self.values(scale)]
        return self.intervention.on_pixels(self.shape, int(self.effects.batch.sample[0]), values)
