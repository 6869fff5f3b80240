"""The plain forward pass, with the site's value replaced by a hook: for models that cannot be traced."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation.edits import Pairs, whole_values


class CleanPass(NamedTuple):
    """Values stored of a clean pass."""

    site: Tensor  # (B, ...) the value that edits change
    control: Tensor  # (B, K) logits


class Plain:
    """Runs the classifier itself; `site` None is the image."""

    bytes_per_image = bytes_per_pair = 0  # not known

    def __init__(self, classifier: Classifier, site: nn.Module | None) -> None:
        self.classifier = classifier
        self.site = site

    def clean(self, image: Tensor) -> CleanPass:
        """The pass on the images as they are.

        Raises:
            ValueError: the site does not run exactly once, or its output is not one tensor.
        """
        if self.site is None:
            return CleanPass(image, self.classifier(image))
        outputs: list[Any] = []
        handle = self.site.register_forward_hook(lambda module, args, output: outputs.append(_copied(output)))
        try:
            control = self.classifier(image)
        finally:
            handle.remove()
        if len(outputs) != 1:
            raise ValueError(
                f"the site must run once in a forward pass, got {len(outputs)} runs. Choose another layer."
            )
        if not isinstance(outputs[0], Tensor) or len(outputs[0]) != len(image):
            raise ValueError(
                "the site's output must be one tensor with the images on its first axis, "
                f"got {type(outputs[0]).__name__}. Choose another layer."
            )
        return CleanPass(outputs[0], control)

    def treated(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Tensor:
        """Logits, shape (P, K), after each pair's edit."""
        image = context.batch.image[torch.from_numpy(pairs.image)]
        return self.forward(image, whole_values(pairs, intervention, clean.site, context))

    def forward(self, image: Tensor, site: Tensor) -> Tensor:
        """Logits, shape (N, K), of images with these values at the site, shape (N, ...)."""
        if self.site is None:
            return self.classifier(site)
        handle = self.site.register_forward_hook(lambda module, args, output: site)
        try:
            return self.classifier(image)
        finally:
            handle.remove()


def _copied(output: Any) -> Any:
    """The output as it was, even if the next layer writes into it."""
    return output.clone() if isinstance(output, Tensor) else output
