"""Input of the linear layer that gives the logits."""

from __future__ import annotations

from contextlib import ExitStack

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
    if not runs or runs[-1][1].ndim != 2 or runs[-1][2].shape != logits.shape:
        raise ValueError(
            "the network must end in a linear layer that gives the logits, of which the input can be read, got one "
            "without. Choose a detector that reads logits alone, such as max_softmax."
        )
    layer, features, _ = runs[-1]
    return layer, features, logits
