"""Checks of images that networks take, and outputs of published weights."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import nn

from dovision import checks
from dovision.functional.class_names import class_positions
from dovision.interfaces import Classifier
from dovision.types import Preprocessing, Resize, Shape, Task

log = logging.getLogger(__name__)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)  # pixel units: ImageNet's, averaged over colours


class WeightsMetadata(NamedTuple):
    """Classes and normalisation as published weights state them; None for what they do not."""

    classes: Sequence[str] | int | None = None  # or their number, where they have no names
    task: str | None = None
    mean: Sequence[float] | None = None  # pixel units
    std: Sequence[float] | None = None  # pixel units
    preprocessing: Preprocessing | None = None


def has_numbers() -> bool:
    """Return whether a new network has weights: false on the meta device, for which none are read."""
    return torch.get_default_device().type != "meta"


@contextmanager
def fetching(weights: str, source: str, remedy: str) -> Iterator[None]:
    """Raise with a remedy if weights are neither on this machine nor downloadable.

    Args:
        weights, source, remedy: what, from where, and what to do.
    """
    try:
        yield
    except OSError as error:
        raise ConnectionError(
            f"the weights {weights} are not on this machine, and {source} could not be read "
            f"({str(error).partition(chr(10))[0].rstrip('.')}). {remedy}"
        ) from error


def check_colours(name: str, shape: Shape) -> None:
    """Raise unless images are grey or RGB.

    A classifier with three means and stds shows its network a grey image as three equal channels.
    """
    if shape[0] not in (1, 3):
        raise ValueError(
            f"{name} takes images of 1 or 3 channels, got shape {list(shape)}. "
            "Choose model=torchvision_model for another number."
        )


def check_size(name: str, shape: Shape, least: int) -> Shape:
    """Return the shape of images, (C, H, W), if it is at least so many pixels high and wide."""
    for side, length in zip(("height", "width"), shape[1:], strict=True):
        checks.at_least(f"{name}'s image {side}", length, least, "Use a larger image, or another model.")
    return shape


def stated_or_own(what: str, task_kind: str | None, classes: Sequence[str] | None, task: Task | None) -> Task:
    """The stated task, or that of the weights of `what` if neither kind nor classes are stated.

    Raises:
        ValueError: nothing is stated, and the weights have no names for their outputs.
    """
    if task_kind is not None and classes is not None:
        return Task(task_kind, tuple(classes))
    if task is None:
        raise ValueError(
            f"{what} names no classes of its own, so that they must be given. Set dataset.classes and dataset.task, or "
            "choose weights that name them."
        )
    return task


def of_names(names: Sequence[str] | None) -> Task | None:
    """Multiclass task of distinct names; None for None."""
    return None if names is None else Task("multiclass", distinct(names))


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names whose duplicates are numbered, such as crane (2)."""
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(numbered)


def outputs_of(what: str, names: Sequence[str] | None, count: int, task: Task, new_head: bool) -> list[int] | None:
    """Output number of each class in a head with these names; None for a new head.

    Names meet as of `class_positions`. Without names, or for ImageNet's identifiers in their order (n01440764, ...),
    outputs are taken in theirs.

    Args:
        what: the weights, for the log and the error.
        names: of the outputs; None: they have none.
        count: of the outputs.
        task: the classes.
        new_head: whether the head is to be drawn at random.

    Raises:
        ValueError: a class is not among the names, and no new head is asked for.
    """
    classes = task.classes
    if new_head:
        _log("%s: a new head for %s classes, drawn at random", what, f"{len(classes):,}")
        return None
    positions = [None] if names is None else class_positions(classes, names)
    outputs = [position for position in positions if position is not None]
    if len(outputs) == len(classes):
        share = f"{len(classes):,} of its {count:,}" if len(classes) < count else f"all of its {count:,}"
        _log("%s: kept the head, %s classes by name", what, share)
        return outputs
    numbered = list(classes) == sorted(classes) and all(re.fullmatch(r"n\d{8}", name) for name in classes)
    if len(classes) == count and (names is None or numbered):
        _log("%s: kept the head, its %s classes in their order", what, f"{count:,}")
        return list(range(count))
    if names is None:
        rule, near = f"as many as the {count:,} outputs of {what}, got {len(classes):,}", ""
    else:
        name = classes[positions.index(None)]
        rule, near = f"among the {count:,} names of the outputs of {what}, got {name!r}", checks.suggestion(name, names)
    raise ValueError(
        f"classes must be {rule}.{near} Name them so in dataset.classes, or fit a new head: model.new_head=true."
    )


def normalisation(
    channels: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    trained: tuple[Sequence[float], Sequence[float]] | None,
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std in pixel units: given, or those of the weights, averaged for grey images."""
    if trained is None:
        trained = GREY_MEAN, GREY_STD
    elif channels != 3:
        trained = [fmean(trained[0])], [fmean(trained[1])]
    return (trained[0] if mean is None else mean), (trained[1] if std is None else std)


def preprocessing(pixels: int, size: int, interpolation: str, mode: str = "cover") -> Preprocessing:
    """Preprocessing of images that weights were trained on.

    Args:
        pixels: height and width of the images.
        size: of the shorter side before the crop, or of both.
        interpolation: bilinear; any other one is taken for bicubic.
        mode: cover or stretch.
    """
    before = size if size > pixels else None
    return Preprocessing(pixels, Resize(mode, before, interpolation if interpolation == "bilinear" else "bicubic"))


def choose_outputs(network: nn.Module, head: str, outputs: Sequence[int | None]) -> None:
    """Restrict the network to these outputs, in this order; None: 0.

    Args:
        network: is changed.
        head: the name of the linear layer or the convolution that ends the network, which is replaced.
        outputs: numbers of its outputs.
    """
    old = network.get_submodule(head)
    assert isinstance(old, nn.Linear | nn.Conv2d)
    if list(outputs) == list(range(len(old.weight))):
        return
    new = head_like(old, len(outputs))
    with torch.no_grad():
        for row, output in enumerate(outputs):
            new.weight[row] = 0 if output is None else old.weight[output]
            if old.bias is not None and new.bias is not None:
                new.bias[row] = 0 if output is None else old.bias[output]
    network.set_submodule(head, new)


def head_like(old: nn.Linear | nn.Conv2d, outputs: int) -> nn.Linear | nn.Conv2d:
    """Layer like a network's last one, with random weights and another number of outputs."""
    if isinstance(old, nn.Conv2d):
        kernel, stride = old.kernel_size, old.stride
        return nn.Conv2d(old.in_channels, outputs, kernel, stride, bias=old.bias is not None)  # type: ignore[arg-type]
    return nn.Linear(old.in_features, outputs, bias=old.bias is not None)


def with_arguments(classifier: Classifier, fitted: bool, **more: Any) -> Classifier:
    """Attach the arguments that rebuild the classifier without its files; a fitted one is in eval mode."""
    classifier.train(not fitted)
    classifier.arguments = {"task": classifier.task.kind, "classes": list(classifier.task.classes), **more}
    return classifier


def output_numbers(names: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    """Index of each class among names; None if absent."""
    return [names.index(name) if name in names else None for name in classes]


def _log(message: str, *values: str) -> None:
    """Log a line for a network in use; silent on the meta device."""
    if has_numbers():
        log.info(message, *values)
