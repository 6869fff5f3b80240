"""The traced classifier: one stored clean pass, and passes that recompute only what an edit changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from dovision.interfaces import Context, Intervention
from dovision.propagation.edits import Channels, Edit, Pairs, edit_of
from dovision.propagation.graph import Graph, Method, Step, is_size
from dovision.propagation.graph_passes import use_in_place
from dovision.propagation.kernels.packed_linear import PackedLinear
from dovision.propagation.patch import Background, Map, Patch
from dovision.propagation.rules import almost_all, pointwise, rule_of
from dovision.propagation.spans import Index


class Incremental:
    """Engine that runs a graph; every result agrees with the plain forward pass."""

    def __init__(self, graph: Graph, channels_last: bool) -> None:
        self.graph = graph
        self.channels_last = channels_last
        self.of_site = graph.descendants(graph.site) & {graph.site, *graph.ancestors()}
        self.rules = {step: rule_of(step) for step in self.of_site}
        self.edited_steps = [step for step in graph.steps if step in self.of_site and step is not graph.site]
        self.decoder = self._decoder()
        self.stored = self._stored()
        use_in_place(graph, self.stored)
        self.inputs = {step: step.inputs() for step in self.edited_steps}
        self.clean_last_use = _last_use(graph.steps)
        self.edited_last_use = _last_use(self.edited_steps)
        self.bytes_per_image = 0  # stored by the first clean pass
        self.bytes_per_pair = 0  # at the peak of the last edited pass

    def _stored(self) -> set[Step]:
        """Steps whose clean results edits read: context around patches, and other operands.

        A pointwise operator with one operand needs none; a concatenation crops its own clean result.
        """
        stored = {self.graph.site, self.graph.output}
        for step in self.edited_steps:
            inputs = step.inputs()
            if self.rules[step] is not pointwise or len(inputs) > 1:
                stored.update(inputs)
            if step.function in (torch.cat, torch.concat) or step is self.decoder:
                stored.add(step)
        return stored

    def _decoder(self) -> Step | None:
        """The linear layer that alone reads a map's channels, such as a dictionary's, if it is nearly all of a pass."""
        if len(self.edited_steps) < 2:
            return None
        moved, decoder, *later = self.edited_steps
        layer, site = decoder.function, self.graph.site
        by_place = (moved.function, moved.args) == (Method("movedim"), (site, 1, -1)) and decoder.inputs() == [moved]
        linear = type(layer) is PackedLinear and not layer.joins
        alone = not any({site, moved} & {*step.inputs()} for step in later)
        heavy = [step for step in later if step.function is F.conv2d or isinstance(step.function, PackedLinear)]
        return decoder if by_place and linear and alone and len(heavy) <= 1 else None

    def clean(self, image: Tensor) -> Background:
        """Run the unedited images; keep what edits need and drop other values on the way."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        values: dict[Step, Any] = {self.graph.image: image.contiguous(memory_format=layout)}
        shapes: dict[Step, torch.Size] = {}
        sizes: set[Step] = set()
        for position, step in enumerate(self.graph.steps):
            if step is not self.graph.image:
                args, kwargs = step.arguments(values.__getitem__)
                values[step] = step.function(*args, **kwargs)
            if isinstance(values[step], Tensor):
                shapes[step] = values[step].shape
            from_sizes = len(step.inputs()) > 0 and sizes.issuperset(step.inputs())
            if step is not self.graph.site and (from_sizes or is_size(values[step])):  # the site's follow the edit
                sizes.add(step)
            for dead in self.clean_last_use.get(position, ()):
                if dead not in self.stored and dead not in sizes:
                    del values[dead]
        stored = [value.nbytes for value in values.values() if isinstance(value, Tensor)]
        self.bytes_per_image = self.bytes_per_image or sum(stored) // len(image)
        return Background(values, shapes, frozenset(sizes), values[self.graph.site], values[self.graph.output])

    def treated(self, clean: Background, pairs: Pairs, intervention: Intervention, context: Context) -> Tensor:
        """Logits, shape (P, K), after each pair's edit."""
        return self.run(clean, pairs, self.edit(clean, pairs, intervention, context).value, context)

    def edit(self, clean: Background, pairs: Pairs, intervention: Intervention, context: Context) -> Edit:
        """The site's value after the edits, or the part of it that they change."""
        local = pairs.box is not None and clean.site.ndim == 4
        by_channel = self.decoder is not None and clean.site.ndim == 4
        return edit_of(pairs, intervention, clean.site, context, local, by_channel=by_channel)

    def run(self, clean: Background, pairs: Pairs, value: Patch | Channels | Tensor, context: Context) -> Tensor:
        """Logits, shape (P, K), with this value, or this part of it, at the site."""
        edited = _Pass(self, clean, pairs.image)
        logits = edited.run(value)
        self.bytes_per_pair = edited.peak // len(pairs)
        return logits


