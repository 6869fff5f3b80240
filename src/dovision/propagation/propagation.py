"""Logits of a classifier on a batch of images, before and after each unit of an intervention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dovision import checks
from dovision.interfaces import Classifier, Context, Intervention
from dovision.module_state import evaluating
from dovision.propagation.chunking import PassLimits, is_out_of_memory
from dovision.propagation.edits import all_pairs
from dovision.propagation.incremental import Incremental
from dovision.propagation.plain import Plain
from dovision.propagation.select_engine import choose_engine, refuse_batch_statistics
from dovision.propagation.sites import check_layout, site_module
from dovision.types import Batch


class Outcome(NamedTuple):
    """Logits without and with each edit."""

    units: tuple[str, ...]
    control: Tensor  # (B, K) logits of the classifier on the images as they are
    treated: Tensor  # (B, U, K) logits after do(unit); equal to control where the unit's region is empty


class Propagation:
    """Run a classifier once as it is, and recompute for each unit of an intervention what descends from its edit.

    The classifier is traced at the first call, and folded copies of its weights are made: after a change of its
    weights, its layers or its device, make a new Propagation. The classifier itself is left as it is.

    Args:
        classifier: put into eval mode while it runs, and back; calls from several threads take turns.
        intervention: what is done, and at which site.
        chunk: (image, unit) pairs that share one pass; "auto" follows from the shapes of the values. The last bits of
            the outcome depend on it, as on the number of images of a batch.

    Raises:
        ValueError: the site is not in the classifier (the error lists the nearest names), runs more than once, or
            holds no channels on axis 1 where they are edited; the classifier's output for an image depends on the
            batch; a region lies outside the site's value.
    """

    def __init__(self, classifier: Classifier, intervention: Intervention, chunk: int | str = "auto") -> None:
        self.classifier = classifier
        self.intervention = intervention
        self.site = site_module(classifier, intervention.site)
        self.allowance = PassLimits(None if chunk == "auto" else checks.positive_int("chunk", chunk))
        self.engine: Incremental | Plain | None = None
        refuse_batch_statistics(classifier)

    @torch.no_grad()
    def __call__(self, batch: Batch, progress: Callable[[int], None] = lambda passes: None) -> Outcome:
        """The outcome on a batch; `progress` counts forward passes (one image each) as they are done."""
        with evaluating(self.classifier):
            return self._run(self.prepare(batch), batch, progress)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Incremental | Plain:
        """The engine, chosen once, by the first image of the first batch."""
        if self.engine is None:
            with evaluating(self.classifier):
                check_layout(self.classifier, self.intervention, tuple(batch.image.shape[1:]))
                first = Context(batch.rows(slice(0, 1)), self.classifier)
                self.engine = choose_engine(self.classifier, self.site, self.intervention, first)
            self.allowance.fit_images(self.engine.bytes_per_image, batch.image.device)
        return self.engine

    def _run(self, engine: Incremental | Plain, batch: Batch, progress: Callable[[int], None]) -> Outcome:
        """In parts of as many images as may be stored at a time."""
        self.allowance.begin()
        parts = []
        start = 0
        while start < len(batch.image):
            rows = slice(start, start + self.allowance.images)
            parts.append(self._part(engine, batch.rows(rows), progress))
            start = rows.stop
        units = parts[0].units
        return Outcome(units, torch.cat([p.control for p in parts]), torch.cat([p.treated for p in parts]))

    def _part(self, engine: Incremental | Plain, batch: Batch, progress: Callable[[int], None]) -> Outcome:
        clean: Any = engine.clean(batch.image)  # the engine's own
        progress(len(batch.image))
        shape = tuple(clean.site.shape[1:])
        units = self.intervention.units(shape)
        treated = clean.control.unsqueeze(1).repeat(1, len(units), 1)
        pending = all_pairs(self.intervention, units, batch.sample.tolist(), shape)
        while pending:
            pairs = pending.pop()
            if len(pairs) > self.allowance.pairs:
                pending.extend(pairs.split(self.allowance.pairs, shape))
                continue
            try:
                context = Context(batch, self.classifier)
                treated[pairs.image, pairs.unit] = engine.treated(clean, pairs, self.intervention, context)
            except (MemoryError, RuntimeError) as error:
                if len(pairs) == 1 or not is_out_of_memory(error):
                    raise
                self.allowance.halve(len(pairs))
                pending.append(pairs)
                continue
            self.allowance.fit_pairs(engine.bytes_per_pair, batch.image.device)
            progress(len(pairs))
        return Outcome(units, clean.control, treated)
