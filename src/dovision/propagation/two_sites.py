"""Plain forward passes with edits at two sites."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation.edits import Edit, Pairs
from dovision.propagation.plain import CleanPass, Plain
from dovision.propagation.sites import Site
from dovision.types import Shape


class TwoSitePasses(Plain):
    """Passes in which a second site is tapped, one that comes after the first."""

    def __init__(self, classifier: Classifier, site: Site | None, second: Site) -> None:
        super().__init__(classifier, site)
        self.second = second

    def clean(self, image: Tensor) -> CleanPass:
        """As `Plain.clean`.

        Raises:
            ValueError: the second site does not run once, or runs before the first.
        """
        seen: dict[str, Shape] = {}  # shapes of values, in the order of the pass
        with ExitStack() as taps:
            if self.site is not None:
                taps.enter_context(self.site.tapped(lambda value: seen.update(first=())))
            calls = taps.enter_context(self.second.tapped(lambda value: self._see(value, seen)))
            clean = super().clean(image)
        self.second.check_calls(len(calls))
        if self.site is not None and next(iter(seen)) != "first":
            raise ValueError(
                f"the second site must come after the first in a forward pass, got {self.second.name!r}, which comes "
                f"before {self.site.name!r}. Exchange them."
            )
        self.check_second(seen["second"])
        return clean

    def check_second(self, shape: Shape) -> None:
        """Refuse a second site with a value of this shape; nothing by default."""

    def _see(self, value: Tensor, seen: dict[str, Shape]) -> None:
        seen["second"] = tuple(self.second.check_value(value, len(value)).shape[1:])


class JointPasses(TwoSitePasses):
    """Passes with do(unit) at a site and the only unit of another intervention, `Intervention.second`, at a later one.

    Args:
        classifier, site, intervention: as of a Propagation.
        other: whole passes with the value of the other intervention's site.
    """

    held_context: Context  # the condition of the other intervention's edits on the batch; set before its passes

    def __init__(
        self,
        classifier: Classifier,
        site: Site | None,
        intervention: Intervention,
        other: Plain,
    ) -> None:
        assert other.site is not None
        assert intervention.second is not None
        super().__init__(classifier, site, other.site)
        self.intervention, self.held = intervention, intervention.second
        self.other = other

    def check_second(self, shape: Shape) -> None:
        """Refuse another intervention of several units."""
        units = self.held.units(shape)
        if len(units) != 1:
            raise ValueError(
                f"the intervention at {self.held.site!r} must have one unit, got {len(units)}. Choose one, such as "
                "choose=[5]."
            )

    def edit(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Edit:
        edit = super().edit(clean, pairs, intervention, context)
        return edit._replace(changed=edit.changed | self._both(clean, pairs).to(edit.changed.device))

    def run(self, clean: CleanPass, pairs: Pairs, value: Any, context: Context) -> Tensor:
        rows = self._both(clean, pairs).nonzero().flatten().tolist()
        own = self.held_context.rows(pairs.image[rows].tolist())
        with self.second.tapped(lambda current: self._held(current, rows, own) if rows else None):
            return super().run(clean, pairs, value, context)

    def _both(self, clean: CleanPass, pairs: Pairs) -> Tensor:
        """Return whether each pair is edited at the second site as well, shape (P,) bool."""
        shape = tuple(clean.site.shape[1:])
        return torch.tensor([self.intervention.has_second(shape, unit) for unit in pairs.unit.tolist()])

    def _held(self, value: Tensor, rows: Sequence[int], context: Context) -> Tensor:
        """The second site's value with its unit set in some rows, of which the context is."""
        edited = value.clone()
        for number, row in enumerate(rows):  # regions may differ from sample to sample
            edited[row] = self.held.apply(value[[row]], 0, context.rows([number]))[0]
        return edited


class PathPasses(TwoSitePasses):
    """Passes in which the second site has the value that an edit gives it, and all else is as without the edit."""

    passes_per_edit = 2

    def run(self, clean: CleanPass, pairs: Pairs, value: Any, context: Context) -> Tensor:
        values: list[Tensor] = []
        with self.second.tapped(lambda current: values.append(current.clone())):
            super().run(clean, pairs, value, context)
        with self.second.tapped(lambda current: values[0]):
            return self.classifier(context.batch.image[torch.from_numpy(pairs.image)])
