"""The plain forward pass, with the site's value replaced by a hook: for models that cannot be traced."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation.chunking import in_parts
from dovision.propagation.edits import Edit, Pairs, edit_of
from dovision.propagation.patch import Patch
from dovision.propagation.sites import Site


class CleanPass(NamedTuple):
    """Values stored of a clean pass."""

    site: Tensor  # (B, ...) the value that edits change
    control: Tensor  # (B, K) logits


class Plain:
    """Runs the classifier itself; `site` None is the image."""

    bytes_per_image = bytes_per_pair = 0  # not known
    bytes_per_row = 0  # the largest value of a pass, if it was measured
    passes_per_edit = 1

    def __init__(self, classifier: Classifier, site: Site | None) -> None:
        self.classifier = classifier
        self.site = site
        self.recent: tuple[Tensor, CleanPass] | None = None  # images and their clean pass, for whoever needs it next

    def clean(self, image: Tensor) -> CleanPass:
        """The pass on the images as they are.

        Raises:
            ValueError: the site does not run exactly once, or its output is not one tensor.
        """
        recent, self.recent = self.recent, None
        if recent is not None and same_images(recent[0], image):
            return recent[1]
        if self.site is None:
            return CleanPass(image, self.classifier(image))
        values: list[Any] = []
        with self.site.tapped(lambda value: values.append(_copied(value))) as calls:
            control = self.classifier(image)
        self.site.check_calls(len(calls))
        return CleanPass(self.site.check_value(values[0], len(image)), control)

    def treated(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Tensor:
        """Logits, shape (P, K), after each pair's edit; differentiable with respect to the images."""
        edit = edit_of(pairs, intervention, clean.site, context, local=False, compare=False)
        return self.run(clean, pairs, edit.value, context)

    def edit(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Edit:
        """What the edits make of the site's value."""
        return edit_of(pairs, intervention, clean.site, context, pairs.box is not None and clean.site.ndim == 4)

    def run(self, clean: CleanPass, pairs: Pairs, value: Any, context: Context) -> Tensor:
        """Logits, shape (P, K), with this value, or this part of it, at the site."""
        rows = torch.from_numpy(pairs.image)
        if isinstance(value, Patch):
            value = _whole(clean.site[rows], value)
        return self.forward(value if self.site is None else context.batch.image[rows], value)

    def forward(self, image: Tensor, site: Tensor) -> Tensor:
        """Logits, shape (N, K), of images with these values at the site, shape (N, ...)."""
        parts = in_parts(len(site), self.bytes_per_row)
        return torch.cat([self._forward(image[part], site[part]) for part in parts])

    def _forward(self, image: Tensor, site: Tensor) -> Tensor:
        if self.site is None:
            return self.classifier(site)
        with self.site.tapped(lambda value: site):
            return self.classifier(image)


def same_images(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of images are equal to the bit, or nearly so: 0 and -0 are."""
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _whole(value: Tensor, patch: Patch) -> Tensor:
    """The value, shape (P, C, H, W), with each pair's patch written into it."""
    places = zip(value, patch.value, patch.rows.start.tolist(), patch.columns.start.tolist(), strict=True)
    for own, changed, top, left in places:
        own[:, top : top + patch.rows.size, left : left + patch.columns.size] = changed
    return value


def _copied(output: Any) -> Any:
    """The output as it was, even if the next layer writes into it."""
    return output.clone() if isinstance(output, Tensor) else output
