"""Choice of the engine for a site of a classifier, kept for as long as the classifier lives and stays as it is."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation.edits import Pairs, all_pairs, edit_of
from dovision.propagation.graph_passes import (
    compute_constants,
    fold_batch_norm,
    join_channel_shuffle,
    lay_out_channels_last,
    take_splits_apart,
)
from dovision.propagation.incremental import Incremental
from dovision.propagation.layouts import presented_site
from dovision.propagation.plain import CleanPass, Plain
from dovision.propagation.sites import Site
from dovision.propagation.tracing import trace
from dovision.propagation.weights_stamp import weights_stamp
from dovision.types import INPUT, Shape, Task

log = logging.getLogger(__name__)

SITES = 4  # of a classifier that are kept; each holds copies of the convolutions' weights
WORTH_IT = 0.9  # the share of the operations of whole passes up to which incremental ones are taken
_Region = tuple[int, ...] | None


@dataclass(eq=False)
class KnownSite:
    """A site of a classifier as an intervention sees it, and the engines that were chosen for edits there."""

    site: Site | None  # with its layout; None: the input
    shape: Shape | None = None  # of its value, once an engine was chosen
    engines: list[tuple[Incremental, float]] = field(default_factory=list)
    chosen: dict[_Region, Incremental | None] = field(default_factory=dict)  # by the region edited; None: whole passes
    saved: dict[_Region, float] = field(default_factory=dict)  # share of the operations of whole passes, likewise
    reason: str = ""  # why no incremental engine could be made for the region tried last
    bytes_per_row: int = 0  # at the peak of a pass that computes all


_KNOWN: MutableMapping[Classifier, tuple[int, OrderedDict[Any, KnownSite]]] = WeakKeyDictionary()


def known_site(classifier: Classifier, intervention: Intervention, shape: Shape) -> KnownSite:
    """The site of an intervention, from an earlier call if the classifier has not changed since.

    A change of weights, buffers, modules, hooks, device or type is noticed, see `weights_stamp`. Called by one thread
    at a time (see `evaluating`). Nothing that is kept refers to the classifier.

    Args:
        classifier: in eval mode.
        intervention: whose site it is.
        shape: (C, H, W) of the images.

    Raises:
        ValueError: as `presented_site`.
    """
    stamp = weights_stamp(classifier)
    before, sites = _KNOWN.get(classifier, (stamp, OrderedDict()))
    if before != stamp:
        sites = OrderedDict()
    device = classifier.mean.device.type
    mixed = device != "meta" and torch.is_autocast_enabled(device)
    autocast = torch.get_autocast_dtype(device) if mixed else None
    key = (intervention.site, intervention.unit, intervention.layout, shape, autocast)
    if key not in sites:
        sites[key] = KnownSite(presented_site(classifier, intervention, shape))
    sites.move_to_end(key)
    while len(sites) > SITES:
        sites.popitem(last=False)
    _KNOWN[classifier] = stamp, sites
    return sites[key]


def choose_engine(known: KnownSite, plain: Plain, intervention: Intervention, context: Context) -> Incremental | Plain:
    """The engine that takes fewest operations, of those that agree with the plain forward pass on the middle unit.

    The incremental one is taken where it saves a tenth of the multiply-adds of whole passes, counted on that unit: a
    clock would choose now one, now the other, and the last bits of the outcome with it. An edit of the same region was
    tried once for all interventions at the site.

    Args:
        known: the site.
        plain: whole passes with its value.
        intervention: whose middle unit is tried.
        context: of one image.

    Raises:
        ValueError: the classifier's output for an image depends on the other images of its batch.
    """
    clean = plain.clean(context.batch.image) if known.shape is None else None
    shape = known.shape = tuple(clean.site.shape[1:]) if clean is not None else known.shape or ()
    streams = all_pairs(intervention, intervention.units(shape), context.batch.sample.tolist(), shape)
    if not streams:
        return plain
    pairs = streams[0].chosen(np.full(2, len(streams[0]) // 2))  # twice, so that edits outnumber the images
    region = None if pairs.box is None else tuple(pairs.box[0].tolist())
    if region not in known.chosen:
        clean = plain.clean(context.batch.image) if clean is None else clean
        known.chosen[region], known.saved[region] = _try(known, plain, clean, pairs, intervention, context)
        _log_choice(known, region)
    plain.bytes_per_row = known.bytes_per_row
    return known.chosen[region] or plain


def _try(
    known: KnownSite, plain: Plain, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context
) -> tuple[Incremental | None, float]:
    """The incremental engine if it agrees on a pair, given twice, with the plain pass, and saves operations.

    With it comes the share of the operations of whole passes that it saves, or would save.
    """
    classifier, known.reason = plain.classifier, ""
    with _Operations() as edit:  # which both engines make
        edited = edit_of(pairs, intervention, clean.site, context, local=False).value
    assert isinstance(edited, Tensor)
    beside = torch.cat([clean.site, edited, -clean.site])  # the last only keeps the others company
    with _Operations() as whole:
        expected = plain.forward(context.batch.image.repeat(4, 1, 1, 1), beside)[:3]
    if not _agree(clean.control, expected[:1], classifier.task):
        change = (clean.control - expected[:1]).abs().max().item()
        raise ValueError(
            "the classifier's output for an image must not depend on the other images of its batch, but it does, by "
            f"{change:.2g} in a logit. Look for normalisation over the batch, or for weights that blow up rounding."
        )
    try:
        for engine, tolerance in _engines(known, classifier, context.batch.image):
            background = engine.clean(context.batch.image)
            with _Operations() as part:
                treated = engine.treated(background, pairs, intervention, context)
            if _agree(torch.cat([background.control, treated]), expected, classifier.task, tolerance):
                share = 2 * part.number / max(1, whole.number + 2 * edit.number)
                if share <= WORTH_IT:
                    return engine, 1 - share
                known.bytes_per_row = max(known.bytes_per_row, engine.bytes_per_pair)
                return None, 1 - share
        known.reason = "the traced model gives other logits"
    except Exception as error:  # the plain pass has succeeded, so the model is sound and only the engine is at a loss
        known.reason = f"{type(error).__name__}: {error}"
    return None, 0.0


def _log_choice(known: KnownSite, region: _Region) -> None:
    """Say once for a region how its edits are run, and what that saves."""
    if known.reason:
        log.warning("the model is run in full for every edit, which is exact but slow: %s.", known.reason)
        return
    how = "incrementally, which saves" if known.chosen[region] else "in full, since incrementally would save only"
    of = "of the whole value" if region is None else "of such regions"
    log.info("edits %s at %s are run %s %.0f %% of the operations.", of, _name(known), how, 100 * known.saved[region])


def _name(known: KnownSite) -> str:
    return INPUT if known.site is None else repr(known.site.name)


def _engines(known: KnownSite, classifier: Classifier, image: Tensor) -> Iterator[tuple[Incremental, float]]:
    """Engines, fastest first, and the difference in probability up to which each is accepted; each traced once."""
    on_processor = classifier.mean.device.type == "cpu"
    for number, (fold, tolerance) in enumerate(((True, 1e-5), (False, 1.0))):
        if number == len(known.engines):
            graph = compute_constants(trace(classifier, known.site, image))
            graph = join_channel_shuffle(take_splits_apart(graph))
            if fold:
                graph = fold_batch_norm(graph)
            if on_processor:
                graph = lay_out_channels_last(graph)
            layout = torch.channels_last if on_processor else torch.contiguous_format
            known.engines.append((Incremental(graph, layout), tolerance))
        yield known.engines[number]


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-adds of convolutions and matrix products in a block, in this thread."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.OpOverload) and func._overloadpacket not in flop_registry:
            with self:  # in inference mode, composites come as one
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        result = func(*args, **kwargs)
        count = flop_registry.get(getattr(func, "_overloadpacket", None))
        self.number += 0 if count is None else count(*args, **kwargs, out_val=result)
        return result


def _agree(got: Tensor, expected: Tensor, task: Task, tolerance: float = 1.0) -> bool:
    """Equal but for rounding: to 1e-4 of the largest logit in single precision, and to a tolerance in probability."""
    precision = max(1e-4, 32 * torch.finfo(expected.dtype).eps)
    atol = precision * expected.nan_to_num().abs().max().clamp_min(1e-3).item()
    if got.shape != expected.shape or not torch.allclose(got, expected, rtol=0, atol=atol, equal_nan=True):
        return False
    change = task.probability(got.float()) - task.probability(expected.float())
    return not change.abs().max().item() > tolerance
