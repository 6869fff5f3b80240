"""Effects on one image in front of a classifier, one intervention after the other, from clean values that are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dovision import checks
from dovision.functional import logit_checks
from dovision.functional.effects import evidence
from dovision.interfaces import Attack, Classifier, Context, Intervention
from dovision.interventions.brush import Brush
from dovision.module_state import evaluating
from dovision.propagation import Propagation
from dovision.propagation.edits import all_pairs
from dovision.propagation.operations import FullPrecision
from dovision.types import INPUT, Batch, Shape, Task

FIRST_STEP, MOST_A_STEP = 2, 64  # units of a map in a pass, between which a brush has its turn
STEP_SECONDS = 0.06  # of a pass with as many units as will be tried
_FEW = 5  # classes that are shown of each kind


class BrushEffect(NamedTuple):
    """Logits of one image without and with an intervention, and the edited image."""

    control: Tensor  # (K,)
    treated: Tensor  # (K,)
    image: Tensor | None  # (C, H, W); None where a site inside the network is edited


class ImageEffects:
    """Effects on one image; clean values are cached per site, so an intervention costs one pass.

    The numbers are those of `effect_map` and of the commands, up to the last bits.

    Args:
        classifier: of images in [0, 1].
        batch: one image, shape (1, C, H, W), with its label, or what is predicted in its place.

    Raises:
        ValueError: the image is out of range; the classifier takes no such image, or returns no finite logits.
    """

    def __init__(self, classifier: Classifier, batch: Batch) -> None:
        checks.image_batch(batch.image)
        self.classifier = classifier
        self._values: dict[tuple[str, str | None, bool], Any] = {}  # clean values by site, kind of unit and engine
        with evaluating(classifier), torch.no_grad(), FullPrecision():
            logits = logit_checks.measurable(classifier(batch.image), "logits")
        self.control = logits[0]
        predicted = self.task.prediction(self.task.probability(logits))
        self.batch = batch._replace(label=self.task.label_or_prediction(batch.label, predicted))

    @property
    def task(self) -> Task:
        """Classes of the classifier."""
        return self.classifier.task

    @property
    def predicted(self) -> int:
        """Number of the most probable class."""
        return int(self.task.probability(self.control).argmax())

    def effect(self, intervention: Intervention) -> BrushEffect:
        """Measure an intervention with one unit; errors as of `Propagation`."""
        (treated,) = (logits for _, logits in self.map_steps(intervention, whole=True))
        edited = None
        if intervention.site == INPUT:
            context = Context(self.batch, self.classifier)
            edited = intervention.for_images(self.batch).apply(self.batch.image, 0, context)[0]
        return BrushEffect(self.control, treated[0], edited)

    def map_steps(self, intervention: Intervention, whole: bool = False) -> Iterator[tuple[list[int], Tensor]]:
        """Iterate over unit numbers and treated logits, shape (U', K), a few at a time; errors as of `Propagation`.

        Args:
            intervention: of one or many units.
            whole: run the classifier itself; otherwise the engine for many units, whose choice takes a second once.
        """
        intervention = intervention.for_images(self.batch)
        with evaluating(self.classifier), torch.no_grad():
            propagation = Propagation(self.classifier, intervention)
            engine = propagation.whole_passes(self.batch) if whole else propagation.prepare(self.batch)
            key = (intervention.site, intervention.unit, whole)
            if key not in self._values:
                self._values[key] = engine.clean(self.batch.image)
            clean = self._values[key]
            shape = tuple(clean.site.shape[1:])
            units = intervention.units(shape)
            context = propagation.context(engine, self.batch)
            streams = all_pairs(intervention, units, self.batch.sample.tolist(), shape)
        untouched = sorted(set(range(len(units))) - {int(unit) for pairs in streams for unit in pairs.unit})
        if untouched:
            yield untouched, self.control.expand(len(untouched), -1)
        at_a_time = FIRST_STEP
        for pairs in streams:
            first = 0
            while first < len(pairs):
                few = pairs.chosen(np.arange(first, min(first + at_a_time, len(pairs))))
                begun = time.perf_counter()
                with evaluating(self.classifier), torch.no_grad():
                    treated = engine.treated(clean, few, intervention, context)
                if 2 * (time.perf_counter() - begun) < STEP_SECONDS:
                    at_a_time = min(2 * at_a_time, MOST_A_STEP)
                first += len(few)
                yield few.unit.tolist(), logit_checks.measurable(treated, "logits after the intervention")

    def attacked(self, attack: Attack, check: Callable[[], None]) -> ImageEffects:
        """Attack the image at one epsilon, and return its ImageEffects; errors as of `Attack`.

        Args:
            attack: of one epsilon.
            check: called before each pass; raises an error to end the attack.
        """
        attack.check(self.classifier, tuple(self.batch.image.shape[1:]))
        hook = self.classifier.register_forward_pre_hook(lambda module, given: check())
        try:
            image = attack(self.batch, self.classifier)
        finally:
            hook.remove()
        return ImageEffects(self.classifier, self.batch._replace(image=image))


class ClassRow(NamedTuple):
    """Numbers of one class without and with an intervention."""

    number: int
    name: str
    control: float  # P(y | x)
    treated: float  # P(y | do(u), x)
    effect: float
    control_log_odds: float
    treated_log_odds: float
    log_odds_effect: float


def class_rows(task: Task, control: Tensor, treated: Tensor, shown: int | None = None) -> list[ClassRow]:
    """Rows of the predicted class, the most probable classes without and with the intervention, and `shown`.

    Args:
        task: the classes.
        control, treated: logits, shape (K,), of P(y | x) and P(y | do(u), x).
        shown: the number of a class that is always there.
    """
    logits = torch.stack([control, treated]).double()
    probability, odds = task.probability(logits), task.log_odds(logits)
    count = min(_FEW, len(task.classes))
    top = probability[0].topk(count).indices.tolist() + probability[1].topk(count).indices.tolist()[:2]
    numbers = dict.fromkeys([*top, *([] if shown is None else [shown])])
    columns = torch.stack([*probability, probability[1] - probability[0], *odds, odds[1] - odds[0]], 1).tolist()
    return [ClassRow(number, task.classes[number], *columns[number]) for number in numbers]


class BackgroundEffects:
    """Effects of an intervention's units on one image, measured step by step.

    Args:
        effects: of the image.
        intervention: such as a grid, whose units have places in the image.

    Raises:
        ValueError: the image has no room for the units.
    """

    def __init__(self, effects: ImageEffects, intervention: Intervention) -> None:
        self.effects = effects
        self.intervention = intervention
        self.shape: Shape = tuple(effects.batch.image.shape[1:])
        self.treated: dict[int, Tensor] = {}  # logits by unit
        self.done = False
        self.problem = ""
        if intervention.site == INPUT:
            intervention.region(self.shape, 0, 0)  # refuses more cells than pixels

    def measure(self) -> Iterator[None]:
        """Measure a few units per step; an error ends it, and is stored in `problem`."""
        try:
            whole = isinstance(self.intervention, Brush)  # another stroke would choose another engine
            for units, treated in self.effects.map_steps(self.intervention, whole):
                self.treated.update(zip(units, treated, strict=True))
                yield
        except ValueError as error:
            self.problem = str(error)
        self.done = True

    def by_class(self, scale: str) -> Tensor:
        """Effects of the units measured so far on each class, shape (U', K), on the scale probability or log_odds."""
        logits = torch.stack([self.effects.control, *self.treated.values()]).double()
        on_scale = evidence(logits, self.effects.task, scale)
        return on_scale[1:] - on_scale[0]

    def values(self, scale: str, target: int) -> dict[int, float]:
        """Effect on a class of each unit measured so far."""
        return dict(zip(self.treated, self.by_class(scale)[:, target].tolist(), strict=True))

    def controls(self, scale: str) -> Tensor:
        """As `by_class`, of the matched controls of the first unit, shape (U', K); none where they find no room."""
        region = self.intervention.on_image(self.shape, 1, int(self.effects.batch.sample[0]))
        has_room = region is None or region.area > 0
        return self.by_class(scale)[[row for row, unit in enumerate(self.treated) if unit and has_room]]

    def painted(self, scale: str, target: int) -> npt.NDArray[np.float64]:
        """Map of a class, minus the effects painted at their units, shape (H, W); 0 where not measured yet."""
        values, units = self.values(scale, target), range(len(self.intervention.units(self.shape)))
        sample = int(self.effects.batch.sample[0])
        return self.intervention.on_pixels(self.shape, sample, [-values.get(unit, 0.0) for unit in units])
