"""Choice of the engine for a site of a classifier, kept for as long as the classifier lives and stays as it is."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from dovision.functional import logit_checks
from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation.edits import Pairs, all_pairs, edit_of
from dovision.propagation.graph import Graph
from dovision.propagation.graph_passes import (
    compute_constants,
    drop_identities,
    fold_batch_norm,
    join_channel_shuffle,
    lay_out_channels_last,
    take_splits_apart,
)
from dovision.propagation.incremental import Incremental
from dovision.propagation.kernels.packed_linear import LEAST_ROWS, can_pack
from dovision.propagation.kernels.passes import pack_attention, pack_linear
from dovision.propagation.layouts import presented_site
from dovision.propagation.operations import Operations
from dovision.propagation.sites import Site
from dovision.propagation.tracing import trace
from dovision.propagation.weights_stamp import weights_stamp
from dovision.propagation.whole_passes import WholePasses
from dovision.types import INPUT, Shape

log = logging.getLogger(__name__)

SITES = 4  # of a classifier that are kept; each holds copies of the convolutions' weights
WORTH_IT = 0.9  # the share of the operations of whole passes up to which incremental ones are taken
TUNED = 0.8  # time of a traced convolution, in channels_last and with its batch-norm, over the classifier's own
PACKED = 0.87  # time of a linear layer with packed weights and its activation, likewise; with MKL .9 to 1
TOLERANCES = (1e-5, 1e-5, 1.0)  # of an engine, in probability: with all graph passes, without other kernels, with none
_Region = tuple[int, ...] | None


@dataclass(eq=False)
class SiteEngines:
    """A site of a classifier as an intervention sees it, and the engines that were chosen for edits there."""

    site: Site | None  # with its layout; None: the input
    shape: Shape | None = None  # of its value, once an engine was chosen
    made: list[Incremental] = field(default_factory=list)
    chosen: dict[_Region, Incremental | None] = field(default_factory=dict)  # by the region edited; None: whole passes
    saved: dict[_Region, float] = field(default_factory=dict)  # share of the operations of whole passes, likewise
    bytes_per_pair: dict[_Region, int] = field(default_factory=dict)  # in the trial of that engine, likewise
    reason: str = ""  # why no incremental engine could be made for the region tried last
    whole: Operations = field(default_factory=Operations)  # of the classifier's pass on one image
    layout: torch.memory_format = torch.contiguous_format  # of whole passes


_ENGINES: MutableMapping[Classifier, tuple[int, OrderedDict[Any, SiteEngines]]] = WeakKeyDictionary()


def engines_at(classifier: Classifier, intervention: Intervention, shape: Shape) -> SiteEngines:
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
    before, sites = _ENGINES.get(classifier, (stamp, OrderedDict()))
    if before != stamp:
        sites = OrderedDict()
    device = classifier.mean.device.type
    mixed = device != "meta" and torch.is_autocast_enabled(device)
    autocast = torch.get_autocast_dtype(device) if mixed else None
    key = (intervention.site, intervention.unit, intervention.layout, shape, autocast)
    if key not in sites:
        sites[key] = SiteEngines(presented_site(classifier, intervention, shape))
    sites.move_to_end(key)
    while len(sites) > SITES:
        sites.popitem(last=False)
    _ENGINES[classifier] = stamp, sites
    return sites[key]


def choose_engine(
    engines: SiteEngines, whole_passes: WholePasses, intervention: Intervention, context: Context
) -> tuple[Incremental | WholePasses | None, int]:
    """The engine with the least operations that agrees with the plain pass on the middle unit, and its bytes per pair.

    None if the image has no unit. The bytes are those of the trial, 0 for whole passes.

    The incremental one is taken where it saves a tenth of the multiply-adds of whole passes, counted on that unit, or
    as much by faster kernels: a clock would choose now one, now the other, and the last bits of the outcome with it.
    An edit of the same region was tried once for all interventions at the site.

    Args:
        engines: the site.
        whole_passes: with its value.
        intervention: whose middle unit is tried.
        context: of one image.

    Raises:
        ValueError: the classifier's output for an image depends on its batch.
    """
    image = context.batch.image
    value = image if whole_passes.site is None else None
    if value is None and engines.shape is None:
        value = whole_passes.clean(image).site
    shape = engines.shape = tuple(value.shape[1:]) if value is not None else engines.shape or ()
    streams = all_pairs(intervention, intervention.units(shape), context.batch.sample.tolist(), shape)
    if not streams:
        return None, 0
    pairs = _several(streams[0])
    region = None if pairs.box is None else tuple(pairs.box[-1].tolist())
    if region not in engines.chosen:
        value = whole_passes.clean(image).site if value is None else value
        engines.chosen[region], engines.saved[region] = _try(engines, whole_passes, value, pairs, intervention, context)
        engines.layout = whole_passes.layout
        engine = engines.chosen[region]
        engines.bytes_per_pair[region] = 0 if engine is None else engine.bytes_per_pair
        _log_choice(engines, region)
    if image.device.type == "cpu" and type(whole_passes) is WholePasses:
        whole_passes.bytes_per_row, whole_passes.layout = engines.whole.largest, engines.layout
    return engines.chosen[region] or whole_passes, engines.bytes_per_pair[region]


def _try(
    engines: SiteEngines,
    whole_passes: WholePasses,
    value: Tensor,
    pairs: Pairs,
    intervention: Intervention,
    context: Context,
) -> tuple[Incremental | None, float]:
    """The incremental engine, if it agrees with the plain pass on the last pair and takes less time.

    The pair is given several times, behind another one. With the engine comes the share of the operations of whole
    passes that it saves, or would save. `value` is the site's.
    """
    classifier, image = whole_passes.classifier, context.batch.image
    with Operations() as edit:  # which both engines make
        edited = edit_of(pairs, intervention, value, context, local=False).value
    assert isinstance(edited, Tensor)
    with Operations() as engines.whole:
        expected = whole_passes.forward(image, edited[-1:])
    engines.reason = ""
    check_company(whole_passes, edited[-1:], expected, image)
    try:
        for number, tolerance in enumerate(TOLERANCES):
            if number == len(engines.made):
                graph = compute_constants(trace(classifier, engines.site, image))
                graph = drop_identities(join_channel_shuffle(take_splits_apart(graph)))
                engines.made.append(_engine_of(graph, classifier, number))
            engine = engines.made[number]
            background = engine.clean(image)
            with Operations() as counted:
                treated = engine.treated(background, pairs, intervention, context)[1:]
            if logit_checks.logits_agree(treated, expected.expand(len(treated), -1), classifier.task, tolerance):
                whole_passes.layout = torch.contiguous_format  # an engine that agrees leaves whole passes as they were
                whole = max(1, LEAST_ROWS * engines.whole.number + edit.number)
                saved = _faster(counted.convolutions, counted.packed, classifier, number)
                is_worth_it = counted.number - saved <= WORTH_IT * whole
                return engine if is_worth_it else None, 1 - counted.number / whole
        engines.reason = "the traced model gives other logits"
    except Exception as error:  # the plain pass has succeeded, so the model is sound and only the engine is at a loss
        engines.reason = f"{type(error).__name__}: {error}"
    return None, 0.0


def check_company(whole_passes: WholePasses, value: Tensor, alone: Tensor, image: Tensor) -> None:
    """Raise unless the logits of an image are the same beside another one, and choose the layout of whole passes.

    Args:
        whole_passes: get channels_last on a processor if the network gives the same logits with it.
        value: of the site, shape (1, ...). Its company is -3 times it, which moves the mean and the range of a batch.
        alone: its logits, shape (1, K).
        image: shape (1, C, H, W).

    Raises:
        ValueError: the classifier's output for an image depends on its batch.
    """
    if image.is_meta:  # of which logits have no values
        return
    task, company = whole_passes.classifier.task, (image.repeat(2, 1, 1, 1), torch.cat([value, -3 * value]))
    if image.is_cpu:
        whole_passes.layout = torch.channels_last
        with suppress(RuntimeError):  # of a view of a map, say, which has no such order
            if logit_checks.logits_agree(whole_passes.forward(*company)[:1], alone, task):
                return
        whole_passes.layout = torch.contiguous_format
    logit_checks.independent(whole_passes.forward(*company)[:1], alone, task)


def _several(pairs: Pairs) -> Pairs:
    """A batch of `LEAST_ROWS` pairs: the middle one, repeated, behind another one with a region of equal size.

    The latter would show if rows were exchanged.
    """
    rows, alike = np.full(LEAST_ROWS, len(pairs) // 2), np.ones(len(pairs), dtype=bool)
    if pairs.box is not None:
        size = pairs.box[:, 2:] - pairs.box[:, :2]
        alike = (size == size[len(pairs) // 2]).all(1)
    rows[0] = np.flatnonzero(alike)[0]
    return pairs.chosen(rows)


def _faster(convolutions: int, products: int, classifier: Classifier, number: int) -> float:
    """Multiply-adds that an engine's kernels save, in convolutions and in products with weights."""
    if classifier.mean.device.type != "cpu":
        return 0.0
    packed = _other_kernels(classifier, number) and can_pack()
    return (1 - TUNED) * convolutions + ((1 - PACKED) * products if packed else 0.0)