@dataclass(eq=False)
class _Pass:
    """Pass over the descendants of the site, for N edited images."""

    engine: Incremental
    background: Background
    image: Index  # (N,) rows of the background
    values: dict[Step, Any] = field(default_factory=dict)
    bytes: int = 0  # of the changed values now
    peak: int = 0  # bytes of the changed values at a time

    def run(self, edit: Patch | Channels | Tensor) -> Tensor:
        site = self.engine.graph.site
        if isinstance(edit, Channels):
            assert self.engine.decoder is not None
            self._hold(self.engine.decoder, self._decoded(self.engine.decoder, edit))
            self.peak = len(self.image) * self.background.site[:1].nbytes  # the edit began with copies of it
            return self._from(self.engine.edited_steps.index(self.engine.decoder) + 1)
        self._hold(site, edit)
        if isinstance(edit, Patch) and almost_all(self.background.site.shape[2:], edit.rows, edit.columns):
            self._full(site)
        return self._from(0)

    def _decoded(self, decoder: Step, edit: Channels) -> Tensor:
        """The decoder's result, shape (P, H, W, C): the clean one, plus the channel's change times its weights.

        A change that is 10^4 times the others' results costs as many of their digits: 1e-5 in a probability.
        """
        layer: Any = decoder.function
        clean: Any = self.background.values[decoder]
        weights = layer(F.one_hot(edit.number, self.background.site.shape[1]).to(edit.change))  # (P, C)
        if layer.bias is not None:
            weights = weights - layer.bias
        result: Tensor = clean[torch.from_numpy(self.image)].addcmul_(edit.change.unsqueeze(-1), weights[:, None, None])
        return result

    def _from(self, start: int) -> Tensor:
        """Logits from a step on."""
        for position in range(start, len(self.engine.edited_steps)):
            step = self.engine.edited_steps[position]
            result = self._local(step)
            if result is None:
                args, kwargs = step.arguments(self._full)
                result = step.function(*args, **kwargs)
            self._hold(step, result)
            self.peak = max(self.peak, self.bytes)
            for dead in self.engine.edited_last_use.get(position, ()):
                if dead is not self.engine.graph.output and dead in self.values:
                    self.bytes -= _nbytes(self.values.pop(dead))
        return self._full(self.engine.graph.output)

    def _hold(self, step: Step, value: Any) -> None:
        """Store a value, replacing an earlier one of the step."""
        self.bytes += _nbytes(value) - _nbytes(self.values.get(step))
        self.values[step] = value

    def _local(self, step: Step) -> Any:
        """Result by the operator's rule if the edit is still local; None if the step must be run in full."""
        if step in self.background.sizes:
            return self._resized(step)
        changed = [self.values[source] for source in self.engine.inputs[step] if source in self.values]
        rule = self.engine.rules[step]
        if rule is None or not changed or not all(isinstance(value, Patch) for value in changed):
            return None
        operands = self.engine.inputs[step]
        if any(len(self.background.shapes.get(source, ())) != 4 for source in (step, *operands)):
            return None
        if not self.background.sizes.isdisjoint(operands):
            return None

        def as_map(source: Step) -> Map:
            return Map(self.background, source, self.image, self.values.get(source), changed[0].channel_axis)

        args, kwargs = step.arguments(as_map)
        return rule(as_map(step), *args, **kwargs)

    def _full(self, step: Step) -> Any:
        """A step's whole result for each edited image, changed or not."""
        if step in self.values:
            value = self.values[step]
            if isinstance(value, Patch):
                value = Map(self.background, step, self.image, value, value.channel_axis).full()
                self._hold(step, value)
            return value
        if step in self.background.sizes:
            return self._resized(step)
        clean: Any = self.background.values[step]
        if step.shared:
            return clean
        rows = torch.from_numpy(self.image)
        full: Any = fx.node.map_aggregate(clean, lambda leaf: leaf[rows] if isinstance(leaf, Tensor) else leaf)
        return full

    def _resized(self, step: Step) -> Any:
        """Result, for N images, of a step that depends on sizes alone."""

        def shape_only(source: Step) -> Any:
            if source in self.background.sizes:
                return self._resized(source)
            return torch.empty((len(self.image), *self.background.shapes[source][1:]), device="meta")

        args, kwargs = step.arguments(shape_only)
        return step.function(*args, **kwargs)


def _nbytes(value: Any) -> int:
    tensor = value.value if isinstance(value, Patch) else value
    return tensor.nbytes if isinstance(tensor, Tensor) else 0


def _last_use(steps: Sequence[Step]) -> dict[int, list[Step]]:
    """Steps whose results are last read at a position of `steps`, by position."""
    last = {source: position for position, step in enumerate(steps) for source in (step, *step.inputs())}
    dead: dict[int, list[Step]] = {}
    for source, position in last.items():
        dead.setdefault(position, []).append(source)
    return dead
