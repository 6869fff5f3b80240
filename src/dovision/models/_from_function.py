"""A classifier from what a user's own function returns, for a yaml that names neither shape, task nor classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from dovision import checks
from dovision.functional.outputs import Reading
from dovision.interfaces import Classifier
from dovision.types import Shape, Task


def from_function(
    network: Any,
    shape: Shape,
    task: str | None,
    classes: Sequence[str] | None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    output: str | Sequence[int] | Reading | None = None,
) -> Classifier:
    """Wrap a network with the dataset's classes, or return a classifier as it is.

    Args:
        network: what the function has returned.
        shape, task, classes: of the dataset.
        mean, std, output: as of `Classifier`.

    Raises:
        ValueError: it is no torch module, or the dataset names no classes.
    """
    if isinstance(network, Classifier):
        return network
    checks.instance("model", network, nn.Module, "a function that returns a torch module, or a Classifier")
    if classes is None:
        raise ValueError("model needs the names of its outputs. Set dataset.classes and dataset.task.")
    return Classifier(network, Task(task or "multiclass", tuple(classes)), mean, std, output)
