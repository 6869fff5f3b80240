"""Logits of a classifier on a batch of images, before and after each unit of an intervention."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier, Context, Intervention
from dovision.module_state import evaluating
from dovision.propagation.chunking import FIRST, PassLimits, is_out_of_memory
from dovision.propagation.edits import all_pairs, edit_of
from dovision.propagation.graph_passes import fold_batch_norm, lay_out_channels_last, take_splits_apart
from dovision.propagation.incremental import Incremental
from dovision.propagation.layouts import presented_site
from dovision.propagation.plain import Plain
from dovision.propagation.shortened import Shortened
from dovision.propagation.sites import Site, find_site
from dovision.propagation.tracing import trace
from dovision.propagation.two_sites import JointPasses, PathPasses, TwoSitePasses
from dovision.types import Batch, Task

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """Logits without and with each edit."""

    units: tuple[str, ...]
    control: Tensor  # (B, K) logits of the classifier on the images as they are
    treated: Tensor  # (B, U, K) logits after do(unit); equal to control where the edit changes nothing
    skipped: int = 0  # edits that change no bit of the site's value, and took no pass


class Propagation:
    """Run a classifier once as it is, and recompute for each unit of an intervention what descends from its edit.

    An edit that leaves the site's value as it is, bit for bit, takes no pass: its logits are those of the control.
    The classifier is traced at the first call, and folded copies of its weights are made: after a change of its
    weights, its layers or its device, make a new Propagation. The classifier itself is left as it is.

    Args:
        classifier: put into eval mode while it runs, and back; calls from several threads take turns.
        intervention: what is done, and at which site.
        chunk: (image, unit) pairs that share one pass; "auto" follows from the shapes of the values. The last bits of
            the outcome depend on it, as on the number of images of a batch and of the edits that are skipped: on how
            many rows share a pass.

    Raises:
        ValueError: the site is not in the classifier (the error lists the nearest names), or runs more than once; the
            layout of its value is not known, or has no such units; the classifier's output for an image depends on
            the batch; a region lies outside the site's value.
    """

    def __init__(self, classifier: Classifier, intervention: Intervention, chunk: int | str = "auto") -> None:
        self.classifier = classifier
        self.intervention = intervention
        self.site = find_site(classifier, intervention.site)
        self._second = None if intervention.second is None else Propagation(classifier, intervention.second)
        self._through = None if intervention.through is None else find_site(classifier, intervention.through)
        self.allowance = PassLimits(None if chunk == "auto" else checks.positive_int("chunk", chunk))
        self.engine: Incremental | Plain | None = None
        self._presented = False
        self._reference: Tensor | None = None
        self._reference_passes: int | None = None  # not counted yet; None before they were made
        _refuse_batch_statistics(classifier)

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
                plain = self.plain(batch)
                first = self.context(plain, batch.rows(slice(0, 1)))
                both = isinstance(plain, TwoSitePasses)  # they have no faster engine
                self.engine = plain if both else _choose_engine(plain, self.intervention, first)
            self.allowance.fit_images(self.engine.bytes_per_image, batch.image.device)
        return self.engine

    def plain(self, batch: Batch) -> Plain:
        """Whole forward passes, with the site's value as the intervention sees it, found by the first batch."""
        if not self._presented:
            self.site = presented_site(self.classifier, self.intervention, tuple(batch.image.shape[1:]))
            self._presented = True
        if self._second is not None:
            other = self._second.plain(batch)
            return JointPasses(self.classifier, self.site, self.intervention, other, self._second.context)
        if self._through is not None:
            return PathPasses(self.classifier, self.site, self._through)
        return (Shortened if self.intervention.shortens else Plain)(self.classifier, self.site)

    @torch.no_grad()
    def context(
        self, engine: Incremental | Plain, batch: Batch, progress: Callable[[int], None] | None = None
    ) -> Context:
        """The condition of edits on a batch, with the site's value of what the intervention asks for.

        Its reference is the mean over `Intervention.references`, found once. `progress` counts forward passes, those of
        the references once.
        """
        if self._reference_passes is None:
            self._reference, self._reference_passes = self._mean(engine, batch)
        if progress is not None:
            progress(self._reference_passes)
            self._reference_passes = 0
        images = self.intervention.sources(batch)
        if images is None:
            return Context(batch, self.classifier, None, self._reference)
        if images.shape != batch.image.shape:
            raise ValueError(
                f"sources must be an image for each of the batch, shape {tuple(batch.image.shape)}, "
                f"got shape {tuple(images.shape)}."
            )
        source = self._values(engine, images.to(batch.image), progress or (lambda passes: None))
        return Context(batch, self.classifier, source, self._reference)

    def _mean(self, engine: Incremental | Plain, batch: Batch) -> tuple[Tensor | None, int]:
        """The mean of the site's value over the references, and the forward passes that it took."""
        images = self.intervention.references()
        if images is None:
            return None, 0
        if images.ndim != 4 or len(images) == 0 or images.shape[1:] != batch.image.shape[1:]:
            raise ValueError(
                f"references must be images of the shape of those of the batch, {tuple(batch.image.shape[1:])}, "
                f"got shape {tuple(images.shape)}."
            )
        passes: list[int] = []
        parts = [self._values(engine, part.to(batch.image), passes.append) for part in torch.split(images, FIRST)]
        total = torch.stack([part.double().sum(0) for part in parts]).sum(0)
        return (total / len(images)).to(parts[0].dtype), sum(passes)

    def _values(self, engine: Incremental | Plain, images: Tensor, progress: Callable[[int], None]) -> Tensor:
        """The site's value for these images; at the input it is they."""
        if self.site is None:
            return images
        progress(len(images))
        return engine.clean(images).site

    @torch.no_grad()
    def units(self, batch: Batch) -> tuple[str, ...]:
        """Names of the units, in the order of their numbers, found by the first image of a batch."""
        with evaluating(self.classifier):
            clean: Any = self.prepare(batch).clean(batch.image[:1])
        return self.intervention.units(tuple(clean.site.shape[1:]))

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
        control, treated = (torch.cat([getattr(p, name) for p in parts]) for name in ("control", "treated"))
        return Outcome(units, control, treated, sum(part.skipped for part in parts))

    def _part(self, engine: Incremental | Plain, batch: Batch, progress: Callable[[int], None]) -> Outcome:
        clean: Any = engine.clean(batch.image)  # the engine's own
        progress(len(batch.image))
        shape = tuple(clean.site.shape[1:])
        units = self.intervention.units(shape)
        treated = clean.control.unsqueeze(1).repeat(1, len(units), 1)
        pending = all_pairs(self.intervention, units, batch.sample.tolist(), shape)
        context = self.context(engine, batch, progress)
        skipped = 0
        while pending:
            pairs = pending.pop()
            if len(pairs) > self.allowance.pairs:
                pending.extend(pairs.split(self.allowance.pairs, shape))
                continue
            try:
                edit = engine.edit(clean, pairs, self.intervention, context)
                changed = edit.changed.nonzero().flatten().cpu().numpy()
                left = pairs.chosen(changed)
                if len(left):
                    treated[left.image, left.unit] = engine.run(clean, left, edit.chosen(changed), context)
            except (MemoryError, RuntimeError) as error:
                if len(pairs) == 1 or not is_out_of_memory(error):
                    raise
                self.allowance.halve(len(pairs))
                pending.append(pairs)
                continue
            skipped += len(pairs) - len(left)
            self.allowance.fit_pairs(engine.bytes_per_pair, batch.image.device)
            progress(len(left))
        return Outcome(units, clean.control, treated, skipped)


