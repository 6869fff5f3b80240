"""Batches by hand, and the state of a classifier that no component may change."""

import torch
from torch import Tensor

from dovision.interfaces import Classifier
from dovision.types import Batch


def batch_of(image: Tensor, label: Tensor | None = None) -> Batch:
    """Images with their place as sample and group, and as label where none is given."""
    number = torch.arange(len(image))
    return Batch(image, number if label is None else label, number, number)


def state_of(classifier: Classifier) -> tuple[object, ...]:
    """All that an attack, an explainer or a detector must leave as it was."""
    return (
        {name: tensor.clone() for name, tensor in classifier.state_dict().items()},
        [module.training for module in classifier.modules()],
        [parameter.requires_grad for parameter in classifier.parameters()],
        [parameter.grad for parameter in classifier.parameters()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in classifier.modules()],
    )
