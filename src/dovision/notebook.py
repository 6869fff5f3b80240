"""Effects in a notebook: plain arguments, any torch module, nothing to configure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dovision import checks, effects
from dovision.contracts import INPUT, Batch, Classifier, Intervention, Task, evaluating
from dovision.geometry import paint
from dovision.propagation import Propagation


class EffectMap(NamedTuple):
    """Effects of an intervention on some images."""

    map: Tensor  # (B, H, W) effect on the target class, painted where each unit lies; zeros where none does
    effect: Tensor  # (B, U, K) in [-1, 1], treated minus control
    control: Tensor  # (B, K) P(y | x)
    units: tuple[str, ...]  # names of the U units


def wrap(
    network: nn.Module,
    classes: Sequence[str] | int,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    task: str = "multiclass",
) -> Classifier:
    """Any torch module from normalised images to logits, as a classifier of images in [0, 1].

    Args:
        network: shape (B, C, H, W) to shape (B, K).
        classes: names of the K outputs, or K.
        mean, std: one number, or one a channel, in pixel units; the network sees (image - mean) / std.
        task: multiclass (softmax) or multilabel (sigmoid).
    """
    names = [str(k) for k in range(classes)] if isinstance(classes, int) else classes
    return Classifier(network, Task(task, tuple(names)), mean, std)


def effect_map(
    classifier: Classifier,
    image: Tensor,
    intervention: Intervention,
    target: int | None = None,
    label: Tensor | None = None,
    chunk: int | str = "auto",
) -> EffectMap:
    """Effects of each unit of an intervention, P(y | do(u), x) - P(y | x).

    Args:
        classifier: of images in [0, 1]; see `wrap` for a plain torch module.
        image: shape (B, C, H, W) in [0, 1].
        intervention: such as PixelGrid(7, 7).
        target: the class whose effects are painted; None is each image's most probable one.
        label: shape (B,) or (B, K), for interventions that need it (an attack); None is the prediction.
        chunk: (image, unit) pairs a pass; "auto" follows from shapes. The last bits of the result depend on it.

    Returns:
        The map and the numbers behind it. Negative: do(u) took evidence for the class away.

    Raises:
        ValueError: the image is out of range, or the intervention's site is not in the network.
    """
    checks.image_batch(image)
    sample = torch.arange(len(image))
    task = classifier.task
    if label is None:
        with torch.no_grad(), evaluating(classifier):
            label = task.prediction(task.probability(classifier(image)))
    outcome = Propagation(classifier, intervention, chunk)(Batch(image, label, sample, sample))
    control = task.probability(outcome.control)
    effect = effects.effect(task.probability(outcome.treated), control.unsqueeze(1).expand_as(outcome.treated))
    chosen = control.argmax(-1) if target is None else torch.full((len(image),), target)
    of_target = effect.take_along_dim(chosen.view(-1, 1, 1).to(effect.device), dim=2).squeeze(2)
    return EffectMap(_paint(image, intervention, of_target), effect, control, outcome.units)


def _paint(image: Tensor, intervention: Intervention, effect: Tensor) -> Tensor:
    """Effects, shape (B, U), painted where the units lie in the image, shape (B, H, W)."""
    painted = torch.zeros_like(image[:, 0])
    if intervention.site != INPUT:
        return painted
    height, width = image.shape[-2:]
    for sample, effects_of_units in enumerate(effect.tolist()):
        regions = [intervention.region(tuple(image.shape[1:]), unit, sample) for unit in range(effect.shape[1])]
        placed = [(box, value) for box, value in zip(regions, effects_of_units, strict=True) if box is not None]
        boxes, values = [box for box, _ in placed], [value for _, value in placed]
        painted[sample] = torch.from_numpy(paint(height, width, boxes, values, background=0.0))
    return painted
