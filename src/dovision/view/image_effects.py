"""Effects on one image in front of a classifier, one intervention after the other, from clean values that are kept."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.functional import logit_checks
from dovision.interfaces import Attack, Classifier, Context, Intervention
from dovision.module_state import evaluating
from dovision.propagation import Propagation
from dovision.propagation.edits import all_pairs
from dovision.types import INPUT, Batch, Task

UNITS_A_STEP = 2  # units of a map in a pass, between which a brush has its turn
_FEW = 5  # classes that are shown of each kind


class BrushEffect(NamedTuple):
    """Logits of one image without and with an intervention, and the image that the classifier saw with it."""

    control: Tensor  # (K,)
    treated: Tensor  # (K,)
    image: Tensor | None  # (C, H, W); None where a site inside the network is edited


class ImageEffects:
    """Effects on one image. Clean values are computed once a site, so that an intervention costs one pass.

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
        self._values: dict[tuple[str, str | None], Any] = {}  # clean values by site and kind of unit
        with evaluating(classifier), torch.no_grad(), logit_checks.FullPrecision():
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
        """Outcome of an intervention of one unit; errors as those of `Propagation`."""
        (treated,) = (logits for _, logits in self.map_steps(intervention))
        seen = None
        if intervention.site == INPUT:
            own = intervention.for_images(self.batch)
            seen = own.apply(self.batch.image, 0, Context(self.batch, self.classifier))[0]
        return BrushEffect(self.control, treated[0], seen)

    def map_steps(
        self, intervention: Intervention, at_a_time: int = UNITS_A_STEP
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Units, by number, and their treated logits, shape (U', K), a few at a time; errors as of `Propagation`."""
        intervention = intervention.for_images(self.batch)
        with evaluating(self.classifier), torch.no_grad():
            propagation = Propagation(self.classifier, intervention)
            engine = propagation.plain(self.batch)
            key = (intervention.site, intervention.unit)
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
        for pairs in streams:
            for first in range(0, len(pairs), at_a_time):
                part = pairs.chosen(torch.arange(first, min(first + at_a_time, len(pairs))).numpy())
                with evaluating(self.classifier), torch.no_grad():
                    treated = engine.treated(clean, part, intervention, context)
                yield part.unit.tolist(), logit_checks.measurable(treated, "logits after the intervention")

    def attacked(self, attack: Attack, pause: Callable[[], None]) -> ImageEffects:
        """The same of the image that an attack of one epsilon makes of this one; errors as of `Attack`.

        Args:
            attack: of one epsilon.
            pause: called before each pass, and after each layer of it, forward and backward; may itself measure
                effects; what it raises ends the attack.
        """
        attack.check(self.classifier, tuple(self.batch.image.shape[1:]))
        image = attack(self.batch, _pausing(self.classifier, pause))
        return ImageEffects(self.classifier, self.batch._replace(image=image))


def _pausing(classifier: Classifier, pause: Callable[[], None]) -> Classifier:
    """A classifier of the same weights, which it shares, and of hooks that call `pause`; the other is left as it is.

    A network that cannot be copied, such as one that holds a lock, and one with layers in TorchScript, which take no
    hooks, pauses before its passes alone. Gradients on a GPU are computed in threads of their own, which do not pause:
    they would wait for what this one holds.
    """
    asking = threading.get_ident()
    shared: dict[int, Any] = {id(value): value for value in (*classifier.parameters(), *classifier.buffers())}
    scripted = any(isinstance(layer, torch.jit.ScriptModule) for layer in classifier.modules())
    own, layers = copy.copy(classifier), []
    own._forward_pre_hooks = OrderedDict(classifier._forward_pre_hooks)  # all else is shared
    if not scripted:
        with contextlib.suppress(Exception):  # whatever foreign modules raise
            own = copy.deepcopy(classifier, shared)
            layers = [layer for layer in own.modules() if not any(layer.children())]

    def on_the_way_back(gradient: Tensor) -> None:
        if threading.get_ident() == asking:
            pause()

    def after_layer(module: nn.Module, given: Any, value: Any) -> None:
        if isinstance(value, Tensor) and value.requires_grad:
            value.register_hook(on_the_way_back)  # type: ignore[no-untyped-call]
        pause()

    own.register_forward_pre_hook(lambda module, given: pause())
    for layer in layers:
        layer.register_forward_hook(after_layer)
    return own


class ClassRow(NamedTuple):
    """Numbers of one class before and after an intervention."""

    number: int
    name: str
    control: float  # P(y | x)
    treated: float  # P(y | do(u), x)
    effect: float
    control_log_odds: float
    treated_log_odds: float
    log_odds_effect: float


def class_rows(task: Task, control: Tensor, treated: Tensor, shown: int | None = None) -> list[ClassRow]:
    """Numbers of the classes that matter: the predicted one, the most probable before and after, and `shown`.

    Args:
        task: the classes.
        control, treated: logits, shape (K,), of P(y | x) and P(y | do(u), x).
        shown: the number of a class that is always there.
    """
    before, after = task.probability(control.double()), task.probability(treated.double())
    odds_before, odds_after = task.log_odds(control.double()), task.log_odds(treated.double())
    count = min(_FEW, len(task.classes))
    top = before.topk(count).indices.tolist() + after.topk(count).indices.tolist()[:2]
    numbers = dict.fromkeys([*top, *([] if shown is None else [shown])])
    return [
        ClassRow(
            number,
            task.classes[number],
            float(before[number]),
            float(after[number]),
            float(after[number] - before[number]),
            float(odds_before[number]),
            float(odds_after[number]),
            float(odds_after[number] - odds_before[number]),
        )
        for number in numbers
    ]