def _other_kernels(classifier: Classifier, number: int) -> bool:
    """Return whether the engine of this number uses kernels other than torch's."""
    usual = classifier.mean.dtype is not torch.float32 or torch.is_autocast_enabled("cpu")
    return number == 0 and classifier.mean.device.type == "cpu" and not usual


def _log_choice(engines: SiteEngines, region: _Region) -> None:
    """Log once per region which engine runs its edits, and how many operations the incremental one takes."""
    if engines.reason:
        log.warning("the model is run in full for every edit, which is exact but slow: %s.", engines.reason)
        return
    log.info(
        "edits %s at %s are run %s: incremental passes take %.0f%% of the operations of whole ones.",
        "of such regions" if region else "of the whole value",
        INPUT if engines.site is None else repr(engines.site.name),
        "incrementally" if engines.chosen[region] else "in full",
        100 * (1 - engines.saved[region]),
    )


def _engine_of(graph: Graph, classifier: Classifier, number: int) -> Incremental:
    """Build the engine of a graph after the graph passes of this number."""
    on_processor = classifier.mean.device.type == "cpu"
    if number < len(TOLERANCES) - 1:
        graph = fold_batch_norm(graph)
    if _other_kernels(classifier, number):
        graph = pack_linear(pack_attention(graph))
    if on_processor:
        graph = lay_out_channels_last(graph)
    return Incremental(graph, on_processor)
