"""Select the engine that runs a classifier: the fastest that agrees with the plain forward pass on one edit."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation.edits import all_pairs, whole_values
from dovision.propagation.graph_passes import fold_batch_norm, lay_out_channels_last, take_splits_apart
from dovision.propagation.incremental import Incremental
from dovision.propagation.plain import Plain
from dovision.propagation.tracing import trace
from dovision.types import Task

log = logging.getLogger(__name__)


def choose_engine(
    classifier: Classifier, site: nn.Module | None, intervention: Intervention, context: Context
) -> Incremental | Plain:
    """The engine for this classifier and site, tried on one unit in a context of one image.

    Raises:
        ValueError: the classifier's output for an image depends on the batch; the site cannot be edited.
    """
    plain = Plain(classifier, site)
    clean = plain.clean(context.batch.image)
    shape = tuple(clean.site.shape[1:])
    streams = all_pairs(intervention, intervention.units(shape), context.batch.sample.tolist(), shape)
    if not streams:
        return plain
    pairs = streams[0].chosen(np.full(2, len(streams[0]) // 2))  # twice, so that edits outnumber the images
    edited = whole_values(pairs, intervention, clean.site, context)
    beside = torch.cat([clean.site, edited, -clean.site])  # the last only keeps the others company
    expected = plain.forward(context.batch.image.repeat(4, 1, 1, 1), beside)[:3]
    if not _close(clean.control, expected[:1]):
        change = (clean.control - expected[:1]).abs().max().item()
        raise ValueError(
            "the classifier's output for an image must not depend on the other images of its batch, but it does, by "
            f"{change:.2g} in a logit. Look for normalisation over the batch, or for weights that blow up rounding."
        )
    try:
        for engine, tolerance in _incremental(classifier, site):
            background = engine.clean(context.batch.image)
            got = torch.cat([background.control, engine.treated(background, pairs, intervention, context)])
            if _close(got, expected) and not _difference(got, expected, classifier.task) > tolerance:
                return engine
        reason = "the traced model gives other logits"
    except Exception as error:  # the plain pass has succeeded, so the model is sound and only the engine is at a loss
        reason = f"{type(error).__name__}: {error}"
    log.warning("the model is run in full for every edit, which is exact but slow: %s.", reason)
    return plain


def refuse_batch_statistics(classifier: Classifier) -> None:
    """Raise if a batch-norm of the classifier normalises with the batch's own statistics in eval mode."""
    for name, module in classifier.network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"the classifier's output for an image must not depend on the other images of its batch, but {name!r} "
                "keeps no running statistics. Train it with track_running_stats=True."
            )


def _incremental(classifier: Classifier, site: nn.Module | None) -> Iterator[tuple[Incremental, float]]:
    """Engines, fastest first, and the difference in probability up to which each is accepted."""
    on_processor = classifier.mean.device.type == "cpu"
    for fold, tolerance in ((True, 1e-5), (False, 1.0)):
        graph = take_splits_apart(trace(classifier, site))
        if fold:
            graph = fold_batch_norm(graph)
        if on_processor:
            graph = lay_out_channels_last(graph)
        yield Incremental(graph, torch.channels_last if on_processor else torch.contiguous_format), tolerance


def _close(got: Tensor, expected: Tensor) -> bool:
    """Equal but for rounding: to 1e-4 of the largest logit in single precision."""
    precision = max(1e-4, 32 * torch.finfo(expected.dtype).eps)
    largest = expected.nan_to_num().abs().max().clamp_min(1e-3).item()
    return got.shape == expected.shape and torch.allclose(
        got, expected, rtol=0, atol=precision * largest, equal_nan=True
    )


def _difference(got: Tensor, expected: Tensor, task: Task) -> float:
    """The largest difference in probability."""
    return (task.probability(got.float()) - task.probability(expected.float())).abs().max().item()
