"""Input of the linear layer that gives the logits."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier


def penultimate(image: Tensor, classifier: Classifier) -> tuple[nn.Linear, Tensor, Tensor]:
    """Final linear layer, its input, shape (B, F), and the logits, shape (B, K).

    Args:
        image: shape (B, C, H, W).
        classifier: of the logits.

    Raises:
        ValueError: there is no such layer.
    """
    runs: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def keep(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs.append((layer, inputs[0], output))

    with ExitStack() as hooks:
        for layer in classifier.network.modules():
            if isinstance(layer, nn.Linear):
                hooks.enter_context(layer.register_forward_hook(keep))
        logits = classifier(image)
    of_second = (
        len(runs) > 0 and runs[-1][2].shape == (len(logits), 1) and len(logits.T) == 2 and not logits[:, 0].any()
    )
    if not runs or runs[-1][1].ndim != 2 or not (of_second or runs[-1][2].shape == logits.shape):
        raise ValueError(
            "the network must end in a linear layer that gives the logits, of which the input can be read, got one "
            "without. Choose a detector that reads logits alone, such as max_softmax."
        )
    layer, features, _ = runs[-1]
    if of_second:  # of two classes, as a layer of both
        weight, bias = layer.weight, layer.weight.new_zeros(1) if layer.bias is None else layer.bias
        layer = nn.Linear(layer.in_features, 2).requires_grad_(False)
        layer.load_state_dict({"weight": torch.cat([0 * weight, weight]), "bias": torch.cat([0 * bias, bias])})
    return layer, features, logits
