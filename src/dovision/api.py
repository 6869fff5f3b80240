"""Effects in a notebook: plain arguments, any torch module, nothing to configure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from dovision import checks
from dovision.datasets import _checks, _image_io
from dovision.functional import effects, logit_checks
from dovision.functional.outputs import Reading
from dovision.interfaces import Classifier, Intervention
from dovision.module_state import evaluating
from dovision.propagation import Propagation
from dovision.propagation.chunking import is_out_of_memory
from dovision.types import Batch, Task

AT_A_TIME = 16  # images in a pass
ENDINGS = {"softmax": "sum to 1", "sigmoid": "lie in [0, 1]"}  # how outputs show what a network ends in


class EffectResult(NamedTuple):
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
    shape: Sequence[int] | None = None,
    output: str | Sequence[int] | Reading | None = None,
) -> Classifier:
    """A classifier of images in [0, 1], from any torch module from normalised images to logits.

    Args:
        network: shape (B, C, H, W) to shape (B, K); in eval mode while it is measured, and then in its own again.
        classes: names of the K outputs, or K.
        mean, std: one number, or one a channel, in pixel units; the network sees (image - mean) / std.
        task: multiclass (softmax) or multilabel (sigmoid).
        shape: (C, H, W) of the images, with which the network is tried at once; None leaves that to the first
            measurement.
        output: the logits in what the network returns: a name such as "logits", "[0]" or "out", or a function of it,
            such as MeanLogit or ClassShare of a segmentation and BoxScore of detections. None: the tensor that it
            returns, or its `logits`.

    Raises:
        ValueError: the network is no module, or does not return one tensor of K logits; mean or std are not in
            [0, 1]; the names are no names, or not different.
    """
    checks.instance("network", network, nn.Module, "a torch module from normalised images to logits")
    if isinstance(network, Classifier):
        raise ValueError("network must be a plain torch module, got a Classifier, which needs no wrapping.")
    classifier = Classifier(network, Task(task, _names(classes)), mean, std, output)
    if shape is not None:
        _logits(classifier, torch.full((1, *_checks.image_shape(shape)), 0.5).to(classifier.mean))
    return classifier


def to_batch(images: Image.Image | Sequence[Image.Image], size: int | tuple[int, int], channels: int = 3) -> Tensor:
    """PIL images as a batch in [0, 1], shape (B, channels, height, width), as the commands read image files.

    Each is made RGB or grey, resized with antialiasing to cover the size, and its centre is taken. Normalisation is
    the classifier's own (see `wrap`).

    Args:
        images: one or several, of any sizes and modes.
        size: height and width, or one number for both.
        channels: 3 (RGB) or 1 (grey).

    Raises:
        ValueError: an image is none of PIL's, or of a mode whose range is not known; there is none.
    """
    listed = [images] if isinstance(images, Image.Image) else list(images)
    shape = _image_io.grey_or_rgb_shape((channels, *(size if isinstance(size, (tuple, list)) else (size, size))))
    if not listed:
        raise ValueError("images must be at least one PIL image, got none.")
    return torch.stack(
        [_image_io.of_pil(checks.instance("images", one, Image.Image, "PIL images"), shape) for one in listed]
    )


def effect_map(
    classifier: Classifier,
    image: Tensor,
    intervention: Intervention,
    target: int | str | Tensor | None = None,
    label: Tensor | None = None,
    chunk: int | str = "auto",
) -> EffectResult:
    """Effects of each unit of an intervention, P(y | do(u), x) - P(y | x).

    Calls from several threads take turns. Outputs that look like probabilities are warned of.

    Args:
        classifier: of images in [0, 1]; see `wrap` for a plain torch module.
        image: shape (B, C, H, W) in [0, 1], of the network's type and device; see `to_batch` for PIL images.
        intervention: such as PixelGrid(7, 7).
        target: the class whose effects are painted, its name or number, or a number for each image, shape (B,) int64;
            None is each image's most probable one.
        label: shape (B,) or (B, K), for interventions that need it (an attack); None is the prediction.
        chunk: (image, unit) pairs a pass, 16 at least; "auto" follows from shapes.

    Returns:
        The map and the numbers behind it. Negative: do(u) took evidence for the class away.

    Raises:
        ValueError: an argument is not what it must be (a class in place of an instance, an image out of range, a class
            that does not exist, ...); the network takes no such images, or returns no finite logits of its classes; the
            intervention's site is not in the network, or holds no channels where they are edited.
    """
    checks.instance("classifier", classifier, Classifier, "a Classifier, as wrap(network, classes) makes one")
    checks.instance("intervention", intervention, Intervention, "an intervention such as PixelGrid(7, 7)")
    task, images = classifier.task, len(checks.image_batch(image))
    chosen = None if target is None else _targets(target, images, task)
    if label is not None:
        checks.labels(label, images, len(task.classes), task.multilabel)
    with torch.inference_mode(False):  # an attack needs gradients
        image = image.detach().clone()
        logits = _logits(classifier, image)
        if ending := _ending(classifier, image, logits):
            what, own = ENDINGS[ending], "sigmoid" if task.multilabel else "softmax"
            warnings.warn(
                f"the network's outputs {what}, as if it ended in a {ending}: the classifier's own {own} follows, "
                f"and effects are measured behind both. Wrap the network without its {ending}.",
                stacklevel=2,
            )
        label = task.prediction(task.probability(logits)) if label is None else label.to(image.device)
        sample = torch.arange(images)
        batch = Batch(image, label, sample, sample)
        intervention = intervention.for_images(batch)
        outcome = Propagation(classifier, intervention, chunk)(batch)
        logit_checks.finite(outcome.treated, "logits after the intervention")
        control = task.probability(outcome.control)
        effect = effects.effect(task.probability(outcome.treated), control.unsqueeze(1).expand_as(outcome.treated))
        chosen = (control.argmax(-1) if chosen is None else chosen).to(effect.device)
        of_target = effect.take_along_dim(chosen.view(-1, 1, 1), dim=2).squeeze(2)
        return EffectResult(_paint(image, intervention, of_target), effect, control, outcome.units)


def _ending(classifier: Classifier, image: Tensor, logits: Tensor) -> str:
    """Last layer that the network seems to have, by its outputs for these images and, since few may mislead, noise."""
    if not logit_checks.ending(logits):
        return ""
    noise = torch.rand((AT_A_TIME, *image.shape[1:]), generator=torch.Generator().manual_seed(0))
    return logit_checks.ending(_logits(classifier, noise.to(image)))


def _names(classes: Sequence[str] | int) -> tuple[str, ...]:
    if isinstance(classes, int):
        return tuple(str(number) for number in range(checks.positive_int("classes", classes)))
    return checks.names("classes", classes)


def _targets(target: int | str | Tensor, images: int, task: Task) -> Tensor:
    """The number of each image's target class, shape (B,)."""
    if isinstance(target, Tensor) and target.ndim:
        return checks.labels(target, images, len(task.classes), multilabel=False, name="target")
    return torch.full((images,), task.number_of(target))  # type: ignore[arg-type]  # a tensor of one number is one


@torch.no_grad()
def _logits(classifier: Classifier, image: Tensor) -> Tensor:
    """Finite logits of images, shape (B, K).

    Raises:
        ValueError: the network fails on such an image, or returns something else.
    """
    with evaluating(classifier):
        try:
            first = classifier(image[:1])
        except Exception as error:  # whatever the network's own code raises
            if isinstance(error, ValueError) or is_out_of_memory(error):
                raise
            shape = tuple(image.shape[1:])
            raise ValueError(f"the network must take images of shape {shape}, but: {error}") from error
        logits = torch.cat([first, *(classifier(part) for part in torch.split(image[1:], AT_A_TIME) if len(part))])
    return logit_checks.finite(logits, "logits")


def _paint(image: Tensor, intervention: Intervention, effect: Tensor) -> Tensor:
    """Effects, shape (B, U), painted where the units lie in the image, shape (B, H, W)."""
    painted = torch.zeros_like(image[:, 0])
    shape = tuple(image.shape[1:])
    for sample, values in enumerate(effect.tolist()):
        painted[sample] = torch.from_numpy(intervention.on_pixels(shape, sample, values))
    return painted
