"""Checks of images that networks take, and outputs of published weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from dovision import checks
from dovision.types import Shape


def has_numbers() -> bool:
    """Return whether a network that is made now has weights; not on the meta device, for which none need be read."""
    return torch.get_default_device().type != "meta"


@contextmanager
def fetching(weights: str, source: str, remedy: str) -> Iterator[None]:
    """Say of weights that are neither on this machine nor can be downloaded what to do."""
    try:
        yield
    except OSError as error:
        raise ConnectionError(
            f"the weights {weights} are not on this machine, and {source} could not be read "
            f"({str(error).partition(chr(10))[0]}). {remedy}"
        ) from error


def check_colours(name: str, shape: Shape) -> None:
    """Raise unless the images are grey or RGB.

    A classifier with three means and stds shows its network a grey image as three equal channels.
    """
    if shape[0] not in (1, 3):
        raise ValueError(
            f"{name} takes images of 1 or 3 channels, got shape {list(shape)}. "
            "Choose model=torchvision_model for another number."
        )


def check_size(name: str, shape: Shape, least: int) -> Shape:
    """Return the shape of images, (C, H, W), that are at least so many pixels high and wide."""
    for side, length in zip(("height", "width"), shape[1:], strict=True):
        checks.at_least(f"{name}'s image {side}", length, least, "Use a larger image, or another model.")
    return shape


def choose_outputs(network: nn.Module, head: str, names: Sequence[str], classes: Sequence[str]) -> None:
    """Give the network an output for each class: that of this name, or 0 where no output has it.

    Args:
        head: the name of the linear layer that ends the network, which is replaced.
        names: of its outputs, in their order.
        classes: names, in any order.
    """
    old = network.get_submodule(head)
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, len(classes))
    with torch.no_grad():
        for output, name in enumerate(classes):
            row = names.index(name) if name in names else None
            new.weight[output] = 0 if row is None else old.weight[row]
            new.bias[output] = 0 if row is None else old.bias[row]
    network.set_submodule(head, new)