class CachedPropagation:
    """Gives the Propagation of the last call if the classifier is still the same, since it takes a while to set up.

    A change of weights in place, new weights and another device are noticed; a write through `.data` is not.
    """

    def __init__(self, intervention: Intervention, chunk: int | str = "auto") -> None:
        self.intervention = intervention
        self.chunk = chunk
        self._cached: Propagation | None = None
        self.stamp = 0  # of the weights that it was made for

    def __call__(self, classifier: Classifier) -> Propagation:
        stamp = weights_stamp(classifier)
        if self._cached is None or self._cached.classifier is not classifier or self.stamp != stamp:
            self._cached, self.stamp = Propagation(classifier, self.intervention, self.chunk), stamp
        return self._cached


def weights_stamp(classifier: Classifier) -> int:
    """A number that a change of weights, or another classifier, would change; a write through `.data` does not."""
    weights = classifier.state_dict(keep_vars=True).values()
    return hash((id(classifier), *((tensor.data_ptr(), tensor._version) for tensor in weights)))


def _choose_engine(plain: Plain, intervention: Intervention, context: Context) -> Incremental | Plain:
    """The fastest engine that agrees with the plain forward pass on one unit, in a context of one image."""
    if intervention.shortens:
        return plain
    classifier, site = plain.classifier, plain.site
    clean = plain.clean(context.batch.image)
    shape = tuple(clean.site.shape[1:])
    streams = all_pairs(intervention, intervention.units(shape), context.batch.sample.tolist(), shape)
    if not streams:
        return plain
    pairs = streams[0].chosen(np.full(2, len(streams[0]) // 2))  # twice, so that edits outnumber the images
    edited = edit_of(pairs, intervention, clean.site, context, local=False).value
    assert isinstance(edited, Tensor)
    beside = torch.cat([clean.site, edited, -clean.site])  # the last only keeps the others company
    expected = plain.forward(context.batch.image.repeat(4, 1, 1, 1), beside)[:3]
    if not _agree(clean.control, expected[:1], classifier.task):
        change = (clean.control - expected[:1]).abs().max().item()
        raise ValueError(
            "the classifier's output for an image must not depend on the other images of its batch, but it does, by "
            f"{change:.2g} in a logit. Look for normalisation over the batch, or for weights that blow up rounding."
        )
    try:
        for engine, tolerance in _incremental(classifier, site):
            background = engine.clean(context.batch.image)
            got = torch.cat([background.control, engine.treated(background, pairs, intervention, context)])
            if _agree(got, expected, classifier.task, tolerance):
                return engine
        reason = "the traced model gives other logits"
    except Exception as error:  # the plain pass has succeeded, so the model is sound and only the engine is at a loss
        reason = f"{type(error).__name__}: {error}"
    log.warning("the model is run in full for every edit, which is exact but slow: %s.", reason)
    return plain


def _refuse_batch_statistics(classifier: Classifier) -> None:
    """Raise if a batch-norm of the classifier normalises with the batch's own statistics in eval mode."""
    for name, module in classifier.network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"the classifier's output for an image must not depend on the other images of its batch, but {name!r} "
                "keeps no running statistics. Train it with track_running_stats=True."
            )


def _incremental(classifier: Classifier, site: Site | None) -> Iterator[tuple[Incremental, float]]:
    """Engines, fastest first, and the difference in probability up to which each is accepted."""
    on_processor = classifier.mean.device.type == "cpu"
    for fold, tolerance in ((True, 1e-5), (False, 1.0)):
        graph = take_splits_apart(trace(classifier, site))
        if fold:
            graph = fold_batch_norm(graph)
        if on_processor:
            graph = lay_out_channels_last(graph)
        yield Incremental(graph, torch.channels_last if on_processor else torch.contiguous_format), tolerance


def _agree(got: Tensor, expected: Tensor, task: Task, tolerance: float = 1.0) -> bool:
    """Equal but for rounding: to 1e-4 of the largest logit in single precision, and to a tolerance in probability."""
    precision = max(1e-4, 32 * torch.finfo(expected.dtype).eps)
    atol = precision * expected.nan_to_num().abs().max().clamp_min(1e-3).item()
    if got.shape != expected.shape or not torch.allclose(got, expected, rtol=0, atol=atol, equal_nan=True):
        return False
    change = task.probability(got.float()) - task.probability(expected.float())
    return not change.abs().max().item() > tolerance
