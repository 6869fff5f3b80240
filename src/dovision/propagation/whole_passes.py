"""Whole forward passes with the site's value replaced by a hook: at one site, with fewer positions, at two sites."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation.chunking import is_out_of_memory
from dovision.propagation.edits import Edit, Pairs, edit_of
from dovision.propagation.patch import Patch
from dovision.propagation.sites import Site
from dovision.propagation.spans import Index
from dovision.types import Shape


class CleanPass(NamedTuple):
    """Stored values of a clean pass."""

    site: Tensor  # (B, ...) the value that edits change
    control: Tensor  # (B, K) logits


class WholePasses:
    """Engine that runs the classifier itself; `site` None is the image."""

    bytes_per_image = bytes_per_pair = 0  # not known
    bytes_per_row = 0  # the largest value of a pass, if it was measured
    layout = torch.contiguous_format  # of images

    def __init__(self, classifier: Classifier, site: Site | None) -> None:
        self.classifier = classifier
        self.site = site

    def clean(self, image: Tensor) -> CleanPass:
        """Run the classifier on the unedited images.

        Raises:
            ValueError: the site does not run exactly once, or its output is not one tensor.
        """
        image = image.contiguous(memory_format=self.layout)
        if self.site is None:
            return CleanPass(image, self.classifier(image))
        values: list[Any] = []  # copied, since the next layer may overwrite them
        with self.site.tapped(lambda value: values.append(value.clone() if torch.is_tensor(value) else value)) as calls:
            control = self.classifier(image)
        self.site.check_calls(len(calls))
        return CleanPass(self.site.check_value(values[0], len(image)), control)

    def treated(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Tensor:
        """Logits, shape (P, K), after each pair's edit; differentiable with respect to the images."""
        edit = edit_of(pairs, intervention, clean.site, context, local=False, compare=False)
        return self.run(clean, pairs, edit.value, context)

    def edit(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Edit:
        """The site's value after the edits, or the part of it that they change."""
        return edit_of(pairs, intervention, clean.site, context, pairs.box is not None and clean.site.ndim == 4)

    def run(self, clean: CleanPass, pairs: Pairs, value: Any, context: Context) -> Tensor:
        """Logits, shape (P, K), with this value, or this part of it, at the site."""
        rows = torch.from_numpy(pairs.image)
        if isinstance(value, Patch):
            value = _whole(clean.site[rows], value)
        return self.forward(value if self.site is None else context.batch.image[rows], value)

    def forward(self, image: Tensor, site: Tensor) -> Tensor:
        """Logits, shape (N, K), of images with these values at the site, shape (N, ...)."""
        image = (site if self.site is None else image).contiguous(memory_format=self.layout)
        if self.site is None:
            return self.classifier(image)
        with self.site.tapped(lambda value: site):
            return self.classifier(image)


class ShorterValues(NamedTuple):
    """Values of a site that differ in length, one for each pair."""

    values: list[tuple[Index, Tensor]]  # numbers of the pairs that share a unit, and the value of each of them
    changed: Tensor  # (P,) bool; all are

    def chosen(self, index: Index) -> ShorterValues:
        """Select values by the numbers of their pairs."""
        values = []
        for group, new in self.values:
            places = np.flatnonzero(np.isin(index, group))
            if len(places):
                values.append((places, new[torch.from_numpy(np.searchsorted(group, index[places]))]))
        return ShorterValues(values, self.changed[torch.from_numpy(index)])


class Shortened(WholePasses):
    """Whole passes over pairs whose edits leave equally many positions."""

    def treated(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Tensor:
        return self.run(clean, pairs, self.edit(clean, pairs, intervention, context), context)

    def edit(  # type: ignore[override]  # of values of several lengths
        self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context
    ) -> ShorterValues:
        values = []
        for group in pairs.groups():
            image = torch.from_numpy(pairs.image[group])
            new = intervention.checked_do(clean.site[image], int(pairs.unit[group[0]]), context.rows(image), None)
            values.append((group, new))
        return ShorterValues(values, torch.ones(len(pairs), dtype=torch.bool))

    def run(self, clean: CleanPass, pairs: Pairs, value: Any, context: Context) -> Tensor:
        """Logits, shape (P, K).

        Raises:
            ValueError: the network does not take fewer positions.
        """
        logits = clean.control.new_empty(len(pairs), clean.control.shape[1])
        for length in sorted({new.shape[2] for _, new in value.values}):
            groups, news = zip(*(pair for pair in value.values if pair[1].shape[2] == length), strict=True)
            index = torch.cat([torch.from_numpy(group) for group in groups])
            image = context.batch.image[torch.from_numpy(pairs.image)[index]]
            try:
                logits[index] = self.forward(image, torch.cat(news))
            except (RuntimeError, AssertionError) as error:
                if is_out_of_memory(error):
                    raise
                raise ValueError(
                    f"the network must take any number of tokens, but with {length} of {clean.site.shape[2]} it fails "
                    f"({str(error).splitlines()[0]}). Paint over the cells instead: pixel_grid."
                ) from error
        return logits


class JointPasses(WholePasses):
    """Passes with do(unit) at a site and the only unit of another intervention, `Intervention.second`, at a later one.

    Args:
        classifier, site, intervention: as of a Propagation.
        other: whole passes with the value of the other intervention's site.
    """

    held_context: Context  # the condition of the other intervention's edits on the batch; set before its passes

    def __init__(
        self, classifier: Classifier, site: Site | None, intervention: Intervention, other: WholePasses
    ) -> None:
        assert other.site is not None
        assert intervention.second is not None
        super().__init__(classifier, site)
        self.intervention, self.held = intervention, intervention.second
        self.second, self.other = other.site, other

    def clean(self, image: Tensor) -> CleanPass:
        """Run the classifier on the unedited images.

        Raises:
            ValueError: as of `WholePasses`; or the second site runs before the first, or its value has several units.
        """
        shapes: dict[str, Shape] = {}  # of values, in the order of the pass
        with ExitStack() as taps:
            if self.site is not None:
                taps.enter_context(self.site.tapped(lambda value: shapes.update(first=())))
            calls = taps.enter_context(self.second.tapped(lambda value: self._see(value, shapes)))
            clean = super().clean(image)
        self.second.check_calls(len(calls))
        if self.site is not None and next(iter(shapes)) != "first":
            raise ValueError(
                f"the second site must come after the first in a forward pass, got {self.second.name!r}, which comes "
                f"before {self.site.name!r}. Exchange them."
            )
        units = self.held.units(shapes["second"])
        if len(units) != 1:
            raise ValueError(
                f"the intervention at {self.held.site!r} must have one unit, got {len(units)}. Choose one, such as "
                "choose=[5]."
            )
        return clean

    def _see(self, value: Tensor, shapes: dict[str, Shape]) -> None:
        shapes["second"] = tuple(self.second.check_value(value, len(value)).shape[1:])

    def edit(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Edit:
        edit = super().edit(clean, pairs, intervention, context)
        return edit._replace(changed=edit.changed | self._both(clean, pairs).to(edit.changed.device))

    def run(self, clean: CleanPass, pairs: Pairs, value: Any, context: Context) -> Tensor:
        rows = self._both(clean, pairs).nonzero().flatten()
        with self.second.tapped(lambda current: self._held(current, pairs.image, rows) if len(rows) else None):
            return super().run(clean, pairs, value, context)

    def _both(self, clean: CleanPass, pairs: Pairs) -> Tensor:
        """Return whether each pair is edited at the second site too, shape (P,) bool."""
        shape = tuple(clean.site.shape[1:])
        return torch.tensor([self.intervention.has_second(shape, unit) for unit in pairs.unit.tolist()])

    def _held(self, value: Tensor, image: Index, rows: Tensor) -> Tensor:
        """Value of the second site with its unit set in some rows; `image` numbers those of the batch."""
        edited, index = value.clone(), rows.numpy()
        for row in np.unique(image[index]):  # regions may differ from sample to sample
            alike = index[image[index] == row]
            edited[alike] = self.held.apply(value[alike], 0, self.held_context.rows([int(row)] * len(alike)))
        return edited


def _whole(value: Tensor, patch: Patch) -> Tensor:
    """The value, shape (P, C, H, W), with each pair's patch written into it."""
    places = zip(value, patch.value, patch.rows.start.tolist(), patch.columns.start.tolist(), strict=True)
    for whole, changed, top, left in places:
        whole[:, top : top + patch.rows.size, left : left + patch.columns.size] = changed
    return value
