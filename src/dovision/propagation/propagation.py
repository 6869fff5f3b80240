"""Logits of a classifier on a batch of images, before and after each unit of an intervention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier, Context, Intervention
from dovision.module_state import evaluating
from dovision.propagation.chunking import ENOUGH_ROWS, FIRST, PassLimits, is_out_of_memory
from dovision.propagation.edits import Edit, Pairs, all_pairs
from dovision.propagation.engine_choice import SiteEngines, check_company, choose_engine, engines_at
from dovision.propagation.incremental import Incremental
from dovision.propagation.operations import Operations
from dovision.propagation.sites import find_site
from dovision.propagation.spans import Index
from dovision.propagation.weights_stamp import weights_stamp
from dovision.propagation.whole_passes import JointPasses, Shortened, WholePasses
from dovision.types import INPUT, Batch

LITTLE = 5 * 10**9  # operations of the whole passes of a call up to which these take less time than a trace


class Outcome(NamedTuple):
    """Logits without and with each edit."""

    units: tuple[str, ...]
    control: Tensor  # (B, K) logits of the classifier on the images as they are
    treated: Tensor  # (B, U, K) logits after do(unit); equal to control where the edit changes nothing
    skipped: int = 0  # edits that change no bit of the site's value, and took no pass

    @classmethod
    def of_batches(cls, outcomes: Sequence[Outcome]) -> Outcome:
        """One outcome of the images of several, in their order."""
        control, treated = (torch.cat([getattr(one, name) for one in outcomes]) for name in ("control", "treated"))
        return cls(outcomes[0].units, control, treated, sum(one.skipped for one in outcomes))


class Propagation:
    """Run a classifier once unedited, then recompute what descends from the edit of each unit of an intervention.

    An edit that leaves the site's value as it is, bit for bit, takes no pass: its logits are those of the control.
    The first call chooses the engine (see `engine_choice`), which traces the classifier and makes folded copies of its
    weights; a Propagation of the same classifier and site takes what an earlier one has chosen. After a change of the
    classifier's weights, its layers or its device, make a new Propagation. Images of another size or type get an
    engine of their own. The classifier itself is left as it is. On CUDA, cuDNN rounds what a convolution is given to
    10 bits unless `torch.backends.cudnn.allow_tf32` is False; set it to have differences that are exact to 1e-5.

    Args:
        classifier: put into eval mode while it runs, and back; calls from several threads take turns.
        intervention: what is done, and at which site.
        chunk: (image, unit) pairs that share one pass, at least 16; "auto" follows from the shapes of the values. The
            outcome does not depend on it but in the last bits, where a kernel rounds a row differently in a pass of
            another size: logits of ResNet-18 and DenseNet-121 differ by up to 3e-6. So the chunk is part of a run.

    Raises:
        ValueError: the site is not in the classifier (the error lists the nearest names), or runs more than once; the
            layout of its value is not known, or has no such units; the classifier's output for an image depends on
            the batch; a region lies outside the site's value; or a batch has no image.
    """

    def __init__(self, classifier: Classifier, intervention: Intervention, chunk: int | str = "auto") -> None:
        self.classifier = classifier
        self.intervention = intervention
        self.site = find_site(classifier, intervention.site)
        self._second = None if intervention.second is None else Propagation(classifier, intervention.second)
        limit = None if chunk == "auto" else checks.positive_int("chunk", chunk, checks.MOST_IMAGES)
        self.allowance = PassLimits(limit)
        self.engine: Incremental | WholePasses | None = None
        self._engines: SiteEngines | None = None
        self._made_for: tuple[object, ...] | None = None  # shape, type and device of an image
        self._reference: Tensor | None = None
        self._reference_passes: int | None = None  # not counted yet; None before they were made
        for name, module in classifier.network.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
                raise ValueError(
                    "the classifier's output for an image must not depend on the other images of its batch, but "
                    f"{name!r} keeps no running statistics. Train it with track_running_stats=True."
                )

    @torch.no_grad()
    def __call__(self, batch: Batch, progress: Callable[[int], None] = lambda passes: None) -> Outcome:
        """The outcome on a batch; `progress` counts forward passes (one image each) as they are done."""
        with evaluating(self.classifier):
            return self._run(self.prepare(batch), batch, progress)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Incremental | WholePasses:
        """Choose the engine, once, by the first image that has a unit."""
        self._fit(batch.image)
        if self.engine is None:
            with evaluating(self.classifier):
                whole_passes = self.whole_passes(batch)
                if self.intervention.shortens or self.intervention.second is not None:
                    clean = whole_passes.clean(batch.image[:1])
                    check_company(whole_passes, clean.site, clean.control, batch.image[:1])
                    self.engine = whole_passes
                assert self._engines is not None
                for row in range(len(batch.image)):
                    if self.engine is None:
                        alone = self.context(whole_passes, batch.rows(slice(row, row + 1)))
                        choice = choose_engine(self._engines, whole_passes, self.intervention, alone)
                        self.engine, self.allowance.tried = choice
                if self.engine is None:  # no image has a unit
                    return whole_passes
            self.allowance.fit_images(self.engine.bytes_per_image, batch.image.device)
        return self.engine

    @torch.no_grad()
    def prepare_for_call(self, batch: Batch, control: Tensor, operations: Operations) -> None:
        """Take whole passes where a trace and a trial would take longer; otherwise the first call chooses.

        What was called before does not count: the same call gives the same bits each time, in each thread.

        Args:
            batch: all images of the call.
            control: logits of the first, shape (1, K).
            operations: of the classifier's pass on it.
        """
        self._fit(batch.image)
        edit, image = self.intervention, batch.image[:1]
        if edit.site != INPUT or edit.shortens or edit.second is not None:
            return
        if len(batch.image) * len(edit.units(tuple(image.shape[1:]))) * operations.number <= LITTLE:
            engine = WholePasses(self.classifier, None)
            with evaluating(self.classifier):
                check_company(engine, image, control, image)
            engine.bytes_per_row = operations.largest if image.is_cpu else 0
            self.engine = engine

    def _fit(self, image: Tensor) -> None:
        """Reset the engine for images of another size, type or device."""
        if len(image) == 0:
            raise ValueError(f"batch must hold at least one image, got images of shape {tuple(image.shape)}.")
        made_for = tuple(image.shape[1:]), image.dtype, image.device
        if made_for != self._made_for:
            self.site = find_site(self.classifier, self.intervention.site)
            self.engine = self._engines = self._reference = self._reference_passes = None
            self._made_for = made_for

    def whole_passes(self, batch: Batch) -> WholePasses:
        """Whole forward passes, with the site's value as the intervention sees it."""
        self._fit(batch.image)
        if self._engines is None:
            with evaluating(self.classifier):
                shape = tuple(batch.image.shape[1:])
                self._engines = engines_at(self.classifier, self.intervention, shape)
            self.site = self._engines.site
        if self._second is not None:
            other = self._second.whole_passes(batch)
            return JointPasses(self.classifier, self.site, self.intervention, other)
        return (Shortened if self.intervention.shortens else WholePasses)(self.classifier, self.site)

    @torch.no_grad()
    def context(
        self, engine: Incremental | WholePasses, batch: Batch, progress: Callable[[int], None] | None = None
    ) -> Context:
        """The condition of edits on a batch, with the source values that the intervention asks for.

        Its reference is the mean over `Intervention.references`, found once. `progress` counts forward passes, those of
        the references once.
        """
        batch = batch._replace(sample=batch.sample.cpu())  # each do() reads the numbers, and would wait for a device
        if isinstance(engine, JointPasses) and self._second is not None:
            engine.held_context = self._second.context(engine.other, batch, progress)
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

    def _mean(self, engine: Incremental | WholePasses, batch: Batch) -> tuple[Tensor | None, int]:
        """Mean of the site's value over the reference images, and the number of forward passes for it."""
        images = self.intervention.references()
        if images is None:
            return None, 0
        if images.ndim != 4 or len(images) == 0 or images.shape[1:] != batch.image.shape[1:]:
            raise ValueError(
                f"references must be images of the shape of those of the batch, {tuple(batch.image.shape[1:])}, "
                f"got shape {tuple(images.shape)}."
            )
        passes: list[int] = []
        values = [self._values(engine, some.to(batch.image), passes.append) for some in torch.split(images, FIRST)]
        total = torch.stack([value.double().sum(0) for value in values]).sum(0)
        return (total / len(images)).to(values[0].dtype), sum(passes)

    def _values(self, engine: Incremental | WholePasses, images: Tensor, progress: Callable[[int], None]) -> Tensor:
        """The site's value for these images; at the input, the images."""
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

    def _run(self, engine: Incremental | WholePasses, batch: Batch, progress: Callable[[int], None]) -> Outcome:
        """Run a batch, as many images at a time as memory allows."""
        self.allowance.begin()
        if isinstance(engine, WholePasses):
            self.allowance.fit_whole_passes(engine.bytes_per_row, batch.image.device)
        else:
            self.allowance.fit_pairs(self.allowance.tried, batch.image.device)
        images = len(batch.image)
        rows = np.array_split(np.arange(images), -(-images // self.allowance.images))
        batches = (batch.rows(slice(some[0], some[-1] + 1)) for some in rows)
        return Outcome.of_batches([self._passes(engine, some, progress) for some in batches])

    def _passes(self, engine: Incremental | WholePasses, batch: Batch, progress: Callable[[int], None]) -> Outcome:
        """Passes over all units of each image."""
        clean: Any = engine.clean(batch.image)  # the engine's own
        progress(len(batch.image))
        shape = tuple(clean.site.shape[1:])
        units = self.intervention.units(shape)
        treated = clean.control.unsqueeze(1).repeat(1, len(units), 1)
        context = self.context(engine, batch, progress)
        edited = EditedPasses(engine, clean, self.intervention, context, self.allowance, progress)
        streams = all_pairs(self.intervention, units, context.batch.sample.tolist(), shape)
        for stream in streams:
            for pairs, logits in edited.logits(stream):
                treated.view(-1, logits.shape[1])[pairs.image * len(units) + pairs.unit] = logits  # of one upload
        return Outcome(units, clean.control, treated, sum(map(len, streams)) - edited.made)


class CachedPropagation:
    """Cache of the Propagation of the last call, reused as long as the classifier is the same.

    Changes of the classifier are noticed, see `weights_stamp`.
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

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is derived from the classifier: it would be copied too, and may hold lambdas."""
        return {**self.__dict__, "_cached": None}


@dataclass(eq=False)
class EditedPasses:
    """Passes over the edits of some images, without edits that change no bit of the site's value.

    Those are left out before passes are filled. Passes that become short repeat rows, so that the others keep their
    bits; repeated rows do not count as forward passes.

    Args:
        engine: that runs them.
        clean: the engine's pass on the images as they are.
        intervention: whose edits they are.
        context: of the images.
        allowance: limits on the pairs of a pass.
        progress: counts forward passes as they are done.
    """

    engine: Incremental | WholePasses
    clean: Any
    intervention: Intervention
    context: Context
    allowance: PassLimits
    progress: Callable[[int], None]
    made: int = 0  # edits so far

    def __post_init__(self) -> None:
        site = self.clean.site
        canvas = self.intervention.canvas(site, self.context)
        # A canvas that cannot be is reported unit by unit, by `checked_do`.
        if canvas is not None and canvas.shape == site.shape and not (site.is_cpu and canvas.isnan().any()):
            self.context = self.context._replace(canvas=(canvas.to(site), self.context.batch.sample.tolist()))
        unchanged = self.intervention.unchanged(site)
        self._unchanged = None if unchanged is None else unchanged.cpu().numpy()  # (B, U)

    def logits(self, stream: Pairs) -> Iterator[tuple[Pairs, Tensor]]:
        """Yield changed pairs, some at a time, with their logits, shape (P, K)."""
        unchanged = self._unchanged
        pending = [stream if unchanged is None else stream.chosen(~unchanged[stream.image, stream.unit])]
        while pending:
            pairs = pending.pop()
            limit = self.allowance.compared(local=pairs.box is not None and self.clean.site.ndim == 4)
            if len(pairs) > limit:
                pending.extend(pairs.batches(limit))
            elif len(pairs):
                try:
                    edit = self.engine.edit(self.clean, pairs, self.intervention, self.context)
                except (MemoryError, RuntimeError) as error:
                    self._make_room(error, len(pairs))
                    pending.append(pairs)
                else:
                    yield from self._run(pairs, edit, len(stream))

    def _run(self, pairs: Pairs, edit: Edit, stream: int) -> Iterator[tuple[Pairs, Tensor]]:
        """Run the changed pairs of a chunk; unchanged ones take no pass."""
        pending = [np.flatnonzero(edit.changed.cpu().numpy())]
        fewer = self._unchanged is not None or len(pending[0]) < len(pairs)
        while pending:
            chunk = pending.pop()
            passes = self.allowance.passes(len(chunk))
            if passes > 1:
                pending.extend(np.array_split(chunk, passes))
            elif len(chunk):
                least = min(ENOUGH_ROWS, stream // self.allowance.passes(stream)) if fewer else 1  # of a pass
                rows: Index = np.resize(chunk, max(len(chunk), least))
                try:
                    logits = self.engine.run(self.clean, pairs.chosen(rows), edit.chosen(rows), self.context)
                except (MemoryError, RuntimeError) as error:
                    self._make_room(error, len(rows))
                    pending.append(chunk)
                    continue
                self.allowance.fit_pairs(self.engine.bytes_per_pair, logits.device)
                self.made += len(chunk)
                self.progress(len(chunk))
                yield pairs.chosen(chunk), logits[: len(chunk)]

    def _make_room(self, error: Exception, pairs: int) -> None:
        """Reduce the pairs of a pass after running out of memory; raise any other error."""
        if pairs == 1 or not is_out_of_memory(error):
            raise error
        self.allowance.halve(pairs)
